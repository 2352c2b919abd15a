"""A database that is away, frozen, or not what it says costs no more than the deadline."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.session import Database
from app.db.statements import Statement
from app.errors import DatabaseUnavailable
from app.settings import ApiSettings, load
from tests.integration.machine import Machine

ONE = text("SELECT 1")


@contextlib.contextmanager
def unavailable_within(seconds: float) -> Iterator[None]:
    """DatabaseUnavailable, in time."""
    begun = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        yield
    assert time.monotonic() - begun < seconds


@pytest.fixture
def connect(parts: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Database]]:
    """A database with other settings."""
    made: list[Database] = []

    def with_changes(**changes: object) -> Database:
        for name, value in changes.items():
            monkeypatch.setenv(f"APP_{name.upper()}", str(value))
        made.append(Database(load(ApiSettings)))
        return made[-1]

    yield with_changes
    for one in made:
        one.close()


Connect = Callable[..., Database]


def test_a_frozen_server_is_noticed_on_an_old_connection_and_on_a_new_one(
    database: Database, parts: Machine
) -> None:
    with database.connection() as connection:
        connection.execute(ONE)
    with parts.postgres.frozen():
        with unavailable_within(2), database.connection() as connection:
            connection.execute(ONE)
        with unavailable_within(2), database.connection() as connection:
            connection.execute(ONE)
    with database.connection() as connection:
        assert connection.execute(ONE).scalar_one() == 1


def test_a_server_that_restarted_is_not_noticed_at_all(database: Database, parts: Machine) -> None:
    """Ended connections of the pool are found before they are used, and cost no round trip."""
    with database.connection() as connection:
        connection.execute(ONE)
    with parts.postgres.stopped(), unavailable_within(2), database.connection():
        pass
    parts.wait_ready()
    with database.connection() as connection:
        before = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    parts.superuser(f"SELECT pg_terminate_backend({before})")
    time.sleep(0.2)
    with database.connection() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != before


def test_a_name_that_is_not_known(connect: Connect) -> None:
    with unavailable_within(2), connect(database_host="db.steadfast.invalid").connection():
        pass


def test_a_port_that_takes_connections_and_says_nothing(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with unavailable_within(2), connect(database_port=port).connection():
            pass


def test_an_address_that_swallows_packets(connect: Connect) -> None:
    """A full backlog: the kernel drops further SYNs, as a firewall would."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            waiting.append(one)
        with unavailable_within(2), connect(database_port=port).connection():
            pass
        for one in waiting:
            one.close()


def test_a_certificate_of_another_ca_is_refused(connect: Connect, parts: Machine) -> None:
    with unavailable_within(2), connect(database_ca_path=parts.directory / "other-ca.pem").connection():
        pass


def test_a_certificate_for_another_name_is_refused(connect: Connect) -> None:
    with unavailable_within(2), connect(database_host="127.0.0.1").connection():
        pass


def test_a_statement_that_waits_for_a_lock_is_given_up_on_the_server_too(
    database: Database, parts: Machine
) -> None:
    parts.sql("INSERT INTO workers VALUES ('n', 'r', now())")
    with database.connection(10) as holder:
        holder.exec_driver_sql("BEGIN")
        holder.exec_driver_sql("UPDATE workers SET release = 'held'")
        failures: list[BaseException] = []

        def wait_for_it() -> None:
            try:
                with database.connection() as connection:
                    connection.exec_driver_sql("UPDATE workers SET release = 'late'")
            except DatabaseUnavailable as error:
                failures.append(error)

        thread = threading.Thread(target=wait_for_it)
        thread.start()
        thread.join(3)
        assert len(failures) == 1
        time.sleep(0.5)
        holder.exec_driver_sql("COMMIT")
    time.sleep(0.3)
    assert parts.sql("SELECT release FROM workers") == [("held",)]


def test_a_connection_within_another_leaves_the_outer_one_its_deadline(
    database: Database, parts: Machine
) -> None:
    with unavailable_within(3), database.connection(1) as outer:
        with database.connection() as inner:
            inner.execute(ONE)
        outer.exec_driver_sql("SET statement_timeout = 0")
        outer.exec_driver_sql("SELECT pg_sleep(5)")


def test_a_pool_that_is_used_up_is_unavailable_in_time(connect: Connect) -> None:
    database = connect()
    with contextlib.ExitStack() as held:
        for _ in range(5):
            held.enter_context(database.connection(10))
        with unavailable_within(2), database.connection():
            pass


def test_a_fault_of_the_statement_is_no_outage(database: Database) -> None:
    with pytest.raises(DBAPIError), database.connection() as connection:
        connection.exec_driver_sql("SELECT 1/0")
    with database.connection() as connection:
        assert connection.execute(ONE).scalar_one() == 1


def test_what_was_prepared_before_a_migration_is_prepared_anew(database: Database, parts: Machine) -> None:
    parts.sql("CREATE TABLE changing (id smallint); GRANT SELECT ON changing TO app")
    statement = Statement("changing_all", "SELECT id FROM changing WHERE id > :least", least="integer")
    try:
        with database.connection() as connection:
            statement.run(connection, {"least": 0})
        parts.sql("ALTER TABLE changing ALTER id TYPE integer")
        with pytest.raises(DatabaseUnavailable), database.connection() as connection:
            statement.run(connection, {"least": 0})
        with database.connection() as connection:
            statement.run(connection, {"least": 0})
    finally:
        parts.sql("DROP TABLE changing")


def test_a_server_that_hangs_up_each_time_is_unavailable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.session._hung_up", lambda _: True)
    with pytest.raises(DatabaseUnavailable), database.connection():
        pass


def test_no_statement_is_compiled(database: Database) -> None:
    # What has no index would look dear enough for it, and take seconds on a busy machine.
    with database.connection() as connection:
        assert connection.exec_driver_sql("SHOW jit").scalar_one() == "off"


def test_connections_are_opened_beforehand_if_the_server_lets_them(
    database: Database, connect: Connect
) -> None:
    database.warm(2)
    assert database.engine.pool.checkedin() == 2  # type: ignore[attr-defined]
    connect(database_port=1).warm(2)
