"""`python -m app.db.retire`: of the app's database users only the present one may log in any more.

A rotation of the password alternates between two users, so that both are good while the release changes.
Safe to run at any time, and twice.
"""

import re
import sys
import time

import structlog
from sqlalchemy import Connection, text

from app import process
from app.db.roles import database_of, run
from app.deadline import Deadline
from app.errors import DatabaseUnavailable
from app.settings import MigrateSettings

log = structlog.get_logger()

# Whole, for a rotation may be the first.
_SUFFIX = re.compile("_[ab]$")
_CONNECTIONS_END_SECONDS = 15.0
_LIMIT_SECONDS = 60


class RetirementRefused(Exception):
    """Why a user may still log in, and what to do."""


def siblings(username: str) -> list[str]:
    """The other users that a rotation alternates with: `app_b` → `app`, `app_a`."""
    base = _SUFFIX.sub("", username)
    return sorted({base, f"{base}_a", f"{base}_b"} - {username})


def retire(settings: MigrateSettings, wait_seconds: float = _CONNECTIONS_END_SECONDS) -> list[str]:
    """Returns the users that may log in no more. Raises RetirementRefused while one is still connected."""
    migrator = database_of(settings, settings.migrator_username, settings.migrator_password)
    try:
        with migrator.connection(_LIMIT_SECONDS) as connection:
            left = _who_may_log_in(connection, siblings(settings.database_username))
            for role in left:
                _await_end(connection, role, Deadline(wait_seconds))
            for role in left:
                run(connection, "ALTER ROLE {role} NOLOGIN PASSWORD NULL", role=role)
                log.info("role.retired", role=role)
    finally:
        migrator.close()
    return left


def _who_may_log_in(connection: Connection, roles: list[str]) -> list[str]:
    query = text("SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname = ANY(:roles) ORDER BY rolname")
    return list(connection.execute(query, {"roles": roles}).scalars())


def _await_end(connection: Connection, role: str, deadline: Deadline) -> None:
    query = text("SELECT count(*) FROM pg_stat_activity WHERE usename = :role")
    while open_now := connection.execute(query, {"role": role}).scalar_one():
        if not deadline.remaining():
            raise RetirementRefused(
                f"{open_now} connections are still open as {role}: a host runs the release before. Deploy "
                "there, then run this again; until then both passwords are good."
            )
        time.sleep(0.5)


def main() -> int:
    """Exit status 1 when nothing was changed."""
    settings = process.begin(MigrateSettings)
    try:
        retire(settings)
    except (RetirementRefused, DatabaseUnavailable) as refused:
        log.error("retirement.failed", message=str(refused), problem=str(refused.__cause__ or ""))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
