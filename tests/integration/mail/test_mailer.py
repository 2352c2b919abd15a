"""The fake and the real mailer keep one promise; the real one is bounded in time and checks certificates."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from app.errors import PermanentError, TransientError, Unconfirmed
from app.mail.connections import Connection
from app.mail.mailer import Mailer, RecordingMailer, SmtpMailer
from app.mail.message import render
from app.settings import WorkerSettings, load
from tests.integration.conftest import Mailbox
from tests.integration.machine import Machine, eventually, free_port

TASK_ID = "00d21i6octkcv769pu6ond6eghhro9v5dgq0"


def mail(recipient: str = "someone@example.com") -> Message:
    return render(
        "notify", task_id=TASK_ID, sender="tasks@example.com", recipient=recipient, message=".\nGrüße"
    )


@pytest.fixture
def settings(parts: Machine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., WorkerSettings]:
    """A worker's settings with these instead."""

    def with_changes(**changes: object) -> WorkerSettings:
        for name, value in changes.items():
            monkeypatch.setenv(f"APP_{name.upper()}", str(value))
        return load(WorkerSettings)

    return with_changes


Settings = Callable[..., WorkerSettings]


@pytest.fixture(params=["fake", "smtp"])
def promised(
    request: pytest.FixtureRequest, settings: Settings, mailbox: Mailbox
) -> tuple[Mailer, Callable[[str | None], None], Callable[[], list[Any]]]:
    """A mailer, how to make its server answer something, and what its server has got."""
    if request.param == "fake":
        fake = RecordingMailer()

        def fail(answer: str | None) -> None:
            kind = PermanentError if answer and answer.startswith("5") else TransientError
            fake.failure = kind("any", answer) if answer else None

        return fake, fail, lambda: [message["X-Task-Id"] for message in fake.sent]

    def tell(answer: str | None) -> None:
        mailbox.answers["someone@example.com"] = [answer] if answer else []

    def got() -> list[Any]:
        return [
            TASK_ID
            for sent in mailbox.mails
            if f"X-Task-Id: {TASK_ID}".encode() in bytes(sent.content or b"")
        ]

    return SmtpMailer(settings(smtp_port=mailbox.port)), tell, got


def test_a_mail_that_is_taken_is_answered_with_the_servers_words(promised: Any) -> None:
    mailer, _, got = promised
    assert mailer.send(mail()).startswith("250 ")
    assert got() == [TASK_ID]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("550 5.1.1 No such user here", PermanentError),
        ("554 Refused", PermanentError),
        ("451 Try again later", TransientError),
        ("421 Shutting down", TransientError),
    ],
)
def test_a_refusal_is_permanent_or_transient_as_the_server_says(
    promised: Any, answer: str, kind: type[Exception]
) -> None:
    mailer, tell, got = promised
    tell(answer)
    with pytest.raises(kind, match=answer):
        mailer.send(mail())
    assert got() == []
    tell(None)
    mailer.send(mail())
    assert got() == [TASK_ID]


# A dialogue up to the mail, and what each of its steps is answered when all is well.
DIALOGUE = {
    "greeting": "220 mail.example.com",
    "EHLO": "250-mail.example.com\r\n250-STARTTLS\r\n250 AUTH PLAIN",
    "AUTH": "235 Welcome",
    "MAIL": "250 OK",
    "RCPT": "250 OK",
    "DATA": "354 Go on",
    "the mail": "250 Taken",
}


def refuses(step: str, refusal: str) -> Callable[[socket.socket], None]:
    """A server that answers well, but for one step."""
    answers = DIALOGUE | {step: refusal}
    # smtplib asks once more in the old way when EHLO is refused.
    answers["HELO"] = answers["EHLO"]

    def behave(connection: socket.socket) -> None:
        lines = connection.makefile("rw", newline="\r\n")

        def say(words: str) -> None:
            lines.write(words + "\n")
            lines.flush()

        say(answers["greeting"])
        for line in lines:
            verb = line.split()[0].upper()
            say(answers.get(verb, "250 OK"))
            if verb == "DATA" and answers["DATA"].startswith("354"):
                while next(lines) != ".\r\n":
                    pass
                say(answers["the mail"])

    return behave


@pytest.fixture
def logging_in(settings: Settings, parts: Machine) -> Iterator[Callable[[int], SmtpMailer]]:
    """A mailer with a login, for a server at some port."""
    password = parts.directory / "secrets" / "app_smtp_password"
    password.write_text("mail-password")
    yield lambda port: SmtpMailer(settings(smtp_port=port, smtp_username="mailer"))
    password.unlink()


