"""The schema from nothing, again, and at once from two places; and a role that may not change it."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app.db import migrate as module
from app.db.migrate import main, migrate
from app.db.models import metadata
from app.db.schema import HEAD, floor
from app.db.session import Database
from app.settings import ApiSettings, MigrateSettings, load
from tests.integration.machine import Machine, eventually, run


@pytest.fixture
def empty(parts: Machine) -> Iterator[Machine]:
    """The database as RDS hands it over; afterwards as the other tests want it."""
    nothing(parts)
    yield parts
    nothing(parts)
    migrate(load(MigrateSettings))


def nothing(parts: Machine) -> None:
    parts.sql("DROP TABLE IF EXISTS tasks, workers, counters, alembic_version")
    if parts.sql("SELECT 1 FROM pg_roles WHERE rolname = 'app'"):
        parts.superuser("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        parts.superuser("DROP OWNED BY app")
        parts.superuser("DROP ROLE app")


def verifier(parts: Machine) -> str:
    """What the server keeps instead of the password."""
    return parts.superuser("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")


def test_from_nothing_to_the_head_and_again_without_a_change(
    empty: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main() == 0
    assert capsys.readouterr().out == f"schema head {HEAD}\nschema floor {floor()}\n"
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    before = empty.sql(tables), verifier(empty)
    assert before[0] == [("alembic_version",), ("counters",), ("tasks",), ("workers",)]
    assert before[1].startswith("SCRAM-SHA-256$")
    assert main() == 0
    assert capsys.readouterr().out == f"schema head {HEAD}\nschema floor {floor()}\n"
    assert (empty.sql(tables), verifier(empty)) == before, "not even the verifier was made anew"


def test_several_at_once_are_one(empty: Machine) -> None:
    settings = load(MigrateSettings)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: migrate(settings), range(3))) == [HEAD] * 3


def test_the_migrations_make_exactly_what_the_models_say(parts: Machine) -> None:
    settings = load(MigrateSettings)
    owner = Database(
        settings, username=settings.migrator_username, password=settings.migrator_password.get_secret_value()
    )
    with owner.connection(10) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    owner.close()


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE mine (id int)", "ALTER TABLE tasks ADD COLUMN mine int", "DROP TABLE tasks",
     "TRUNCATE tasks", "CREATE INDEX mine ON tasks (id)", "DELETE FROM alembic_version", "CREATE SCHEMA mine",
     "CREATE ROLE mine", "ALTER ROLE app SUPERUSER"],
)  # fmt: skip
def test_the_applications_role_cannot_change_the_schema(database: Database, statement: str) -> None:
    with database.connection() as connection:
        cursor = connection.connection.cursor()
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(statement)


def test_the_applications_role_reads_and_writes_rows_of_new_tables_too(
    database: Database, parts: Machine
) -> None:
    parts.sql("CREATE TABLE tomorrow (id int)")
    try:
        with database.connection() as connection:
            for statement in (
                "INSERT INTO tomorrow VALUES (1)",
                "UPDATE tomorrow SET id = 2",
                "DELETE FROM tomorrow",
            ):
                assert connection.exec_driver_sql(statement).rowcount == 1
    finally:
        parts.sql("DROP TABLE tomorrow")


def test_a_new_password_is_set_and_the_old_one_refused(
    parts: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = parts.directory / "secrets" / "app_database_password"
    old = file.read_text()
    file.write_text("another-0123456789")
    try:
        assert main() == 0
        with contextlib.closing(Database(load(ApiSettings))) as new, new.connection():
            pass
        assert "password authentication failed" in refused(parts, old)
    finally:
        file.write_text(old)
        assert main() == 0


def refused(parts: Machine, password: str) -> str:
    """What the server says to this password."""
    with pytest.raises(psycopg2.OperationalError) as error:
        psycopg2.connect(
            host="localhost", port=parts.postgres.port, dbname="steadfast", user="app", password=password
        )
    return str(error.value)


def test_the_servers_log_never_saw_the_password(parts: Machine) -> None:
    said = run("docker", "logs", parts.postgres.name)
    assert (parts.directory / "secrets" / "app_database_password").read_text() not in said


def test_a_server_that_is_away_is_said_in_one_line(
    parts: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APP_DATABASE_PORT", "1")
    assert main() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "migration.failed" in captured.err
    assert "Traceback" not in captured.err


def test_a_migration_that_takes_too_long_is_given_up_here_and_on_the_server(
    parts: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "LIMIT_SECONDS", 1.5)
    monkeypatch.setattr(
        module, "_upgrade", lambda connection: connection.exec_driver_sql("SELECT pg_sleep(8)")
    )
    begun = time.monotonic()
    assert main() == 1
    assert time.monotonic() - begun < 4
    assert "migration.failed" in capsys.readouterr().err
    running = "SELECT query FROM pg_stat_activity WHERE query LIKE '%pg_sleep(8)' AND state = 'active'"
    eventually(lambda: parts.sql(running) == [], seconds=3, what="the end of the statement on the server")


def test_a_migration_that_cannot_have_a_table_lets_everybody_else_have_it(
    parts: Machine, database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_TABLE_TRIES", 2)
    monkeypatch.setattr(module, "_upgrade_now", lambda connection: connection.exec_driver_sql(WANTS_ALL))
    insert = "INSERT INTO tasks (id, kind, payload) VALUES ('{:036d}', 'notify', '{{}}')"
    with ThreadPoolExecutor(1) as pool, parts.transaction() as holder:
        holder.execute("SELECT count(*) FROM tasks")
        # What holds a table for a moment is everybody; it must be there for longer to be named.
        time.sleep(1.1)
        ended = pool.submit(main)
        stored = 0
        while not ended.done():
            with database.connection() as connection:
                connection.exec_driver_sql(insert.format(stored))
            stored += 1
        assert ended.result() == 1
    assert stored > 10
    said = capsys.readouterr().err
    assert "A table could not be had, in 2 tries: it is held by process " in said
    assert "Traceback" not in said


WANTS_ALL = "ALTER TABLE tasks ALTER COLUMN kind SET STATISTICS 100, ALTER COLUMN kind SET NOT NULL"


def test_a_migration_has_its_table_when_the_other_is_done(
    parts: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_upgrade_now", lambda connection: connection.exec_driver_sql(WANTS_ALL))
    with ThreadPoolExecutor(1) as pool:
        with parts.transaction() as holder:
            holder.execute("SELECT count(*) FROM tasks")
            ended = pool.submit(main)
            time.sleep(1)
            assert not ended.done()
        assert ended.result() == 0


def test_a_statement_that_the_database_refuses_is_said_in_one_line(
    parts: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_upgrade_now", lambda connection: connection.exec_driver_sql("SELECT 1 / 0"))
    assert main() == 1
    said = capsys.readouterr().err
    assert "The database refused: division by zero" in said
    assert "Traceback" not in said


INDEX = (
    "SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index WHERE indexrelid = 'tasks_status'::regclass"
)


@pytest.fixture
def before_indexes(parts: Machine) -> Iterator[Machine]:
    """The schema before operators' indexes, but for one that was broken off; afterwards whole again."""
    parts.sql("UPDATE alembic_version SET version_num = '0002'")
    parts.sql("DROP INDEX tasks_status")
    parts.sql("CREATE INDEX tasks_status ON tasks (kind)")
    yield parts
    migrate(load(MigrateSettings))


