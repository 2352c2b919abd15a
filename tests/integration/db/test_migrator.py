"""The owner of database and schema: made through a master user who is no superuser, then left alone."""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from pydantic import SecretStr

from app.db.migrate import MigrationRefused, migrate
from app.db.migrator import Master, main, make_migrator
from app.db.schema import HEAD
from app.db.session import Database
from app.errors import DatabaseUnavailable
from app.settings import ApiSettings, MigrateSettings, load
from tests.integration.machine import Machine, run

DATABASE, OWNER, APP = "orders", "orders_owner", "orders_app"
PASSWORD = "made-up-0wner's Word-1"
MASTER = "postgres"


@pytest.fixture
def server(parts: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """The server with names that it does not know yet; afterwards it knows them no more."""
    names = {"DATABASE_NAME": DATABASE, "MIGRATOR_USERNAME": OWNER, "DATABASE_USERNAME": APP}
    for name, value in {**names, "MIGRATOR_PASSWORD": PASSWORD}.items():
        monkeypatch.setenv(f"APP_{name}", value)
    yield parts
    parts.superuser(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    for role in (APP, OWNER, f"{OWNER}_reader"):
        parts.superuser(f"DROP ROLE IF EXISTS {role}")


def settings() -> MigrateSettings:
    return load(MigrateSettings)


def master(server: Machine, password: str = "") -> Master:
    return Master(username=MASTER, password=SecretStr(password or server.master_password))


def known(server: Machine) -> list[str]:
    """Which of the names the server knows."""
    found = server.superuser(
        f"SELECT datname FROM pg_database WHERE datname = '{DATABASE}'"
        f" UNION ALL SELECT rolname FROM pg_roles WHERE rolname IN ('{OWNER}', '{APP}') ORDER BY 1"
    )
    return found.split()


def rights(server: Machine) -> str:
    """The migrator: superuser, makes databases, makes roles, logs in, owns the database."""
    return server.superuser(
        "SELECT rolsuper, rolcreatedb, rolcreaterole, rolcanlogin, datdba = pg_roles.oid"
        f" FROM pg_roles, pg_database WHERE rolname = '{OWNER}' AND datname = '{DATABASE}'"
    )


def verifier(server: Machine) -> str:
    return server.superuser(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{OWNER}'")


def inside(server: Machine, statement: str) -> str:
    """A statement in the database, as the server's own administrator."""
    psql = ("runuser", "-u", "postgres", "--", "psql", "-Atqc", statement, DATABASE)
    return run("docker", "exec", server.postgres.name, *psql)


def test_the_stand_in_is_as_closed_as_rds(server: Machine) -> None:
    asked = f"SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = '{MASTER}'"
    assert server.superuser(asked) == "f|t|t"


def test_from_a_bare_server_to_the_head(server: Machine) -> None:
    assert known(server) == []
    assert make_migrator(settings(), master(server))
    assert rights(server) == "f|t|t|t|t"
    assert migrate(settings()) == HEAD
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert inside(server, owners) == OWNER
    assert inside(server, f"SELECT rolcreaterole, rolcanlogin FROM pg_roles WHERE rolname = '{APP}'") == "f|t"


@pytest.mark.parametrize("statement", ["CREATE ROLE mine SUPERUSER", f"ALTER ROLE {MASTER} PASSWORD 'mine'"])
def test_the_migrator_is_no_administrator(server: Machine, statement: str) -> None:
    make_migrator(settings(), master(server))
    with Database(settings(), username=OWNER, password=PASSWORD).connection() as connection:
        cursor = connection.connection.cursor()
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(statement)


def test_a_migrator_that_can_log_in_is_left_alone_whatever_the_master_is(server: Machine) -> None:
    make_migrator(settings(), master(server))
    before = verifier(server), rights(server)
    assert not make_migrator(settings(), master(server, "not-its-password"))
    assert (verifier(server), rights(server)) == before


def test_a_wrong_password_of_the_master_changes_nothing(server: Machine) -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        make_migrator(settings(), master(server, "not-its-password"))
    assert f'password authentication failed for user "{MASTER}"' in str(refused.value.__cause__)
    assert known(server) == []


def test_a_master_who_is_the_migrator_with_another_password_is_refused(
    server: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_MIGRATOR_USERNAME", MASTER)
    with pytest.raises(MigrationRefused, match="the master user and the migrator both"):
        make_migrator(settings(), master(server))
    assert known(server) == []


def test_a_making_that_was_broken_off_is_ended(server: Machine) -> None:
    # The role is there and cannot log in; the database is the master's, as RDS makes one.
    server.superuser(f"CREATE DATABASE {DATABASE} OWNER {MASTER}")
    then = settings()
    with Database(then, username=MASTER, password=server.master_password).connection(5) as connection:
        connection.exec_driver_sql(f"CREATE ROLE {OWNER} NOLOGIN CREATEROLE")
    assert make_migrator(settings(), master(server))
    assert rights(server) == "f|t|t|t|t"
    assert migrate(settings()) == HEAD


def test_a_new_password_of_the_migrator_is_set(server: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    make_migrator(settings(), master(server))
    migrate(settings())
    monkeypatch.setenv("APP_MIGRATOR_PASSWORD", "made-up-0wner-Word-2")
    assert make_migrator(settings(), master(server))
    assert migrate(settings()) == HEAD


def test_several_at_once_are_one(server: Machine) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: make_migrator(settings(), master(server)), range(3)))
    assert migrate(settings()) == HEAD


@pytest.fixture
def older(server: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """What the master user made while it was the migrator itself, with a task in it."""
    server.superuser(f"CREATE DATABASE {DATABASE} OWNER {MASTER}")
    with monkeypatch.context() as then:
        then.setenv("APP_MIGRATOR_USERNAME", MASTER)
        then.setenv("APP_MIGRATOR_PASSWORD", server.master_password)
        assert migrate(settings()) == HEAD
    inside(server, f"INSERT INTO tasks (id, kind, payload) VALUES ('{'1' * 36}', 'notify', '{{}}')")
    return server


def test_what_the_master_made_as_the_migrator_is_handed_over(
    older: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_migrator(settings(), master(older))
    assert migrate(settings()) == HEAD
    assert rights(older) == "f|t|t|t|t"
    owned = (
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        f" AND relowner <> '{OWNER}'::regrole"
    )
    assert inside(older, owned) == "0", "tables, indexes, sequences"
    # The release that still runs goes on with its rows, and the app's role is the new owner's to change.
    monkeypatch.setenv("APP_DATABASE_PASSWORD", "made-up-app-Word-3")
    assert migrate(settings()) == HEAD
    with Database(load(ApiSettings)).connection() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM tasks").scalar() == 1
        cursor = connection.connection.cursor()
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("ALTER TABLE tasks ADD COLUMN mine int")


def test_what_is_anothers_is_refused_in_the_servers_words(
    server: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.superuser(f"CREATE DATABASE {DATABASE}")
    monkeypatch.setattr("sys.stdin", io.StringIO(server.master))
    assert main() == 1
    said = capsys.readouterr().err
    assert f"must be owner of database {DATABASE}" in said
    assert "Traceback" not in said
    with pytest.raises(DatabaseUnavailable):
        migrate(settings())


@pytest.mark.parametrize(
    "given",
    [
        "",
        "no JSON, but s3cret-words",
        '{"username": "postgres", "password": ""}',
        '{"password": "s3cret-words"}',
    ],
)
def test_what_cannot_be_read_is_refused_and_not_repeated(
    server: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    assert main() == 1
    captured = capsys.readouterr()
    assert "Standard input must be" in captured.err
    assert "s3cret-words" not in captured.err + captured.out


def test_as_a_deployment_runs_it(server: Machine) -> None:
    names = {"DATABASE_NAME": DATABASE, "MIGRATOR_USERNAME": OWNER, "MIGRATOR_PASSWORD": PASSWORD}
    unknown = json.dumps({"username": MASTER, "password": "not-its-password"})
    wrong = server.run("db.migrator", unknown, **names)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "database/master_" in wrong.stderr
    assert "not-its-password" not in wrong.stderr
    done = [server.run("db.migrator", server.master, **names) for _ in range(2)]
    assert [one.stdout for one in done] == ["migrator made\n", "migrator is there\n"]
    said = run("docker", "logs", server.postgres.name) + "".join(one.stdout + one.stderr for one in done)
    for word in (PASSWORD, server.master_password):
        assert word not in said