@pytest.mark.parametrize(
    ("step", "refusal"),
    [
        ("greeting", "554 5.7.1 Not from your address"),
        ("EHLO", "550 5.7.1 Not by that name"),
        ("AUTH", "535 5.7.8 Wrong password"),
        ("AUTH", "530 5.7.0 Encryption first"),
        ("MAIL", "553 5.7.1 That sender is not yours"),
        ("MAIL", "530 5.7.0 Authentication required"),
    ],
)
def test_a_server_that_refuses_us_is_asked_again_since_no_mail_can_help_it(
    logging_in: Callable[[int], SmtpMailer], step: str, refusal: str
) -> None:
    with listener(refuses(step, refusal)) as port, pytest.raises(TransientError, match=refusal) as error:
        logging_in(port).send(mail())
    assert error.value.reason == "mail_server_refuses_us"


def test_a_server_that_refuses_starttls_is_asked_again(settings: Settings) -> None:
    refusal = "554 5.7.3 No key just now"
    behave = refuses("STARTTLS", refusal)
    with listener(behave) as port, pytest.raises(TransientError) as error:
        SmtpMailer(settings(smtp_port=port, smtp_tls="starttls")).send(mail())
    assert (error.value.reason, str(error.value)) == ("mail_server_refuses_us", refusal)


@pytest.mark.parametrize("step", ["RCPT", "DATA", "the mail"])
@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        ("550 5.7.1 Never", PermanentError, "refused_by_mail_server"),
        ("451 4.7.1 Later", TransientError, "put_off_by_mail_server"),
    ],
)
def test_from_the_recipient_on_a_refusal_is_about_this_mail(
    logging_in: Callable[[int], SmtpMailer], step: str, answer: str, kind: type[Exception], reason: str
) -> None:
    with listener(refuses(step, answer)) as port, pytest.raises(kind, match=answer) as error:
        logging_in(port).send(mail())
    assert getattr(error.value, "reason", None) == reason
    assert type(error.value) is kind, "a refusal is an answer: nothing is unconfirmed"


def test_the_mail_has_one_recipient_and_its_text_unharmed(settings: Settings, mailbox: Mailbox) -> None:
    SmtpMailer(settings(smtp_port=mailbox.port)).send(mail())
    (sent,) = mailbox.mails
    assert (sent.mail_from, sent.rcpt_tos) == ("tasks@example.com", ["someone@example.com"])
    assert b"\r\n.\r\n" in bytes(sent.content or b""), "a line of one dot is text"


def test_nobody_listens(settings: Settings) -> None:
    with pytest.raises(TransientError, match="cannot be reached"):
        SmtpMailer(settings(smtp_port=free_port())).send(mail())


def test_there_is_no_such_host(settings: Settings) -> None:
    with pytest.raises(TransientError, match="cannot be reached"):
        SmtpMailer(settings(smtp_host="mail.steadfast.invalid")).send(mail())


@contextlib.contextmanager
def listener(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does what no mail server should."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    behave(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def say_nothing(connection: socket.socket) -> None:
    time.sleep(5)


def hang_up(connection: socket.socket) -> None:
    connection.close()


def drip(connection: socket.socket) -> None:
    """Always in time with the next byte, and never done."""
    for _ in range(100):
        connection.sendall(b"2")
        time.sleep(0.1)


def drip_lines(connection: socket.socket) -> None:
    """A greeting that goes on and on."""
    for _ in range(100):
        connection.sendall(b"220-wait\r\n")
        time.sleep(0.1)


@pytest.mark.parametrize("tls", ["none", "tls"])
@pytest.mark.parametrize("behave", [say_nothing, drip, drip_lines])
def test_the_whole_dialogue_has_one_deadline(
    settings: Settings, behave: Callable[[socket.socket], None], tls: str
) -> None:
    with listener(behave) as port:
        begun = time.monotonic()
        with pytest.raises(TransientError):
            SmtpMailer(settings(smtp_port=port, smtp_timeout_seconds=0.7, smtp_tls=tls)).send(mail())
        assert time.monotonic() - begun < 1.5


def test_a_server_that_hangs_up_is_tried_again(settings: Settings) -> None:
    with listener(hang_up) as port, pytest.raises(TransientError):
        SmtpMailer(settings(smtp_port=port)).send(mail())


def test_a_slow_taker_is_given_up_and_named_slow(settings: Settings, mailbox: Mailbox) -> None:
    mailbox.delay_seconds = 2
    with pytest.raises(Unconfirmed, match=r"may have taken .* longer than 0\.6 s"):
        SmtpMailer(settings(smtp_port=mailbox.port, smtp_timeout_seconds=0.6)).send(mail())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("", "closed"),
        ("25", "25"),
        ("hello, there\r\n", "-1"),
        ("221 Bye\r\n", "221 Bye"),
        ("2" * 9000 + "\r\n", "Line too long"),
        ("250-It\r\n250-goes\r\n", "closed"),
    ],
)
def test_without_an_answer_to_the_mail_nobody_knows_whether_it_was_taken(
    settings: Settings, answer: str, words: str
) -> None:
    with listener(breaks("the mail", answer)) as port, pytest.raises(Unconfirmed, match=words) as error:
        SmtpMailer(settings(smtp_port=port)).send(mail())
    assert error.value.reason == "mail_unconfirmed"


