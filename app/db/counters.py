"""The counters' rows, and what is counted in the tables themselves when somebody asks."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

from app.db.operations import ABOVE_ALL
from app.schemas import Status

# In the order of their keys, in every process, so that no two wait for each other.
_ADD = text("""
INSERT INTO counters (name, le, value)
SELECT * FROM unnest(CAST(:names AS text[]), CAST(:les AS text[]), CAST(:numbers AS double precision[]))
ON CONFLICT (name, le) DO UPDATE SET value = counters.value + excluded.value
""")

_READ = text("SELECT name, le, value FROM counters")

# Pairs, as in operations.py: found in the index of the statuses alone, whatever the planner believes.
# Limited, so that a backlog of millions does not make those wait who want to see it.
_COUNT = text(f"""
SELECT wanted.status, (
    SELECT count(*) FROM (
        SELECT 1 FROM tasks WHERE status <> '{Status.SUCCEEDED}' AND (tasks.status, id) > (wanted.status, '')
            AND (tasks.status, id) < (wanted.status, :above) LIMIT :limit
    ) AS counted
)
FROM unnest(CAST(:statuses AS text[])) AS wanted(status)
""")

_WORKERS = text("""
SELECT extract(epoch FROM now() - max(seen_at))::float AS seen_seconds,
    count(*) FILTER (WHERE seen_at > now() - make_interval(secs => :silent)) AS living
FROM workers
""")


def add(connection: Connection, numbers: Mapping[tuple[str, str], float]) -> None:
    """Adds each number to the row of its name and bound."""
    keys = sorted(numbers)
    parameters = {
        "names": [name for name, _ in keys],
        "les": [le for _, le in keys],
        "numbers": [numbers[key] for key in keys],
    }
    connection.execute(_ADD, parameters)


def read(connection: Connection) -> dict[tuple[str, str], float]:
    """All rows, by name and bound; another release's names and bounds may be among them."""
    return {(name, le): float(value) for name, le, value in connection.execute(_READ)}


def count(connection: Connection, statuses: Sequence[Status], *, limit: int) -> dict[Status, int]:
    """How many tasks have each of these statuses, up to a limit each. Not for `succeeded`."""
    parameters = {"statuses": [status.value for status in statuses], "above": ABOVE_ALL, "limit": limit}
    return {Status(status): int(number) for status, number in connection.execute(_COUNT, parameters)}


def workers(connection: Connection, *, silent_seconds: float) -> tuple[float | None, int]:
    """How long ago one was last seen (None: never), and how many were within so many seconds."""
    seen_seconds, living = connection.execute(_WORKERS, {"silent": silent_seconds}).one()
    return seen_seconds, int(living)
