"""The same statements and paths on an empty table and on one of ten million rows."""

import time
from collections.abc import Callable
from pathlib import Path

from app.db import repository
from app.db.session import Database
from app.services.submission import new_task_id
from tests.bench.figures import Figure, Goal, median, ratio
from tests.bench.parts import DELAY_MS, Parts, wrk

_SECONDS = 4
_CLAIMS = 1500
_SWEEPS, _SWEPT = 40, 50
_IDS = 2000

# Ended tasks of the last month, as the application leaves them.
_FILL = """
INSERT INTO tasks (id, kind, payload, recipient_digest, status, attempts, fence, worker,
    next_run_at, publish_at, result, created_at, updated_at, finished_at)
SELECT '00c' || lpad(to_hex(n), 9, '0') || left(md5(n::text), 24), 'notify',
    jsonb_build_object('email', 'u' || n || '@example.com', 'message', 'Your report is ready.'),
    md5('r' || n), 'succeeded', 1, 1, 'worker-blue-test@host', made, made,
    jsonb_build_object('answer', '250 taken', 'message_id', '<' || n || '@example.com>'), made, made, made
FROM (
    SELECT n, now() - interval '29 days' * (1 - n / {rows}.0) AS made FROM generate_series(1, {rows}) AS n
) AS numbers
"""


def millions(parts: Parts, rounds: int, rows: int, say: Callable[[str], None]) -> list[Figure]:
    """Every measurement on the empty table first, then on the full one: filling it takes minutes."""
    seen: dict[tuple[str, str, int], float] = {}
    for state in ("empty", "full"):
        parts.empty()
        if state == "full":
            say(f"filling the table with {rows} rows")
            fill(parts, rows)
        for delay_ms in (0, DELAY_MS):
            for name, rates in _rates(parts, rounds, delay_ms).items():
                seen[state, name, delay_ms] = median(rates, float)
                say(f"{state} table, {name}, database at {delay_ms} ms: {seen[state, name, delay_ms]:.0f}")
    # Its room is given back at once.
    parts.empty()
    return [
        ratio(
            f"{name} at {rows / 1e6:g} million rows, database at {delay_ms} ms",
            seen["full", name, delay_ms],
            rate,
            None if delay_ms else Goal(0.9),
        )
        for (state, name, delay_ms), rate in seen.items()
        if state == "empty"
    ]


def fill(parts: Parts, rows: int) -> None:
    """The indexes are made afterwards, which is much quicker, and all is settled before it is measured."""
    sql = parts.machine.sql
    indexes = sql(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'tasks' AND indexname <> 'tasks_pkey'"
    )
    sql("ALTER TABLE tasks SET (autovacuum_enabled = false)")
    for name, _ in indexes:
        sql(f"DROP INDEX {name}")
    sql(_FILL.format(rows=rows))
    for _, definition in indexes:
        sql(f"SET maintenance_work_mem = '512MB'; {definition}")
    sql("ALTER TABLE tasks RESET (autovacuum_enabled)")
    sql("VACUUM (ANALYZE) tasks")
    parts.machine.superuser("CHECKPOINT")


def _rates(parts: Parts, rounds: int, delay_ms: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"POST/s": [], "GET/s": [], "claims/s": [], "sweeps/s": []}
    with parts.ending():
        ours = parts.ours(delay_ms)
        ids = _some_ids(parts, ours)
        database = Database(parts.settings(delay_ms), pool_size=1)
        wrk(ours, 1)
        for _ in range(rounds):
            found["POST/s"].append(wrk(ours, _SECONDS).per_second)
            found["GET/s"].append(wrk(ours, _SECONDS, ids=ids).per_second)
            found["claims/s"].append(_claims(parts, database))
            found["sweeps/s"].append(_sweeps(parts, database))
        database.close()
    return found


def _some_ids(parts: Parts, ours: list[int]) -> Path:
    """From all over the table; of an empty one, of some that are stored first."""
    find = f"SELECT id FROM tasks TABLESAMPLE SYSTEM (0.1) ORDER BY random() LIMIT {_IDS}"
    found = parts.machine.sql(find)
    if len(found) < _IDS:
        wrk(ours, 1)
        found = parts.machine.sql(f"SELECT id FROM tasks ORDER BY random() LIMIT {_IDS}")
    return parts.file_of([str(row[0]) for row in found])


def _store(parts: Parts, count: int) -> list[str]:
    """Rows that were due an hour ago, before all others."""
    task_ids = [new_task_id() for _ in range(count)]
    parts.machine.sql(
        "INSERT INTO tasks (id, kind, payload, next_run_at, publish_at)"
        " SELECT id, 'bench', '{}', earlier, earlier"
        " FROM unnest(%s) AS id, CAST(now() - interval '1 hour' AS timestamptz) AS earlier",
        task_ids,
    )
    return task_ids


def _claims(parts: Parts, database: Database) -> float:
    task_ids = _store(parts, _CLAIMS)
    begun = time.perf_counter()
    for task_id in task_ids:
        with database.connection() as connection:
            claimed = repository.claim(
                connection, task_id, worker="bench", lease_seconds=60, max_attempts=8, max_deaths=5, died="{}"
            )
        assert claimed is not None
    rate = len(task_ids) / (time.perf_counter() - begun)
    parts.machine.sql("DELETE FROM tasks WHERE kind = 'bench'")
    return rate


def _sweeps(parts: Parts, database: Database) -> float:
    _store(parts, _SWEEPS * _SWEPT)
    begun = time.perf_counter()
    for _ in range(_SWEEPS):
        with database.connection() as connection:
            taken = repository.take_unpublished(connection, limit=_SWEPT, pause_seconds=60)
        assert len(taken) == _SWEPT
    rate = _SWEEPS / (time.perf_counter() - begun)
    parts.machine.sql("DELETE FROM tasks WHERE kind = 'bench'")
    return rate
