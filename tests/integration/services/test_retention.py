"""Finished tasks are erased, then removed; what is not finished, or not old enough, stays as it is."""

from itertools import count
from typing import Any

import pytest

from app.db.session import Database
from app.services import retention
from app.services.retention import RetentionRules, tidy
from app.services.submission import task_id_at
from tests.integration.machine import Machine

_DAY_MS = 86_400_000


_STORE = """
INSERT INTO tasks
    (id, kind, payload, recipient_digest, status, result, error, created_at, finished_at)
VALUES
    (%s, 'notify', '{"email": "someone@example.com"}', 'digest', %s, '{"answer": "250"}', %s,
    now() - make_interval(days => %s), CASE WHEN %s THEN now() - make_interval(days => %s) END)
"""
_numbers = count()


def store(
    parts: Machine, status: str, *, age_days: int, finished: bool = True, error: str | None = None
) -> str:
    """A task that was made, and perhaps ended, so many days ago."""
    ((now_ms,),) = parts.sql("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    task_id = task_id_at(now_ms - age_days * _DAY_MS, next(_numbers))
    parts.sql(_STORE, task_id, status, error, age_days, finished, age_days)
    return task_id


def left(parts: Machine) -> set[str]:
    return {task_id for (task_id,) in parts.sql("SELECT id FROM tasks")}


def row(parts: Machine, task_id: str) -> dict[str, Any]:
    ((found,),) = parts.sql("SELECT to_jsonb(tasks) FROM tasks WHERE id = %s", task_id)
    return dict(found)


def test_what_ended_long_ago_is_removed_and_nothing_else(database: Database, parts: Machine) -> None:
    for status in ("succeeded", "failed", "cancelled"):
        store(parts, status, age_days=31)
    kept = {store(parts, status, age_days=29) for status in ("succeeded", "failed", "cancelled")}
    kept |= {
        store(parts, status, age_days=400, finished=False) for status in ("queued", "running", "retrying")
    }
    late = store(parts, "succeeded", age_days=31)
    parts.sql("UPDATE tasks SET finished_at = now() WHERE id = %s", late)
    assert tidy(database, RetentionRules(30, 0)) == (0, 3)
    assert left(parts) == kept | {late}
    assert tidy(database, RetentionRules(30, 0)) == (0, 0)


def test_what_ended_a_while_ago_tells_of_nobody(database: Database, parts: Machine) -> None:
    error = '{"reason": "refused_by_mail_server", "message": "550 someone@example.com is unknown"}'
    erased = store(parts, "failed", age_days=8, error=error)
    fresh, waiting = (
        store(parts, "failed", age_days=6, error=error),
        store(parts, "retrying", age_days=8, finished=False, error=error),
    )
    before = row(parts, fresh), row(parts, waiting)
    assert tidy(database, RetentionRules(30, 7)) == (1, 0)
    after = row(parts, erased)
    assert "someone" not in str(after)
    assert (after["payload"], after["recipient_digest"], after["result"]) == ({}, None, None)
    assert after["error"] == {"reason": "refused_by_mail_server", "message": "erased"}
    assert (after["status"], after["erased_at"] is not None) == ("failed", True)
    assert (row(parts, fresh), row(parts, waiting)) == before
    assert tidy(database, RetentionRules(30, 7)) == (0, 0), "once is enough"


def test_nothing_is_erased_unless_that_is_set(database: Database, parts: Machine) -> None:
    task_id = store(parts, "succeeded", age_days=29)
    assert tidy(database, RetentionRules(30, 0)) == (0, 0)
    assert row(parts, task_id)["payload"] == {"email": "someone@example.com"}


def test_many_go_in_batches_and_a_round_is_bounded(
    database: Database, parts: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_BATCH", 3)
    monkeypatch.setattr(retention, "_BATCHES", 2)
    for _ in range(8):
        store(parts, "succeeded", age_days=31)
    rounds = [tidy(database, RetentionRules(30, 0)) for _ in range(3)]
    assert rounds == [(0, 6), (0, 2), (0, 0)]


def test_neither_search_reads_the_whole_table(database: Database, parts: Machine) -> None:
    parts.sql(
        "INSERT INTO tasks (id, kind, payload, status, finished_at, erased_at) SELECT lpad(n::text, 36, '0'),"
        " 'notify', '{}', 'succeeded', now(), now() FROM generate_series(1, 5000) n"
    )
    parts.sql("ANALYZE tasks")
    plan = parts.sql(
        "EXPLAIN SELECT id FROM tasks WHERE finished_at < now() - interval '7 days' AND erased_at IS NULL"
        " ORDER BY finished_at LIMIT 1000"
    )
    assert "tasks_unerased" in str(plan)
    plan = parts.sql(
        "EXPLAIN SELECT id FROM tasks WHERE id < lpad('5', 36, '0')"
        " AND finished_at < now() - interval '30 days' ORDER BY id LIMIT 1000"
    )
    assert "tasks_pkey" in str(plan)
