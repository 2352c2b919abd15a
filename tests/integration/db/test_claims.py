"""How the statements of claims reach their rows, and what they do about rows that others hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection

from app.db import claims
from app.db.claims import Ending
from app.db.session import Database
from app.errors import RowLocked
from app.schemas import Status
from tests.integration.machine import Machine

INSERT = (
    "INSERT INTO tasks (id, kind, payload, status)"
    " SELECT lpad(n::text, 36, '0'), 'notify', '{}', %s FROM generate_series(%s, %s) AS n"
)


def named(number: int) -> str:
    return str(number).rjust(36, "0")


def claim(connection: Connection, *task_ids: str) -> dict[str, Any]:
    return dict(
        claims.claim(
            connection, task_ids, worker="w", lease_seconds=9, max_attempts=9, max_deaths=9, died="{}"
        )
    )


@contextmanager
def held(parts: Machine, task_id: str) -> Iterator[None]:
    """Another transaction holds the row meanwhile."""
    with parts.transaction() as cursor:
        cursor.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", (task_id,))
        yield


def test_plans_that_are_kept_find_their_rows_by_their_ids_however_many_have_come_since(
    database: Database, parts: Machine
) -> None:
    parts.sql(INSERT, "queued", 1, 10)
    parts.sql("VACUUM ANALYZE tasks")
    with database.connection(30) as connection:
        for number in range(1, 11):
            task = claim(connection, named(number))[named(number)]
            claims.record(connection, [Ending(task["id"], task["fence"], Status.SUCCEEDED)])
        parts.sql(INSERT, "queued", 11, 20_000)
        for statement, arguments in (
            ("claim_tasks", f"'{{{named(777)}}}', '{{queued}}', 'w', 9, 9, 9, '{{}}'"),
            ("record_ends", f"'{{{named(777)}}}', '{{1}}', '{{failed}}', '{{}}', '{{}}'" + ", '{0}'" * 3),
        ):
            plan = "\n".join(
                connection.exec_driver_sql(f"EXPLAIN EXECUTE {statement} ({arguments})").scalars()
            )
            assert "tasks_pkey" in plan
            assert "Seq Scan" not in plan


def test_a_row_that_is_held_is_not_claimed_and_keeps_nobody_waiting(
    database: Database, parts: Machine
) -> None:
    parts.sql(INSERT, "queued", 1, 2)
    with held(parts, named(1)), database.connection() as connection:
        assert list(claim(connection, named(1), named(2))) == [named(2)]
    with database.connection() as connection:
        assert list(claim(connection, named(1), named(2))) == [named(1)]


def test_a_lease_whose_row_is_held_is_left_and_the_others_are_renewed(
    database: Database, parts: Machine
) -> None:
    parts.sql(INSERT, "queued", 1, 2)
    with database.connection() as connection:
        claim(connection, named(1), named(2))
        with held(parts, named(1)):
            assert claims.renew(connection, {named(1): 1, named(2): 1}, lease_seconds=9) == {named(2)}


def test_an_ending_waits_for_its_row_and_not_for_ever(database: Database, parts: Machine) -> None:
    parts.sql(INSERT, "queued", 1, 1)
    with database.connection() as connection:
        claim(connection, named(1))
    with pytest.raises(RowLocked), held(parts, named(1)), database.connection() as connection:
        claims.record(connection, [Ending(named(1), 1, Status.SUCCEEDED)])
    with database.connection() as connection:
        assert claims.record(connection, [Ending(named(1), 1, Status.SUCCEEDED)]) == [True]


def test_of_two_endings_of_one_task_the_newest_claims_counts(database: Database, parts: Machine) -> None:
    parts.sql(INSERT, "queued", 1, 2)
    with database.connection() as connection:
        claim(connection, named(1), named(2))
        parts.sql("UPDATE tasks SET lease_expires_at = now() WHERE id = %s", named(1))
        assert claim(connection, named(1))[named(1)]["fence"] == 2
        old = Ending(named(1), 1, Status.FAILED, error="{}")
        new = Ending(named(1), 2, Status.SUCCEEDED)
        neighbour = Ending(named(2), 1, Status.SUCCEEDED)
        assert claims.record(connection, [old, new, neighbour]) == [False, True, True]
    assert parts.sql("SELECT status FROM tasks ORDER BY id") == [("succeeded",), ("succeeded",)]


def test_a_connection_that_is_made_anew_prepares_anew(database: Database, parts: Machine) -> None:
    parts.sql(INSERT, "queued", 1, 2)
    with database.connection() as connection:
        claim(connection, named(1))
        own = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    parts.superuser(f"SELECT pg_terminate_backend({own})")
    with database.connection() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != own
        assert list(claim(connection, named(2))) == [named(2)]
