"""The deployed stack as its users have it: its addresses, a browser, the mailbox, raw sockets.

The addresses are the variables E2E_*_URL; by default they are the sandbox's on this
machine. Where they are https, E2E_CA_PATH names the file of an authority that this machine
does not know, and E2E_SERVER_NAME the name that the certificate is for, if it is not that of the
address. All traffic goes to 127.0.0.1.
"""

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.deployed import RawAnswer, Stack, Trust, Visit

# The browser runs as root in CI, and asks nobody but the page.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--no-proxy-server",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MAIL_WAIT_SECONDS = 30
ONLY_WHERE_NAMED = {"test_limits.py", "test_certificate.py"}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Some files want a stack of a certain kind, so they run only where they are named."""
    named = any(collection_path.name in argument for argument in config.args)
    return True if collection_path.name in ONLY_WHERE_NAMED and not named else None


@pytest.fixture(scope="session")
def stack() -> Stack:
    default = {"page": 8080, "api": 8000, "health": 8501, "flower": 5555, "mailbox": 8025}
    found = {
        name: os.environ.get(f"E2E_{name.upper()}_URL", f"http://127.0.0.1:{port}").rstrip("/")
        for name, port in default.items()
    }
    return Stack(**found)


@pytest.fixture(scope="session")
def trust() -> Trust:
    path = os.environ.get("E2E_CA_PATH")
    return Trust(Path(path) if path else None, os.environ.get("E2E_SERVER_NAME", ""))


@pytest.fixture(scope="session")
def flower_password() -> str:
    password = os.environ.get("E2E_FLOWER_PASSWORD")
    assert password, "Set E2E_FLOWER_PASSWORD to the stack's parameter flower/password."
    return password


@pytest.fixture(scope="session")
def operator_token() -> str:
    token = os.environ.get("E2E_OPERATOR_TOKEN")
    assert token, "Set E2E_OPERATOR_TOKEN to the stack's parameter operator/token."
    return token


@pytest.fixture(scope="session")
def http(trust: Trust) -> Iterator[httpx.Client]:
    """A client that follows nothing and heeds no proxy of the environment."""
    with httpx.Client(timeout=20, trust_env=False, verify=trust.context()) as client:
        yield client


@pytest.fixture
def someone() -> str:
    """A recipient that no other test writes to."""
    return f"e2e-{secrets.token_hex(6)}@example.com"


@pytest.fixture(scope="session")
def mails(stack: Stack, http: httpx.Client) -> Callable[..., list[dict[str, Any]]]:
    """What the mailbox holds: everything, or of one task (`task_id=…`)."""
    return lambda **which: http.get(f"{stack.mailbox}/messages", params=which).raise_for_status().json()


@pytest.fixture(scope="session")
def mail_of(mails: Callable[..., list[dict[str, Any]]]) -> Callable[[str], dict[str, Any]]:
    """Waits for the one mail of a task."""

    def wait(task_id: str) -> dict[str, Any]:
        end = time.monotonic() + MAIL_WAIT_SECONDS
        while time.monotonic() < end:
            found = [mail for mail in mails(task_id=task_id) if mail["task_id"] == task_id]
            if found:
                assert len(found) == 1, f"task {task_id} was sent {len(found)} times"
                return found[0]
            time.sleep(0.1)
        raise AssertionError(f"no mail of task {task_id} within {MAIL_WAIT_SECONDS} seconds")

    return wait


@pytest.fixture(scope="session")
def final_status(http: httpx.Client) -> Callable[[str], dict[str, Any]]:
    """Polls the address of a status until it is a final one."""

    def wait(url: str) -> dict[str, Any]:
        end = time.monotonic() + MAIL_WAIT_SECONDS
        body: dict[str, Any] = {}
        while time.monotonic() < end:
            body = http.get(url).raise_for_status().json()
            if body["status"] in ("succeeded", "failed", "cancelled"):
                return body
            time.sleep(0.1)
        raise AssertionError(f"still not final after {MAIL_WAIT_SECONDS} seconds: {body}")

    return wait


@pytest.fixture(scope="session")
def problem() -> Callable[..., dict[str, Any]]:
    """Checks that an answer has the one form of all errors; returns its body."""

    def check(answer: httpx.Response, status: int, error: str | None = None) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"].split(";")[0] == "application/json"
        body: dict[str, Any] = answer.json()
        assert body.keys() - {"fields"} == {"error", "message"}, body
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", body["error"])
        assert body["message"].endswith(".")
        assert ("fields" in body) == (status == 422), body
        assert error in (None, body["error"])
        assert not re.search(r"Traceback|File \"|pydantic|sqlalchemy|nginx", answer.text)
        return body

    return check


@pytest.fixture(scope="session")
def raw(trust: Trust) -> Callable[..., RawAnswer]:
    """Sends bytes that no client library would; reads until the server closes or nothing comes any more."""

    def send(url: str, data: bytes, timeout_seconds: float = 3) -> RawAnswer:
        begun = time.monotonic()
        received = b""
        with trust.dial(url, timeout_seconds) as connection:
            connection.sendall(data)
            try:
                while chunk := connection.recv(65536):
                    received += chunk
            except TimeoutError:
                received += b""  # The server keeps the connection; what it said is all there is.
            except ConnectionResetError:
                received += b""  # It threw away what it did not want to read.
        return RawAnswer(received, time.monotonic() - begun)

    return send


@pytest.fixture(scope="session")
def chromium(stack: Stack, trust: Trust) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM_ARGUMENTS + trust.browser_arguments(stack.page)
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, stack: Stack) -> Iterator[Callable[..., Visit]]:
    """Opens the page in a window of its own; at the end of the test none may have complained."""
    visits: list[Visit] = []

    def open_page(
        path: str = "/", script: str = "", routes: dict[str, Any] | None = None, **options: Any
    ) -> Visit:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
        page = context.new_page()
        visited = Visit(page, context)
        page.on("console", lambda line: line.type == "error" and visited.complaints.append(line.text))
        page.on("pageerror", lambda error: visited.complaints.append(str(error)))
        for pattern, handler in (routes or {}).items():
            page.route(pattern, handler)
        if script:
            page.add_init_script(script)
        page.goto(f"{stack.page}{path}")
        visits.append(visited)
        return visited

    yield open_page
    for visited in visits:
        visited.expect_no_complaints()
        visited.context.close()


@pytest.fixture
def screenshot(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keeps a picture in reports/e2e/, for people to look at."""
    folder = request.config.rootpath / "reports" / "e2e"

    def keep(page: Page, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=True)

    return keep
