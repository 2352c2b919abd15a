"""Connections with a deadline; a server that is away or frozen is DatabaseUnavailable.

Every statement commits itself: one transaction, one round trip, and the server's answer *is* the commit. So
accepting, claiming and recording cost one round trip each, and no transaction is open while work is done.
"""

import os
import select
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg2
import structlog
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, set_wait_callback
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, DisconnectionError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.deadline import Deadline, resolve
from app.errors import DatabaseUnavailable, RowLocked
from app.settings import DatabaseSettings

log = structlog.get_logger()
_current = threading.local()

# Classes of SQLSTATE that speak of the server and not of the statement: connection, rollback by the server,
# resources, operator (shutdown, cancelled), system; then read-only after a failover, and a database, login,
# table, column or grant that is not there yet.
_SERVER_TROUBLE = ("08", "40", "53", "57", "58", "XX", "25006", "3D000", "28", "42P01", "42703", "42501")
# Prepared before a migration that changed what it answers: this connection can not do it any more.
_OLD_PLAN = ("0A000", "26000")
_LOCK_NOT_AVAILABLE = "55P03"
_WARM_TRIES = 3


def _wait(connection: Any) -> None:
    """psycopg2 waits here instead of inside libpq, which would wait for a frozen server for ever."""
    deadline: Deadline | None = getattr(_current, "deadline", None)
    poller = select.poll()
    while (state := connection.poll()) != POLL_OK:
        descriptor = connection.fileno()
        poller.register(descriptor, {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}[state])
        remaining = None if deadline is None else deadline.remaining() * 1000
        if not poller.poll(remaining):
            # psycopg2 closes a connection whose wait was given up.
            raise psycopg2.OperationalError("the database did not answer in time")
        poller.unregister(descriptor)


set_wait_callback(_wait)


@contextmanager
def _deadline(seconds: float) -> Iterator[Deadline]:
    outer = getattr(_current, "deadline", None)
    _current.deadline = Deadline(seconds)
    try:
        yield _current.deadline
    finally:
        # A connection may be asked for while another is in use, whose deadline then holds again.
        _current.deadline = outer


def _hung_up(descriptor: int) -> bool:
    """Whether the server has ended an idle connection: nothing else makes one readable. No round trip."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def is_server_trouble(error: Exception) -> bool:
    """Whether the server could not do it just now, as opposed to: it would never do this statement."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, PoolTimeout | InvalidRequestError)
    code = getattr(error.orig, "pgcode", None)
    if code is None:
        return isinstance(error.orig, psycopg2.OperationalError | psycopg2.InterfaceError)
    return str(code).startswith((*_SERVER_TROUBLE, *_OLD_PLAN))


def _prepare_anew(context: ExceptionContext) -> None:
    """Has SQLAlchemy replace all connections of the pool, whose plans are as old."""
    if getattr(context.original_exception, "pgcode", None) in _OLD_PLAN:
        context.is_disconnect = True


class Database:
    """A pool of connections of one role."""

    def __init__(
        self, settings: DatabaseSettings, *, username: str = "", password: str = "", pool_size: int = 5
    ) -> None:
        self._settings = settings
        self._username = username or settings.database_username
        self._password = password or settings.database_password.get_secret_value()
        self.timeout_seconds = settings.database_timeout_seconds
        self.engine = create_engine(
            "postgresql+psycopg2://",
            creator=self._connect,
            isolation_level="AUTOCOMMIT",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=settings.database_timeout_seconds,
            use_native_hstore=False,
            # Errors are logged, and parameters are what people wrote.
            hide_parameters=True,
        )
        event.listen(self.engine, "checkout", self._check)
        event.listen(self.engine, "handle_error", _prepare_anew)

    @contextmanager
    def connection(self, seconds: float | None = None) -> Iterator[Connection]:
        """A connection whose every wait, connecting included, ends within one deadline.

        Raises DatabaseUnavailable if the trouble is the server's; a statement's own errors pass as they are.
        """
        with _deadline(seconds or self.timeout_seconds):
            try:
                with self.engine.connect() as connection:
                    yield connection
            # The third: what SQLAlchemy says when the server hangs up each time that a connection is taken.
            except (PoolTimeout, DBAPIError, InvalidRequestError) as error:
                if getattr(getattr(error, "orig", None), "pgcode", None) == _LOCK_NOT_AVAILABLE:
                    raise RowLocked from error
                if not is_server_trouble(error):
                    raise
                log.warning("database.failed", problem=str(getattr(error, "orig", error)).strip())
                raise DatabaseUnavailable from error

    def warm(self, connections: int) -> None:
        """Opens so many beforehand, if the server lets it: whoever asks first need not wait for one."""
        for _ in range(_WARM_TRIES):
            with suppress(DatabaseUnavailable), ExitStack() as opened:
                for _ in range(connections):
                    opened.enter_context(self.connection())
                return

    def close(self) -> None:
        """Ends the idle connections."""
        self.engine.dispose()

    def _connect(self) -> Any:
        settings, deadline = self._settings, _current.deadline
        try:
            addresses = resolve(settings.database_host, settings.database_port, deadline)
        except OSError as error:
            raise psycopg2.OperationalError(f"{settings.database_host}: {error}") from error
        return psycopg2.connect(
            # One name for each address: libpq tries them in turn and checks the certificate against the name.
            host=",".join([settings.database_host] * len(addresses)),
            hostaddr=",".join(addresses),
            port=settings.database_port,
            dbname=settings.database_name,
            user=self._username,
            password=self._password,
            sslmode="verify-full",
            sslrootcert=str(settings.database_ca_path),
            gssencmode="disable",
            application_name=f"{settings.release}-{settings.colour}-{os.getpid()}",
            # A statement that was given up here is given up there too, as soon as the server can; waiting for
            # another transaction is given up earlier, so that there is time for an answer.
            # Plans are kept from the first time on, and one that was made for a small table must not read all
            # of it when it has grown. Where it must, it looks so dear that it would be compiled, which takes
            # a hundred times as long as the statement.
            options=f"-c statement_timeout={int(deadline.seconds * 1000)}"
            f" -c lock_timeout={int(deadline.seconds * 500)} -c timezone=UTC"
            " -c enable_seqscan=off -c jit=off -c plan_cache_mode=force_generic_plan",
        )

    def _check(self, connection: Any, _: Any, __: Any) -> None:
        if connection.closed or _hung_up(connection.fileno()):
            raise DisconnectionError("the server ended this connection")
