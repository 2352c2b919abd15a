"""`python -m app.db.migrator`: makes the owner of database and schema, through the server's master user.

The master user comes as JSON on standard input, so that its password is in no file, environment or argument,
and is used only if the migrator cannot log in. Safe to run at any time, twice, or from several places.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import structlog
from pydantic import BaseModel, Field, SecretStr, ValidationError
from sqlalchemy import Connection, text

from app import process
from app.db.migrate import MigrationRefused, limit_table_waits, lock
from app.db.roles import database_of, is_there, logs_in, run, set_password
from app.errors import DatabaseUnavailable
from app.settings import MigrateSettings, Name

log = structlog.get_logger()

# Everything together; well within what the deployment waits for this program.
LIMIT_SECONDS = 120
# A database that every server has.
_ALWAYS_THERE = "postgres"


class Master(BaseModel):
    """The server's administrator as RDS makes one: no superuser, but it makes roles and databases."""

    username: Name
    password: SecretStr = Field(min_length=1)


def make_migrator(settings: MigrateSettings, master: Master) -> bool:
    """Makes it unless it can log in; returns whether there was anything to do."""
    role, password = settings.migrator_username, settings.migrator_password
    if logs_in(database_of(settings, role, password)):
        return False
    if master.username == role:
        raise MigrationRefused(
            f"{role} is the master user and the migrator both, with two passwords. "
            "Name another in database/migrator_username, or take database/master_username away."
        )
    elsewhere = settings.model_copy(update={"database_name": _ALWAYS_THERE})
    with _connection(elsewhere, master) as server:
        lock(server)
        _ensure_role(server, role)
        _ensure_database(server, settings.database_name, role)
        with _connection(settings, master) as connection:
            _hand_over(connection, settings)
            # Last, so that whoever can log in has all that is to be its own. CREATEDB is for restores, and
            # their rehearsals: each fills a database beside the application's.
            set_password(connection, "ALTER ROLE {role} LOGIN CREATEROLE CREATEDB", role, password)
    log.info("migrator.made", role=role)
    return True


@contextmanager
def _connection(settings: MigrateSettings, master: Master) -> Iterator[Connection]:
    """As the master user; closed at the end, and what it locked is free."""
    database = database_of(settings, master.username, master.password)
    try:
        with database.connection(LIMIT_SECONDS) as connection:
            limit_table_waits(connection, settings)
            yield connection
    finally:
        database.close()


def _ensure_role(server: Connection, role: str) -> None:
    if not is_there(server, role):
        run(server, "CREATE ROLE {role} NOLOGIN CREATEROLE CREATEDB", role=role)
    # Only who may act as a role can make it the owner of something.
    run(server, "GRANT {role} TO CURRENT_USER", role=role)


def _ensure_database(server: Connection, name: str, owner: str) -> None:
    if _answers(server, "SELECT 1 FROM pg_database WHERE datname = :name", name=name):
        run(server, "ALTER DATABASE {name} OWNER TO {owner}", name=name, owner=owner)
    else:
        run(server, "CREATE DATABASE {name} OWNER {owner}", name=name, owner=owner)


def _hand_over(connection: Connection, settings: MigrateSettings) -> None:
    """What the master user made while it was the migrator: the tables, and the application's role."""
    role, app = settings.migrator_username, settings.database_username
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tableowner = current_user"
    for table in _answers(connection, tables):
        run(connection, "ALTER TABLE public.{table} OWNER TO {role}", table=table, role=role)
    not_its_own = (
        "SELECT 1 FROM pg_roles WHERE rolname = :app"
        " AND NOT pg_has_role(:role, oid, 'MEMBER WITH ADMIN OPTION')"
    )
    if _answers(connection, not_its_own, app=app, role=role):
        run(connection, "GRANT {app} TO {role} WITH ADMIN OPTION", app=app, role=role)


def _answers(connection: Connection, question: str, **values: str) -> list[str]:
    return list(connection.execute(text(question), values).scalars())


def main() -> int:
    """Says on standard output whether there was anything to do."""
    settings = process.begin(MigrateSettings)
    try:
        master = Master.model_validate_json(sys.stdin.read())
    except ValidationError:
        # Not its words: they would repeat what was read.
        log.error("migrator.failed", message='Standard input must be {"username": "…", "password": "…"}.')
        return 1
    try:
        made = make_migrator(settings, master)
    except (MigrationRefused, DatabaseUnavailable, psycopg2.Error) as refused:
        log.error(
            "migrator.failed",
            message=f"The migrator {settings.migrator_username} cannot log in, and the master user "
            f"{master.username} could not mend that. SSM has both: database/migrator_…, database/master_….",
            problem=str(refused.__cause__ or refused).strip(),
        )
        return 1
    sys.stdout.write("migrator made\n" if made else "migrator is there\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