def test_an_index_whose_making_was_broken_off_is_made_anew(before_indexes: Machine) -> None:
    assert main() == 0
    ((definition, valid),) = before_indexes.sql(INDEX)
    assert "(status, id)" in definition
    assert valid


def test_tasks_are_stored_while_an_index_is_made(before_indexes: Machine) -> None:
    insert = "INSERT INTO tasks (id, kind, payload) VALUES (%s, 'notify', '{}')"
    making = (
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%INDEX %tasks_status%' AND wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor(1) as pool, contextlib.closing(before_indexes.connect()) as connection:
        with connection.cursor() as cursor:
            # What the making of an index must wait for, whatever way it is made.
            cursor.execute("BEGIN")
            cursor.execute(insert, ["1" * 36])
            made = pool.submit(main)
            eventually(lambda: before_indexes.sql(making), seconds=5, what="the migration waiting")
            before_indexes.sql(f"SET lock_timeout = '1s'; {insert}", "2" * 36)
            cursor.execute("COMMIT")
        assert made.result(30) == 0
    assert before_indexes.sql("SELECT count(*) FROM tasks") == [(2,)]


@pytest.fixture
def before_unconfirmed(parts: Machine) -> Iterator[Machine]:
    """The schema of the release before, with a task in it; afterwards as the other tests want it."""
    parts.sql("ALTER TABLE tasks DROP COLUMN unconfirmed")
    parts.sql("UPDATE alembic_version SET version_num = '0003'")
    parts.sql("INSERT INTO tasks (id, kind, payload, status) VALUES (%s, 'notify', '{}', 'failed')", "1" * 36)
    yield parts
    migrate(load(MigrateSettings))


@pytest.mark.parametrize("broken_off", [False, True])
def test_old_rows_get_a_count_of_their_unconfirmed_attempts(
    before_unconfirmed: Machine, broken_off: bool
) -> None:
    if broken_off:
        before_unconfirmed.sql("ALTER TABLE tasks ADD COLUMN unconfirmed smallint NOT NULL DEFAULT 0")
        before_unconfirmed.sql("CREATE INDEX tasks_unconfirmed ON tasks (kind)")
    assert main() == 0
    assert before_unconfirmed.sql("SELECT unconfirmed FROM tasks") == [(0,)]
    ((definition, valid),) = before_unconfirmed.sql(INDEX.replace("tasks_status", "tasks_unconfirmed"))
    assert definition.endswith("(id) WHERE (unconfirmed > 0)")
    assert valid
    # As the release before does, which knows nothing of it.
    before_unconfirmed.sql("INSERT INTO tasks (id, kind, payload) VALUES (%s, 'notify', '{}')", "2" * 36)
