"""Hands a mail to a mail server: an interface of one method, SMTP, and a fake that records."""

import smtplib
import socket
import ssl
from contextlib import suppress
from email.message import EmailMessage
from threading import Timer
from typing import Any, Protocol

from app.deadline import Deadline, resolve
from app.errors import PermanentError, TaskError, TransientError
from app.settings import WorkerSettings


class Mailer(Protocol):
    """Whatever sends mail."""

    def send(self, message: EmailMessage) -> str:
        """Returns the server's words when it has taken the mail. Raises TransientError or PermanentError."""


class RecordingMailer:
    """The fake: keeps what it is given, or fails as it is told."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.sent: list[EmailMessage] = []
        self.failure = failure

    def send(self, message: EmailMessage) -> str:
        """As the interface says."""
        if self.failure:
            raise self.failure
        self.sent.append(message)
        return "250 OK"


class SmtpMailer:
    """One connection a mail, under one deadline from the look-up of the name to the server's last word."""

    def __init__(self, settings: WorkerSettings, *, tls_context: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._tls = tls_context or ssl.create_default_context()

    def send(self, message: EmailMessage) -> str:
        """As the interface says."""
        deadline = Deadline(self._settings.smtp_timeout_seconds)
        tls = self._tls if self._settings.smtp_tls == "tls" else None
        connection = _Connection(deadline, tls, name=self._settings.mail_from.rpartition("@")[2])
        watchdog = Timer(deadline.remaining(), connection.cut)
        watchdog.daemon = True
        watchdog.start()
        try:
            self._introduce(connection)
            return self._hand_over(connection, message)
        except smtplib.SMTPResponseException as refusal:
            raise _refused(refusal, of_mail=connection.introduced) from refusal
        except smtplib.SMTPNotSupportedError as error:
            raise TransientError("mail_server_lacks_feature", str(error)) from error
        # ValueError: what the ssl module says of a socket that the watchdog has cut under it.
        except (smtplib.SMTPException, OSError, ValueError) as error:
            if not deadline.remaining():
                limit = f"{self._settings.smtp_timeout_seconds:g} s"
                raise TransientError(
                    "mail_server_too_slow", f"The mail server took longer than {limit}."
                ) from error
            raise TransientError(
                "mail_server_unreachable", f"The mail server cannot be reached: {error}"
            ) from error
        finally:
            watchdog.cancel()
            connection.close()

    def _introduce(self, connection: "_Connection") -> None:
        settings = self._settings
        _expect(connection.connect(settings.smtp_host, settings.smtp_port), 220)
        if settings.smtp_tls == "starttls":
            connection.ehlo_or_helo_if_needed()
            connection.starttls(context=self._tls)
        connection.ehlo_or_helo_if_needed()
        if settings.smtp_username:
            connection.login(settings.smtp_username, settings.smtp_password.get_secret_value())
        _expect(connection.mail(str(settings.mail_from)), 250)
        connection.introduced = True

    def _hand_over(self, connection: "_Connection", message: EmailMessage) -> str:
        _expect(connection.rcpt(str(message["To"])), 250, 251)
        answer = _expect(connection.data(message.as_bytes()), 250)
        # The mail is taken; whatever happens to the farewell changes nothing.
        with suppress(smtplib.SMTPException, OSError, ValueError):
            connection.quit()
        return answer


class _Connection(smtplib.SMTP):
    """smtplib's client, whose connecting heeds the deadline, and that another thread may cut."""

    def __init__(self, deadline: Deadline, tls: ssl.SSLContext | None, *, name: str) -> None:
        # Named, because smtplib would ask a name server for this machine's own name, however long that takes.
        super().__init__(local_hostname=name)
        self._deadline = deadline
        self._implicit_tls = tls
        # Whether the server has taken us and our sender: what it refuses from then on is the mail.
        self.introduced = False

    def _get_socket(self, host: str, port: int, timeout: float | None) -> Any:
        # smtplib's own place to say how a connection is made; SMTP_SSL uses it too.
        self._host = host  # the name that STARTTLS asks the certificate for
        failure: OSError = OSError(f"{host} has no address")
        for address in resolve(host, port, self._deadline):
            try:
                plain = socket.create_connection(
                    (address, port), timeout=max(self._deadline.remaining(), 0.001)
                )
            except OSError as error:
                failure = error
                continue
            # Known before the handshake, which a slow server could draw out.
            self.sock = plain
            if self._implicit_tls is None:
                return plain
            return self._implicit_tls.wrap_socket(plain, server_hostname=host)
        raise failure

    def cut(self) -> None:
        """Ends every wait on the socket, from another thread: a server may feed bytes one by one."""
        if self.sock is not None:
            with suppress(OSError):
                # The plain socket's method: the ssl module's own would touch what the other thread is using.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def _expect(answer: tuple[int, bytes], *codes: int) -> str:
    code, words = answer
    if code not in codes:
        raise smtplib.SMTPResponseException(code, words)
    return f"{code} {_plain(words)}"


def _refused(refusal: smtplib.SMTPResponseException, *, of_mail: bool) -> TaskError:
    """A 5xx is the server's last word on a mail; everything else may change (421, 450, 451, 452, -1).

    A 5xx before the recipient is named is about our address, name, login or sender: ours to mend.
    """
    said = f"{refusal.smtp_code} {_plain(refusal.smtp_error)}"
    if not 500 <= refusal.smtp_code < 600:
        return TransientError("put_off_by_mail_server", said)
    if of_mail:
        return PermanentError("refused_by_mail_server", said)
    return TransientError("mail_server_refuses_us", said)


def _plain(words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[
        :500
    ]
