"""The sandbox's mail server keeps, shows and refuses as it says (molecule/sandbox/services/mailbox.py).

Other tests believe what it shows, so it must not lie.
"""

import asyncio
import importlib.util
import smtplib
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
from aiosmtpd.smtp import Envelope

from tests.integration.machine import free_port

PROGRAM = Path(__file__).parents[3] / "molecule/sandbox/services/mailbox.py"
PASSWORD = "correct horse"


@dataclass
class Running:
    """A running mail server."""

    smtp_port: int
    http: httpx.Client
    certificate: Path

    def client(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=10)

    def send(self, to: str, task_id: str = "task", subject: str = "Hello") -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "app@sandbox.internal", to, subject
        message["X-Task-Id"] = task_id
        message.set_content("Grüße <b>")
        message.add_alternative("<p>Grüße</p>", subtype="html")
        with self.client() as client:
            client.send_message(message)

    def messages(self, **query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get("/messages", params=query).raise_for_status().json()
        return found


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sandbox_mailbox", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def user_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What create.yml gives the container: a certificate and the password."""
    folder = tmp_path_factory.mktemp("user-data")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc",
         "-subj", "/CN=mail.sandbox.internal", "-addext", "subjectAltName=DNS:mail.sandbox.internal",
         "-keyout", folder / "tls.key", "-out", folder / "tls.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "smtp_password").write_text(PASSWORD)
    return folder


@pytest.fixture
def mailbox(program: ModuleType, user_data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(program, "USER_DATA", user_data)
    box = program.Mailbox()
    smtp = program.smtp_server(box, "127.0.0.1", free_port())
    smtp.start()
    http = program.http_server(box, "127.0.0.1", 0)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{http.server_port}", trust_env=False) as client:
        yield Running(smtp.port, client, user_data / "tls.pem")
    http.shutdown()
    http.server_close()
    thread.join()
    smtp.stop()


def test_a_mail_is_shown_as_it_came(mailbox: Running) -> None:
    mailbox.send("anna@example.com", task_id="t1", subject="Grüße")

    [mail] = mailbox.messages()
    assert (mail["from"], mail["to"]) == ("app@sandbox.internal", ["anna@example.com"])
    assert (mail["subject"], mail["task_id"], mail["headers"]["X-Task-Id"]) == ("Grüße", "t1", "t1")
    assert (mail["text"].strip(), mail["html"].strip()) == ("Grüße <b>", "<p>Grüße</p>")


def test_mails_are_found_by_task_and_the_newest_by_number(mailbox: Running) -> None:
    for number in range(3):
        mailbox.send("anna@example.com", task_id=f"t{number}")

    assert [mail["task_id"] for mail in mailbox.messages()] == ["t0", "t1", "t2"]
    assert [mail["task_id"] for mail in mailbox.messages(task_id="t1")] == ["t1"]
    assert [mail["task_id"] for mail in mailbox.messages(limit="2")] == ["t1", "t2"]
    assert mailbox.messages(limit="0") == []
    assert mailbox.http.get("/messages?limit=few").status_code == 400


def test_deleting_forgets_mails_and_tries(mailbox: Running) -> None:
    mailbox.send("anna@example.com")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        mailbox.send("defer-1-bo@example.com")

    assert mailbox.http.delete("/messages").status_code == 204
    assert mailbox.messages() == []
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        mailbox.send("defer-1-bo@example.com")


def test_recipients_provoke_their_answers(mailbox: Running) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        mailbox.send("refuse-me@example.com")
    assert refused.value.recipients["refuse-me@example.com"][0] == 550

    for _ in range(2):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as deferred:
            mailbox.send("defer-2-me@example.com")
        assert deferred.value.recipients["defer-2-me@example.com"][0] == 451
    mailbox.send("defer-2-me@example.com")

    begun = time.monotonic()
    mailbox.send("slow-1-me@example.com")
    assert time.monotonic() - begun >= 1
    assert [mail["to"] for mail in mailbox.messages()] == [
        ["defer-2-me@example.com"],
        ["slow-1-me@example.com"],
    ]


def test_it_behaves_to_everybody_as_it_is_told(mailbox: Running) -> None:
    def behave(name: str, seconds: float = 0) -> int:
        return mailbox.http.put("/behaviour", json={"name": name, "seconds": seconds}).status_code

    assert behave("defer") == 204
    with pytest.raises(smtplib.SMTPRecipientsRefused) as deferred:
        mailbox.send("anna@example.com")
    assert deferred.value.recipients["anna@example.com"][0] == 451
    behave("refuse")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        mailbox.send("anna@example.com")
    assert refused.value.recipients["anna@example.com"][0] == 550
    behave("closed")
    with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
        mailbox.send("anna@example.com")
    assert mailbox.messages() == []

    behave("slow", seconds=1)
    begun = time.monotonic()
    mailbox.send("anna@example.com")
    assert time.monotonic() - begun >= 1
    behave("normal")
    mailbox.send("anna@example.com")
    assert len(mailbox.messages()) == 2
    assert behave("strange") == 400
    assert mailbox.http.put("/behaviour", content=b"?").status_code == 400


def test_receipts_say_whether_the_sender_heard_that_it_is_taken(mailbox: Running) -> None:
    mailbox.send("anna@example.com", task_id="heard")
    mailbox.http.put("/behaviour", json={"name": "drop"})
    with pytest.raises(smtplib.SMTPServerDisconnected):
        mailbox.send("anna@example.com", task_id="dropped")
    mailbox.http.put("/behaviour", json={"name": "normal"})
    client = mailbox.client()
    client.ehlo()
    client.mail("app@sandbox.internal")
    client.rcpt("slow-1-anna@example.com")
    client.putcmd("data")
    client.getreply()
    client.send(b"X-Task-Id: hung-up\r\n\r\n.\r\n")
    time.sleep(0.2)
    client.close()
    time.sleep(1.2)

    receipts = {receipt["task_id"]: receipt["answered"] for receipt in mailbox.http.get("/receipts").json()}
    assert receipts == {"heard": True, "dropped": False, "hung-up": False}


def test_login_is_checked_with_and_without_tls(mailbox: Running) -> None:
    with mailbox.client() as client:
        client.login("steadfast", PASSWORD)
    with mailbox.client() as client, pytest.raises(smtplib.SMTPAuthenticationError):
        client.login("steadfast", "wrong")
    context = ssl.create_default_context(cafile=mailbox.certificate)
    # The client dials a number; the certificate is for the name.
    with mailbox.client() as client:
        client._host = "mail.sandbox.internal"
        client.starttls(context=context)
        client.login("steadfast", PASSWORD)


def test_each_password_is_good_until_it_is_taken_away(mailbox: Running, user_data: Path) -> None:
    def accepted(password: str) -> bool:
        with mailbox.client() as client:
            try:
                client.login("steadfast", password)
            except smtplib.SMTPAuthenticationError:
                return False
            return True

    held = user_data / "smtp_password"
    try:
        held.write_text(f"{PASSWORD}\nbattery staple\n")
        assert accepted(PASSWORD)
        assert accepted("battery staple")
        held.write_text("battery staple\n")
        assert accepted("battery staple")
        assert not accepted(PASSWORD)
        assert not accepted("")
    finally:
        held.write_text(PASSWORD)


def test_the_page_lets_a_mail_fetch_nothing(mailbox: Running) -> None:
    page = mailbox.http.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert mailbox.http.get("/elsewhere").status_code == 404


def test_only_the_newest_are_kept(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "MESSAGE_LIMIT", 2)
    box = program.Mailbox()
    client = SimpleNamespace(is_closing=lambda: False)
    for number in range(3):
        envelope = Envelope()
        envelope.content = f"X-Task-Id: t{number}\r\n\r\n".encode()
        asyncio.run(box.handle_DATA(SimpleNamespace(transport=client), None, envelope))

    assert [mail.task_id for mail in box.mails(None, None)] == ["t1", "t2"]
