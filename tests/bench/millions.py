"""The same statements and paths, by turns, on an empty table and on a full one.

In the full one ten million tasks have ended, and 100,000 are queued.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.db import claims, repository
from app.db.session import Database
from app.services.submission import new_task_id
from tests.bench.backlog import drained, queue
from tests.bench.figures import Figure, Goal, in_rounds, median, ratio
from tests.bench.parts import DELAY_MS, Load, Parts, wrk

_SECONDS = 3
_CLAIMS = 1000
_SWEEPS, _SWEPT = 40, 50
_IDS = 2000
_QUEUED, _FEW_QUEUED = 100_000, 10_000
# Of PostgreSQL's databases: the bench's own, whose table is empty, and another.
_EMPTY, _FULL = "steadfast", "steadfast_full"

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
    """Filling the table takes minutes; then each measurement is made on both, one after the other."""
    parts.empty()
    parts.machine.superuser(f"CREATE DATABASE {_FULL} OWNER migrator")
    try:
        migration = parts.machine.start("db.migrate", DATABASE_NAME=_FULL)
        assert migration.popen.wait(60) == 0, migration.log.read_text()
        say(f"filling a table with {rows} rows")
        fill(parts, rows)
        figures = [
            figure for delay_ms in (0, DELAY_MS) for figure in _compared(parts, rounds, rows, delay_ms, say)
        ]
        return [*figures, _backlogs(parts, say)]
    finally:
        parts.machine.superuser(f"DROP DATABASE {_FULL} WITH (FORCE)")


def fill(parts: Parts, rows: int) -> None:
    """The indexes are made afterwards, which is much quicker, and all is settled before it is measured."""
    sql = partial(parts.sql, _FULL)
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
    queue(parts, _FULL, _QUEUED)
    sql("VACUUM (ANALYZE) tasks")
    parts.machine.superuser("CHECKPOINT")


@dataclass(frozen=True)
class _Table:
    """One of the two, and the API process on it."""

    parts: Parts
    name: str
    ports: list[int]
    database: Database
    ids: Path

    def posts(self) -> Load:
        return wrk(self.ports, _SECONDS)

    def gets(self) -> Load:
        return wrk(self.ports, _SECONDS, ids=self.ids)

    def claims(self) -> float:
        """Claims a second, one after the other."""
        task_ids = self._store(_CLAIMS)
        begun = time.perf_counter()
        for task_id in task_ids:
            with self.database.connection() as connection:
                claimed = claims.claim(
                    connection,
                    [task_id],
                    worker="b",
                    lease_seconds=60,
                    max_attempts=8,
                    max_deaths=5,
                    died="{}",
                )
            assert task_id in claimed
        rate = len(task_ids) / (time.perf_counter() - begun)
        self._forget()
        return rate

    def sweeps(self) -> float:
        """The relay's look at the table, a second."""
        self._store(_SWEEPS * _SWEPT)
        begun = time.perf_counter()
        for _ in range(_SWEEPS):
            with self.database.connection() as connection:
                taken = repository.take_unpublished(connection, limit=_SWEPT, pause_seconds=60)
            assert len(taken) == _SWEPT
        rate = _SWEEPS / (time.perf_counter() - begun)
        self._forget()
        return rate

    def _store(self, count: int) -> list[str]:
        """Rows that were due an hour ago, before all others."""
        task_ids = [new_task_id() for _ in range(count)]
        self.parts.sql(
            self.name,
            "INSERT INTO tasks (id, kind, payload, next_run_at, publish_at)"
            " SELECT id, 'bench', '{}', earlier, earlier"
            " FROM unnest(%s) AS id, CAST(now() - interval '1 hour' AS timestamptz) AS earlier",
            task_ids,
        )
        return task_ids

    def _forget(self) -> None:
        # By the index: among millions there is none on the kind.
        self.parts.sql(
            self.name,
            "DELETE FROM tasks WHERE kind = 'bench' AND status IN ('queued', 'running', 'retrying')"
            " AND coalesce(lease_expires_at, next_run_at) > '-infinity'",
        )


def _table(parts: Parts, name: str, delay_ms: int) -> _Table:
    ports = parts.ours(delay_ms, DATABASE_NAME=name)
    wrk(ports, 1)
    # From all over the table; TABLESAMPLE reads whole pages, so a small table gives none.
    found = parts.sql(name, f"SELECT id FROM tasks TABLESAMPLE SYSTEM (0.1) ORDER BY random() LIMIT {_IDS}")
    if len(found) < _IDS:
        found = parts.sql(name, f"SELECT id FROM tasks ORDER BY random() LIMIT {_IDS}")
    ids = parts.file_of([str(row[0]) for row in found])
    return _Table(parts, name, ports, Database(parts.settings(delay_ms, name), pool_size=1), ids)


def _compared(
    parts: Parts, rounds: int, rows: int, delay_ms: int, say: Callable[[str], None]
) -> list[Figure]:
    with parts.ending():
        empty, full = _table(parts, _EMPTY, delay_ms), _table(parts, _FULL, delay_ms)
        measurements: dict[str, Callable[[], Load | float]] = {}
        for what in ("posts", "gets", "claims", "sweeps"):
            measurements[f"{what}, empty table"] = getattr(empty, what)
            measurements[f"{what}, full table"] = getattr(full, what)
        found = in_rounds(rounds, measurements, say)
        for table in (empty, full):
            table.database.close()
    rate = {name: median(seen, _per_second) for name, seen in found.items()}
    words = {"posts": "POST/s", "gets": "GET/s", "claims": "claims/s", "sweeps": "sweeps/s"}
    where = f"at {rows / 1e6:g} million rows to an empty table, database at {delay_ms} ms"
    figures = [
        ratio(
            f"{word} {where}",
            rate[f"{what}, full table"],
            rate[f"{what}, empty table"],
            None if delay_ms else Goal(0.9),
        )
        for what, word in words.items()
    ]
    p99 = {name: median(seen, _p99_ms) for name, seen in found.items() if name.startswith("posts")}
    goal = None if delay_ms else Goal(1.1, at_least=False)
    figures.append(ratio(f"POST p99 ms {where}", p99["posts, full table"], p99["posts, empty table"], goal))
    return figures


def _per_second(seen: Load | float) -> float:
    return seen.per_second if isinstance(seen, Load) else seen


def _p99_ms(seen: Load | float) -> float:
    assert isinstance(seen, Load)
    return seen.p99_ms


def _backlogs(parts: Parts, say: Callable[[str], None]) -> Figure:
    """A great backlog that only the full table knows, to a small one that waits in the broker."""
    say(f"working off {_FEW_QUEUED} tasks that the broker has, and {_QUEUED} that it has not")
    parts.empty()
    queue(parts, _EMPTY, _FEW_QUEUED)
    few = drained(parts, _EMPTY, published=True)
    parts.machine.redis_cli("FLUSHALL")
    many = drained(parts, _FULL, published=False)
    return ratio(
        f"tasks/s while a backlog of {_QUEUED} drains, to one of {_FEW_QUEUED}", many, few, Goal(0.9)
    )
