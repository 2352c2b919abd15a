"""What the tests of the deployed stack hold in their hands."""

import base64
import re
import socket
import ssl
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import BrowserContext, Page


@dataclass(frozen=True)
class Stack:
    """Where the deployed stack answers."""

    page: str
    api: str
    health: str
    flower: str
    mailbox: str


@dataclass(frozen=True)
class Trust:
    """Whom to believe: these authorities or else the machine's, for this name or else the address's."""

    ca_path: Path | None
    server_name: str = ""

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_path)

    def dial(self, url: str, timeout_seconds: float) -> socket.socket:
        """A connection to the server of an address, with TLS where it says https."""
        parts = urlsplit(url)
        assert parts.hostname
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        connection = socket.create_connection((parts.hostname, port), timeout=timeout_seconds)
        if parts.scheme == "http":
            return connection
        return self.context().wrap_socket(connection, server_hostname=self.server_name or parts.hostname)

    def certificate_of(self, url: str) -> x509.Certificate:
        """What the server of an https address shows, found good."""
        with self.dial(url, 10) as connection:
            assert isinstance(connection, ssl.SSLSocket)
            shown = connection.getpeercert(binary_form=True)
        assert shown
        return x509.load_der_x509_certificate(shown)

    def browser_arguments(self, url: str) -> list[str]:
        """Chromium takes no file of authorities; it is told the one key that was found good here."""
        if not self.ca_path:
            return []
        key = self.certificate_of(url).public_key()
        pin = sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        return [f"--ignore-certificate-errors-spki-list={base64.b64encode(pin).decode()}"]


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
