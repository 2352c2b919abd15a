"""Hands a mail to a mail server: an interface of one method, SMTP, and a fake that records."""

import re
import smtplib
import ssl
from contextlib import suppress
from email.message import Message
from typing import Protocol

from app.deadline import Deadline
from app.errors import PermanentError, TaskError, TransientError, Unconfirmed
from app.mail.connections import Connection, Connections
from app.settings import WorkerSettings


class Mailer(Protocol):
    """Whatever sends mail."""

    def send(self, message: Message) -> str:
        """Returns the server's words when it has taken the mail. Raises Unconfirmed if it may have,
        TransientError or PermanentError if it has not.
        """


class RecordingMailer:
    """The fake: keeps what it is given, or fails as it is told."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.sent: list[Message] = []
        self.failure = failure

    def send(self, message: Message) -> str:
        """As the interface says."""
        if self.failure:
            raise self.failure
        self.sent.append(message)
        return "250 OK"


class _Stale(Exception):
    """A connection that was kept is of no use any more, and the server has seen nothing of this mail."""


class SmtpMailer:
    """Each mail under one deadline, from the look-up of the name to the server's last word.

    A connection is used for the next mail, too. One that fails before the mail itself is sent is replaced by
    a fresh one: the mail is neither lost with it nor sent twice.
    """

    def __init__(self, settings: WorkerSettings, *, tls_context: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._tls = tls_context or ssl.create_default_context()
        self._connections = Connections()

    def send(self, message: Message) -> str:
        """As the interface says."""
        deadline = Deadline(self._settings.smtp_timeout_seconds)
        kept = self._connections.take()
        if kept is not None:
            with suppress(_Stale):
                return self._send(kept, message, deadline)
        tls = self._tls if self._settings.smtp_tls == "tls" else None
        fresh = Connection(deadline, tls, name=self._settings.mail_from.rpartition("@")[2])
        return self._send(fresh, message, deadline)

    def _send(self, connection: Connection, message: Message, deadline: Deadline) -> str:
        connection.begin(deadline)
        try:
            with self._connections.watched(connection):
                if not connection.used_before:
                    self._introduce(connection)
                answer = self._hand_over(connection, message)
        except Exception as error:
            connection.close()
            # A fault of ours; but whatever it is, the server may have taken the mail by then.
            known = isinstance(error, (smtplib.SMTPException, OSError, ValueError))
            if not known and not connection.handed_over:
                raise
            if _is_stale(connection, error):
                raise _Stale from error
            raise self._translated(connection, error) from error
        self._connections.keep(connection)
        return answer

    def _introduce(self, connection: Connection) -> None:
        settings = self._settings
        _expect(connection.connect(settings.smtp_host, settings.smtp_port), 220)
        if settings.smtp_tls == "starttls":
            connection.ehlo_or_helo_if_needed()
            connection.starttls(context=self._tls)
        connection.ehlo_or_helo_if_needed()
        if settings.smtp_username:
            connection.login(settings.smtp_username, settings.smtp_password.get_secret_value())

    def _hand_over(self, connection: Connection, message: Message) -> str:
        content = _on_the_wire(message)
        _expect(connection.mail(str(self._settings.mail_from)), 250)
        connection.introduced = True
        _expect(connection.rcpt(str(message["To"])), 250, 251)
        _expect(connection.docmd("DATA"), 354)
        connection.handed_over = True
        connection.send(content)
        answer = connection.getreply()
        # A refusal is an answer. Nothing, half a line or garbage is none.
        connection.handed_over = not 400 <= answer[0] < 600
        return _expect(answer, 250)

    def _translated(self, connection: Connection, error: Exception) -> TaskError:
        limit = f"{self._settings.smtp_timeout_seconds:g} s"
        if connection.handed_over:
            cause = _said(error) if connection.deadline.remaining() else f"It took longer than {limit}."
            words = f"The mail server may have taken the mail, and did not answer. {cause}"
            return Unconfirmed("mail_unconfirmed", words)
        if isinstance(error, smtplib.SMTPResponseException):
            return _refused(error, of_mail=connection.introduced)
        if isinstance(error, smtplib.SMTPNotSupportedError):
            return TransientError("mail_server_lacks_feature", str(error))
        # ValueError: what the ssl module says of a socket that was cut under it.
        if not connection.deadline.remaining():
            return TransientError("mail_server_too_slow", f"The mail server took longer than {limit}.")
        return TransientError("mail_server_unreachable", f"The mail server cannot be reached: {error}")


def _is_stale(connection: Connection, error: Exception) -> bool:
    """Whether a fresh connection may fare better: what was said of the recipient would be said again."""
    if not connection.used_before or connection.handed_over or not connection.deadline.remaining():
        return False
    about_the_mail = isinstance(error, smtplib.SMTPResponseException) and connection.introduced
    return not about_the_mail


def _on_the_wire(message: Message) -> bytes:
    """As DATA sends it: a line that begins with a dot gets another, and a dot alone ends it."""
    content = re.sub(rb"(?m)^\.", b"..", message.as_bytes())
    return content + (b"" if content.endswith(b"\r\n") else b"\r\n") + b".\r\n"


def _expect(answer: tuple[int, bytes], *codes: int) -> str:
    code, words = answer
    if code not in codes:
        raise smtplib.SMTPResponseException(code, words)
    return f"{code} {_plain(words)}"


def _refused(refusal: smtplib.SMTPResponseException, *, of_mail: bool) -> TaskError:
    """A 5xx is the server's last word on a mail; everything else may change (421, 450, 451, 452, -1).

    A 5xx before the recipient is named is about our address, name, login or sender: ours to mend.
    """
    said = _said(refusal)
    if not 500 <= refusal.smtp_code < 600:
        return TransientError("put_off_by_mail_server", said)
    if of_mail:
        return PermanentError("refused_by_mail_server", said)
    return TransientError("mail_server_refuses_us", said)


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_plain(error.smtp_error)}"
    return _plain(str(error))


def _plain(words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(text.split())[:500]
