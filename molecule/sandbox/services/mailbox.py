"""The sandbox's stand-in for a mail server: keeps what it gets in memory, shows it, and sends nothing on.

SMTP on port 1025 (STARTTLS and login are offered, not required; each line of the file smtp_password is
one of the user's passwords, read at each login) and HTTP on port 8025:

    GET /                                  a page for people
    GET /messages[?task_id=…][&limit=N]    JSON, oldest first; `limit` takes the newest N
    GET /receipts                          JSON, oldest first: what came, and whether its sender was answered
    DELETE /messages                       forgets all of them
    PUT /behaviour                         {"name": …, "seconds": …}: how everybody is treated from now on

The behaviours, for tests of what a mail server can do to a sender; each holds until another is set:

    normal    as below                             closed   cuts every connection at once
    defer     451 for every recipient              refuse   550 for every recipient
    slow      takes every message, answers late    drop     takes every message, then cuts the connection

The name before the @ of a recipient provokes an answer (N is a number of tries or seconds):

    refuse-anything   550, always          defer-N-anything   451 for the first N tries, then accepted
    slow-N-anything   accepted, but the answer to the message comes N seconds late
"""

import asyncio
import json
import re
import ssl
import threading
from collections import Counter, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER_DATA = Path("/mnt/user-data")
PAGE = Path(__file__).with_suffix(".html")
HOST_NAME = "mail.sandbox.internal"
USER_NAME = "steadfast"
# More and the oldest are forgotten: a load test must not eat the machine's memory.
MESSAGE_LIMIT = 100_000

# The page's own script and style stand in it; a mail is shown without fetching anything.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:"
)


BEHAVIOURS = ("normal", "closed", "defer", "refuse", "slow", "drop")


@dataclass
class Mail:
    """One message as it came; it is taken apart only when somebody asks, so that receiving stays cheap."""

    sender: str
    recipients: list[str]
    received_at: datetime
    task_id: str | None
    raw: bytes
    # Whether who brought it was still there to hear that it is taken: if not, another copy is to be expected.
    answered: bool = False

    def as_receipt(self) -> dict[str, Any]:
        """Return what GET /receipts says about it."""
        return {
            "task_id": self.task_id,
            "to": self.recipients,
            "received_at": self.received_at.isoformat(),
            "answered": self.answered,
        }

    def as_json(self) -> dict[str, Any]:
        """Return what GET /messages says about it."""
        message = message_from_bytes(self.raw, _class=EmailMessage, policy=policy.default)
        return {
            "message_id": message["Message-ID"],
            "task_id": self.task_id,
            "from": self.sender,
            "to": self.recipients,
            "subject": message["Subject"],
            "text": body(message, "plain"),
            "html": body(message, "html"),
            "received_at": self.received_at.isoformat(),
            "headers": {name: str(value) for name, value in message.items()},
        }


def body(message: EmailMessage, kind: str) -> str | None:
    """Return the message's part of that kind (`plain`, `html`), if it has one."""
    part = message.get_body(preferencelist=(kind,))
    return part.get_content() if part else None


class Mailbox:
    """Takes mails on SMTP's side (an event loop in a thread) and hands them out on HTTP's side (threads)."""

    def __init__(self) -> None:
        self._mails: deque[Mail] = deque(maxlen=MESSAGE_LIMIT)
        self._tries: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._headers = BytesHeaderParser()
        self.behaviour = "normal"
        self.behaviour_seconds = 0.0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("refuse-") or self.behaviour == "refuse":
            return "550 5.1.1 No such mailbox here"
        if match := re.match(r"defer-(\d+)-", address):
            self._tries[address] += 1
            if self._tries[address] <= int(match[1]):
                return "451 4.2.1 Mailbox busy, try again later"
        if self.behaviour == "defer":
            return "451 4.3.2 Nothing is taken just now, try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        raw = envelope.content
        assert isinstance(raw, bytes), "this server is not told to decode"  # noqa: S101  # the library's type is wider
        task_id = self._headers.parsebytes(raw, headersonly=True)["X-Task-Id"]
        mail = Mail(envelope.mail_from or "", list(envelope.rcpt_tos), datetime.now(UTC), task_id, raw)
        with self._lock:
            self._mails.append(mail)
        if self.behaviour == "drop":
            server.transport.abort()
            return "250 OK"
        # Whoever hangs up meanwhile ends this coroutine here.
        await asyncio.sleep(self._delay_seconds(envelope.rcpt_tos))
        mail.answered = not server.transport.is_closing()
        return "250 OK"

    def _delay_seconds(self, recipients: list[str]) -> float:
        asked = [int(match[1]) for address in recipients if (match := re.match(r"slow-(\d+)-", address))]
        return max([self.behaviour_seconds if self.behaviour == "slow" else 0.0, *asked])

    def mails(self, task_id: str | None, limit: int | None) -> list[Mail]:
        """Return the mails (of one task, or all), oldest first; at most the newest `limit`."""
        with self._lock:
            found = [mail for mail in self._mails if task_id in (None, mail.task_id)]
        return found if limit is None else found[max(0, len(found) - limit) :]

    def clear(self) -> None:
        """Forget the mails, and how often each deferred recipient was tried."""
        with self._lock:
            self._mails.clear()
            self._tries.clear()


