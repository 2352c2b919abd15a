"""`python -m app.db.migrate`: makes the app's role and the schema what this release needs.

Safe to run at any time, twice, or from several places at once.
"""

import sys
import time

import structlog
from alembic import command
from alembic.config import Config
from psycopg2.errors import LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app import process
from app.db import reader
from app.db.roles import database_of, is_there, logs_in, run, set_password
from app.db.schema import HEAD, MIGRATIONS, floor
from app.db.session import Database
from app.deadline import Deadline
from app.errors import DatabaseUnavailable
from app.settings import DatabaseSettings, MigrateSettings

log = structlog.get_logger()

# The lock's number is arbitrary; it must only stay the same.
_LOCK = 7_283_365_230
_LOCK_WAIT_SECONDS = 60
# Everything together, on the server too; well within what the deployment waits for this program.
LIMIT_SECONDS = 240
# While a migration waits for a table, everybody else queues behind it. So it gives up before any of them does
# (they wait for half of the database's timeout), and tries again.
_TABLE_WAIT_SHARE = 0.4
_TABLE_TRIES = 6
_TABLE_PAUSE_SECONDS = 2
# Whoever has had a table for a while: what to look for when a migration cannot have it.
_HOLDERS = """
SELECT DISTINCT format('process %s, %s, for %s s', pid, coalesce(nullif(application_name, ''), backend_type),
    round(extract(epoch FROM now() - xact_start)))
FROM pg_locks JOIN pg_stat_activity USING (pid) JOIN pg_class ON pg_class.oid = relation
WHERE relnamespace = 'public'::regnamespace AND pid <> pg_backend_pid()
    AND xact_start < now() - interval '1 s'
"""


class MigrationRefused(Exception):
    """Why the schema was left as it was, and what to do."""


def migrate(settings: MigrateSettings) -> str:
    """Returns the revision at which the schema stands afterwards."""
    migrator = database_of(settings, settings.migrator_username, settings.migrator_password)
    try:
        with migrator.connection(LIMIT_SECONDS) as connection:
            lock(connection)
            limit_table_waits(connection, settings)
            _ensure_role(connection, settings, logs_in(Database(settings, pool_size=1)))
            _upgrade(connection)
            _grant(connection, settings)
            reader.grant(connection, settings.migrator_username)
    finally:
        # However it ended, the session's lock goes with its connection.
        migrator.close()
    return HEAD


def limit_table_waits(connection: Connection, settings: DatabaseSettings) -> None:
    """From here on nothing that this connection waits for makes anybody else wait too long."""
    milliseconds = int(settings.database_timeout_seconds * _TABLE_WAIT_SHARE * 1000)
    connection.exec_driver_sql(f"SET lock_timeout = {milliseconds}")


def lock(connection: Connection) -> None:
    """One migration at a time, on all hosts together; the lock lives as long as the connection."""
    deadline = Deadline(_LOCK_WAIT_SECONDS)
    while not connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}).scalar_one():
        if not deadline.remaining():
            raise MigrationRefused(
                "Another migration holds the lock for over a minute. Wait for it, then run this again."
            )
        time.sleep(0.5)


def _ensure_role(connection: Connection, settings: MigrateSettings, accepts_password: bool) -> None:
    """The role without DDL."""
    role = settings.database_username
    exists = is_there(connection, role)
    if exists and accepts_password:
        return
    verb = "ALTER" if exists else "CREATE"
    set_password(connection, verb + " ROLE {role} LOGIN", role, settings.database_password)
    log.info("role.changed" if exists else "role.created", role=role)


def _upgrade(connection: Connection) -> None:
    """Each migration that is done stays done, whatever becomes of the next."""
    for left in reversed(range(_TABLE_TRIES)):
        try:
            _upgrade_now(connection)
            return
        except DBAPIError as error:
            connection.rollback()
            connection.execution_options(isolation_level="AUTOCOMMIT")
            if not isinstance(error.orig, LockNotAvailable):
                raise
            holders = ", ".join(connection.execute(text(_HOLDERS)).scalars()) or "nobody any more"
            log.warning("migration.waits", holders=holders, tries_left=left)
        if left:
            time.sleep(_TABLE_PAUSE_SECONDS)
    raise MigrationRefused(
        f"A table could not be had, in {_TABLE_TRIES} tries: it is held by {holders}. Wait for that "
        "transaction, or end it (SELECT pg_terminate_backend(PROCESS)), then run this again."
    )


def _upgrade_now(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    connection.commit()
    config.attributes["connection"] = connection.execution_options(isolation_level="READ COMMITTED")
    command.upgrade(config, "head")
    connection.commit()
    connection.execution_options(isolation_level="AUTOCOMMIT")


def _grant(connection: Connection, settings: MigrateSettings) -> None:
    """Rows yes, tables no."""
    role = settings.database_username
    names = {"role": role, "database": settings.database_name}
    run(connection, "REVOKE CREATE ON SCHEMA public FROM PUBLIC", **names)
    run(connection, "GRANT CONNECT ON DATABASE {database} TO {role}", **names)
    run(connection, "GRANT USAGE ON SCHEMA public TO {role}", **names)
    rows = "GRANT SELECT, INSERT, UPDATE, DELETE ON "
    run(connection, "ALTER DEFAULT PRIVILEGES IN SCHEMA public " + rows + "TABLES TO {role}", **names)
    run(connection, rows + "ALL TABLES IN SCHEMA public TO {role}", **names)
    run(connection, "REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {role}", **names)
    may_create = text("SELECT has_schema_privilege(:role, 'public', 'CREATE')")
    if connection.execute(may_create, {"role": role}).scalar_one():
        raise MigrationRefused(
            f"The role {role} may create tables in schema public. Make {settings.migrator_username} "
            "the owner of the database, or revoke that by hand."
        )


def main() -> int:
    """Prints the schema's head on standard output, and the oldest head whose releases work with it."""
    settings = process.begin(MigrateSettings)
    try:
        head = migrate(settings)
    except (MigrationRefused, DatabaseUnavailable) as refused:
        log.error("migration.failed", message=str(refused), problem=str(refused.__cause__ or ""))
        return 1
    except DBAPIError as error:
        log.error("migration.failed", message=f"The database refused: {error.orig}", problem=error.statement)
        return 1
    sys.stdout.write(f"schema head {head}\nschema floor {floor()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
