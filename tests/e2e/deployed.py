"""What the tests of the deployed stack hold in their hands."""

import re
from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext, Page


@dataclass(frozen=True)
class Stack:
    """Where the deployed stack answers."""

    page: str
    api: str
    health: str
    flower: str
    mailbox: str


@dataclass
class RawAnswer:
    """What came back over a socket, as it came."""

    data: bytes
    seconds: float
    statuses: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.statuses = [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3})", self.data)]


@dataclass
class Visit:
    """One browser window on the page, and what it complained about."""

    page: Page
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    def submit(self, email: str, message: str = "") -> None:
        self.page.get_by_label("E-mail address").fill(email)
        self.page.get_by_label("Message").fill(message)
        self.page.get_by_role("button", name="Send").click()

    def expect_no_complaints(self) -> None:
        """No error of a script, nothing that the content security policy blocked.

        Chromium also notes each refused request; the page has to handle those, so they are no complaint.
        """
        assert [line for line in self.complaints if not line.startswith("Failed to load resource")] == []
