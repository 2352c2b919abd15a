"""The role for looking: it reads every table, not what tells of a person, and changes nothing."""

import contextlib
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from app.db.models import metadata, tasks
from tests.integration.machine import Machine

# Whatever erasing takes out of a task, and what others might be compared with.
PERSONAL = ["error", "fingerprint", "payload", "recipient_digest", "result"]
READABLE = ", ".join(column.name for column in tasks.columns if column.name not in PERSONAL)


@pytest.fixture
def ask(parts: Machine) -> Callable[[str], list[tuple[Any, ...]]]:
    """A statement in a session that the schema's owner begins as the reader, as `make psql` does."""

    def answer(statement: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(
            psycopg2.connect(
                host="127.0.0.1",
                port=parts.postgres.port,
                dbname="steadfast",
                user="migrator",
                password=(parts.directory / "secrets" / "app_migrator_password").read_text(),
                sslmode="require",
                options="-c role=migrator_reader",
            )
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []

    return answer


def test_it_reads_every_table(ask: Callable[[str], list[tuple[Any, ...]]]) -> None:
    assert ask("SELECT current_user") == [("migrator_reader",)]
    ask(f"SELECT {READABLE} FROM tasks")
    for table in metadata.tables:
        ask(f"SELECT count(*) FROM {table}")
    assert ask("SELECT count(*) FROM alembic_version") == [(1,)]


@pytest.mark.parametrize("column", PERSONAL)
def test_it_does_not_read_of_whom_a_task_tells(
    ask: Callable[[str], list[tuple[Any, ...]]], column: str
) -> None:
    assert column in tasks.columns
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(f"SELECT {column} FROM tasks")


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM tasks", "UPDATE workers SET release = ''", "INSERT INTO counters VALUES ('a', '', 1)",
     "CREATE TABLE mine (id int)", "TRUNCATE tasks", "RESET ROLE; DELETE FROM tasks"],
)  # fmt: skip
def test_it_changes_nothing(ask: Callable[[str], list[tuple[Any, ...]]], statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(statement)


def test_nobody_logs_in_as_it(parts: Machine) -> None:
    assert parts.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'migrator_reader'") == [(False,)]