class Door(SMTP):
    """The SMTP side of one connection, which does not open while the mailbox is closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.event_handler.behaviour == "closed" and isinstance(transport, asyncio.Transport):
            transport.abort()


class Server(Controller):
    """aiosmtpd's server, with that door."""

    def factory(self) -> SMTP:
        return Door(self.handler, **self.SMTP_kwargs)


class Handler(BaseHTTPRequestHandler):
    """One request to the HTTP side, whose mailbox http_server sets."""

    protocol_version = "HTTP/1.1"
    mailbox: Mailbox

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", PAGE.read_bytes())
        elif url.path == "/messages":
            limit = query["limit"][0] if "limit" in query else None
            if limit is not None and not limit.isdecimal():
                self._answer(HTTPStatus.BAD_REQUEST, "text/plain", b"limit is a number of messages\n")
                return
            mails = self.mailbox.mails(query.get("task_id", [None])[0], int(limit) if limit else None)
            self._answer(
                HTTPStatus.OK, "application/json", json.dumps([mail.as_json() for mail in mails]).encode()
            )
        elif url.path == "/receipts":
            receipts = [mail.as_receipt() for mail in self.mailbox.mails(None, None)]
            self._answer(HTTPStatus.OK, "application/json", json.dumps(receipts).encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"Try /, /messages or /receipts\n")

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/behaviour":
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"Only /behaviour can be set\n")
            return
        try:
            wish = json.loads(content)
            name, seconds = wish["name"], float(wish.get("seconds", 0))
        except (ValueError, TypeError, KeyError):
            name, seconds = "", 0.0
        if name not in BEHAVIOURS:
            names = ", ".join(BEHAVIOURS)
            self._answer(HTTPStatus.BAD_REQUEST, "text/plain", f"name is one of {names}\n".encode())
            return
        self.mailbox.behaviour, self.mailbox.behaviour_seconds = name, seconds
        self._answer(HTTPStatus.NO_CONTENT, "text/plain", b"")

    def do_DELETE(self) -> None:
        if urlsplit(self.path).path != "/messages":
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"Only /messages can be deleted\n")
            return
        self.mailbox.clear()
        self._answer(HTTPStatus.NO_CONTENT, "text/plain", b"")

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: the page asks every two seconds."""


def authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: LoginPassword
) -> AuthResult:
    """Accept the one user with any of its passwords, of which it has two while its owner changes over."""
    passwords = (USER_DATA / "smtp_password").read_bytes().splitlines()
    accepted = login.login == USER_NAME.encode() and login.password in passwords
    # Not `handled`: the library answers for us, 235 or 535.
    return AuthResult(success=accepted, handled=False)


def smtp_server(mailbox: Mailbox, host: str, port: int) -> Controller:
    """Return the SMTP side, to be started; its certificate and password are in USER_DATA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(USER_DATA / "tls.pem", USER_DATA / "tls.key")
    return Server(
        mailbox,
        hostname=host,
        port=port,
        server_hostname=HOST_NAME,
        tls_context=context,
        authenticator=authenticate,
        auth_require_tls=False,
        enable_SMTPUTF8=True,
    )


def http_server(mailbox: Mailbox, host: str, port: int) -> ThreadingHTTPServer:
    """Return the HTTP side, to be served."""
    Handler.mailbox = mailbox
    return ThreadingHTTPServer((host, port), Handler)


def main() -> None:
    """Serve SMTP in a thread and HTTP here, until the container is stopped."""
    mailbox = Mailbox()
    everywhere = "0.0.0.0"  # noqa: S104  # the container's own network
    smtp_server(mailbox, everywhere, 1025).start()
    http_server(mailbox, everywhere, 8025).serve_forever()


if __name__ == "__main__":
    main()
