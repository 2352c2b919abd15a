"""What becomes of tasks that ended long ago: erased, then removed; in batches, from many places at once."""

from sqlalchemy import Connection, text

_ERASE = text("""
UPDATE tasks SET
    payload = '{}', recipient_digest = NULL, result = NULL, erased_at = now(),
    error = CASE WHEN error IS NOT NULL
        THEN jsonb_build_object('reason', error->'reason', 'message', 'erased') END
WHERE id IN (
    SELECT id FROM tasks WHERE finished_at < now() - make_interval(days => :days) AND erased_at IS NULL
    ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")

# By the id, which begins with the time of its making: so the table's own key finds them.
_REMOVE = text("""
DELETE FROM tasks WHERE id IN (
    SELECT id FROM tasks WHERE id < :bound AND finished_at < now() - make_interval(days => :days)
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")


def erase(connection: Connection, *, days: int, limit: int) -> int:
    """Takes out of tasks that ended so long ago whatever tells of a person; returns of how many."""
    return connection.execute(_ERASE, {"days": days, "limit": limit}).rowcount


def remove(connection: Connection, *, bound: str, days: int, limit: int) -> int:
    """Deletes tasks that ended so long ago and whose id is below the bound; returns how many."""
    return connection.execute(_REMOVE, {"bound": bound, "days": days, "limit": limit}).rowcount
