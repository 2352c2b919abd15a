"""The counters' rows: what many add at once is all there, and nobody waits for ever."""

import threading

from app.db import counters
from app.db.session import Database
from app.schemas import Status
from app.settings import ApiSettings, load
from tests.integration.machine import Machine

KEYS = [(f"name{number}", le) for number in range(20) for le in ("", "0.5")]


def test_what_is_added_at_once_is_all_there(parts: Machine) -> None:
    """Each thread has the keys in another order, as dictionaries do."""
    problems: list[Exception] = []
    barrier = threading.Barrier(4)

    def add(shift: int) -> None:
        database = Database(load(ApiSettings), pool_size=1)
        keys = KEYS[shift * 10 :] + KEYS[: shift * 10]
        barrier.wait()
        try:
            for _ in range(50):
                with database.connection() as connection:
                    counters.add(connection, dict.fromkeys(keys, 0.5))
        except Exception as error:
            problems.append(error)
        database.close()

    threads = [threading.Thread(target=add, args=(shift,)) for shift in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with Database(load(ApiSettings), pool_size=1).connection() as connection:
        assert counters.read(connection) == dict.fromkeys(KEYS, 100)


def test_tasks_are_counted_by_status_up_to_a_limit(database: Database, parts: Machine) -> None:
    parts.sql("""
        INSERT INTO tasks (id, kind, payload, status) SELECT s || n, 'notify', '{}', s
        FROM unnest(ARRAY['queued', 'failed', 'succeeded']) AS s, generate_series(1, 30) AS n
    """)
    parts.sql("DELETE FROM tasks WHERE status = 'failed' AND id > 'failed2'")
    asked = [Status.QUEUED, Status.RETRYING, Status.FAILED]
    with database.connection() as connection:
        found = counters.count(connection, asked, limit=20)
    failed = parts.sql("SELECT count(*) FROM tasks WHERE status = 'failed'")[0][0]
    assert found == {Status.QUEUED: 20, Status.RETRYING: 0, Status.FAILED: failed}
    assert 0 < failed < 20