def test_whatever_goes_wrong_here_after_the_mail_was_sent_the_server_may_have_it(
    settings: Settings, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    getreply = Connection.getreply

    def short_of_memory(connection: Connection) -> Any:
        answer = getreply(connection)
        if connection.handed_over:
            raise MemoryError
        return answer

    monkeypatch.setattr(Connection, "getreply", short_of_memory)
    with pytest.raises(Unconfirmed):
        SmtpMailer(settings(smtp_port=mailbox.port)).send(mail())
    assert len(mailbox.mails) == 1


def breaks(step: str, words: str) -> Callable[[socket.socket], None]:
    """A server that answers well up to one step; there it says just these characters and hangs up."""

    def behave(connection: socket.socket) -> None:
        lines = connection.makefile("rw", newline="")

        def goes_on(at: str) -> bool:
            lines.write(words if at == step else DIALOGUE.get(at, "250 OK") + "\r\n")
            lines.flush()
            return at != step

        going = goes_on("greeting")
        while going:
            verb = next(lines).split()[0].upper()
            going = goes_on(verb)
            if verb == "DATA" and going:
                while next(lines) != ".\r\n":
                    pass
                going = goes_on("the mail")

    return behave


@pytest.mark.parametrize("words", ["", "3", "hello, there\r\n"])
@pytest.mark.parametrize("at", ["greeting", "MAIL", "RCPT", "DATA"])
def test_what_breaks_before_the_mail_was_surely_not_taken(settings: Settings, at: str, words: str) -> None:
    with listener(breaks(at, words)) as port, pytest.raises(TransientError) as error:
        SmtpMailer(settings(smtp_port=port)).send(mail())
    assert type(error.value) is TransientError


@contextlib.contextmanager
def listener_of(*behaviours: Callable[[socket.socket], None]) -> Iterator[tuple[int, list[int]]]:
    """A server whose first connection is treated so, the next one so; the list grows with each."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[int] = []

        def serve() -> None:
            with contextlib.suppress(OSError, StopIteration):
                for behave in behaviours:
                    connection, _ = server.accept()
                    accepted.append(len(accepted))
                    with connection:
                        behave(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], accepted


def takes(mails: list[str], *, then: str | None = None, at: str = "MAIL") -> Callable[[socket.socket], None]:
    """A server that takes one mail and, at a step of the next, says this or (None) ends the connection."""

    def behave(connection: socket.socket) -> None:
        lines = connection.makefile("rw", newline="\r\n")

        def say(words: str) -> None:
            lines.write(words + "\r\n")
            lines.flush()

        say(DIALOGUE["greeting"])
        for line in lines:
            verb = line.split()[0].upper()
            if len(mails) and verb == at:
                if then is None:
                    return
                say(then)
                continue
            say(DIALOGUE.get(verb, "250 OK"))
            if verb == "DATA":
                mails.append("".join(iter(lambda: next(lines), ".\r\n")))
                if at == "the mail" and len(mails) > 1:
                    return
                say(DIALOGUE["the mail"])

    return behave


def test_the_next_mail_goes_through_the_same_connection(settings: Settings) -> None:
    mails: list[str] = []
    with listener_of(takes(mails, at="never")) as (port, accepted):
        mailer = SmtpMailer(settings(smtp_port=port))
        message = mail()
        for _ in range(3):
            mailer.send(message)
    assert (len(mails), accepted) == (3, [0])
    assert len(set(mails)) == 1


@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("then", [None, "421 4.7.0 Too many mails in one connection"])
def test_a_kept_connection_that_fails_before_the_mail_is_replaced(
    settings: Settings, at: str, then: str | None
) -> None:
    first: list[str] = []
    second: list[str] = []
    with listener_of(takes(first, then=then, at=at), takes(second)) as (port, accepted):
        mailer = SmtpMailer(settings(smtp_port=port))
        mailer.send(mail())
        if then and at != "MAIL":
            # The server took our sender, so this is said of the mail, and the row's next attempt repeats it.
            with pytest.raises(TransientError, match="421"):
                mailer.send(mail())
        else:
            mailer.send(mail())
            assert (len(first), len(second), accepted) == (1, 1, [0, 1])


def test_a_connection_that_the_server_ended_meanwhile_is_not_used(settings: Settings) -> None:
    mails: list[str] = []

    def one_only(connection: socket.socket) -> None:
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            takes(mails, at="never")(connection)

    with listener_of(one_only, takes(mails, at="never")) as (port, accepted):
        mailer = SmtpMailer(settings(smtp_port=port))
        mailer.send(mail())
        time.sleep(0.5)
        mailer.send(mail())
    assert (len(mails), accepted) == (2, [0, 1])


def test_what_happens_after_the_mail_was_sent_is_never_tried_on_another_connection(
    settings: Settings,
) -> None:
    first: list[str] = []
    second: list[str] = []
    with listener_of(takes(first, at="the mail"), takes(second)) as (port, _):
        mailer = SmtpMailer(settings(smtp_port=port))
        mailer.send(mail())
        with pytest.raises(Unconfirmed):
            mailer.send(mail())
        assert (len(first), len(second)) == (2, 0), "the server may have taken it"


def test_an_idle_connection_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.mail.connections._KEPT_SECONDS", 0.2)
    heard: list[str] = []

    def listen(connection: socket.socket) -> None:
        # Whoever says goodbye may be gone before the answer.
        with contextlib.suppress(OSError):
            takes(heard, then="221 Bye", at="QUIT")(connection)
        heard.append("ended")

    with listener_of(listen) as (port, _):
        SmtpMailer(settings(smtp_port=port)).send(mail())
        eventually(lambda: heard[1:] == ["ended"], seconds=3, what="the end of the connection")


def context(parts: Machine, ca: str = "ca") -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(parts.directory / f"{ca}.pem"))


@pytest.fixture(params=["starttls", "tls"])
def secure(request: pytest.FixtureRequest, parts: Machine) -> Iterator[tuple[str, Mailbox]]:
    """A mail server with a certificate for `localhost`, that asks for a login."""
    found = Mailbox(free_port())
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(parts.directory / "tls.pem", parts.directory / "tls.key")

    def log_in(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        found.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"mail-password")

    immediate = {"ssl_context": server_side} if request.param == "tls" else {}
    later = {"tls_context": server_side, "require_starttls": True} if request.param == "starttls" else {}
    server = Controller(
        found, hostname="localhost", port=found.port, authenticator=log_in, auth_required=True,
        auth_require_tls=request.param == "starttls", **immediate, **later,
    )  # fmt: skip
    server.start()
    yield request.param, found
    server.stop()


def test_a_mail_goes_encrypted_and_logged_in(
    settings: Settings, parts: Machine, secure: tuple[str, Mailbox]
) -> None:
    tls, mailbox = secure
    password = parts.directory / "secrets" / "app_smtp_password"
    password.write_text("mail-password")
    try:
        loaded = settings(smtp_port=mailbox.port, smtp_tls=tls, smtp_username="mailer")
    finally:
        password.unlink()
    SmtpMailer(loaded, tls_context=context(parts)).send(mail())
    assert mailbox.logins == [("mailer", "mail-password")]
    assert len(mailbox.mails) == 1


def test_a_certificate_of_somebody_else_is_refused(
    settings: Settings, parts: Machine, secure: tuple[str, Mailbox]
) -> None:
    tls, mailbox = secure
    loaded = settings(smtp_port=mailbox.port, smtp_tls=tls)
    for trusted in (context(parts, "other-ca"), None):
        with pytest.raises(TransientError, match="certificate verify failed"):
            SmtpMailer(loaded, tls_context=trusted).send(mail())
    with pytest.raises(TransientError, match="mismatch"):
        SmtpMailer(settings(smtp_host="127.0.0.1"), tls_context=context(parts)).send(mail())
    assert mailbox.mails == []


def test_a_server_without_starttls_gets_nothing_in_the_clear(settings: Settings, mailbox: Mailbox) -> None:
    with pytest.raises(TransientError, match="STARTTLS"):
        SmtpMailer(settings(smtp_port=mailbox.port, smtp_tls="starttls")).send(mail())
    assert mailbox.mails == []
