"""What operators do with tasks, on a real database: found quickly, changed only from where it is allowed."""

import itertools
import json
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import structlog
from sqlalchemy import text

from app.db import claims, operations
from app.db.claims import Ending
from app.db.session import Database
from app.operator_schemas import ByAge, ByIds, ByStatus, Listing
from app.schemas import FINAL, UNFINISHED, Operation, Status
from app.services import operation
from app.services.submission import task_id_at
from tests.integration.machine import Machine

UNKNOWN = "0123456789abcdefghijklmnopqrstuv0123"
ADDRESS = "somebody@example.com"
# Between the tasks of `many`.
MIDDLE = "10000".zfill(36)
Store = Callable[..., str]


@pytest.fixture
def store(parts: Machine) -> Store:
    """Puts one task of a status and an age into the table; returns its id."""
    made = 0

    def insert(status: Status, age_seconds: float = 0, **columns: Any) -> str:
        nonlocal made
        made += 1
        ((now,),) = parts.sql("SELECT extract(epoch FROM now())::float")
        task_id = task_id_at(int((now - age_seconds) * 1000), made)
        columns = {
            "payload": {"email": ADDRESS, "message": "for nobody else"},
            "finished_at": "now()" if status in FINAL else None,
            "lease_expires_at": "tomorrow" if status is Status.RUNNING else None,
            **columns,
        }
        values = [json.dumps(v) if isinstance(v, dict) else v for v in columns.values()]
        parts.sql(
            f"INSERT INTO tasks (id, kind, status, created_at, {', '.join(columns)}) VALUES"
            f" (%s, 'notify', %s, now() - make_interval(secs => %s){', %s' * len(columns)})",
            task_id, status.value, age_seconds, *values,
        )  # fmt: skip
        return task_id

    return insert


def row(parts: Machine, task_id: str) -> dict[str, Any]:
    """Everything about a task but when it was last touched."""
    ((found,),) = parts.sql("SELECT to_jsonb(tasks) - 'updated_at' FROM tasks WHERE id = %s", task_id)
    return dict(found)


def changed(parts: Machine, task_id: str, before: dict[str, Any]) -> set[str]:
    """The columns that differ from before."""
    after = row(parts, task_id)
    return {column for column in after if after[column] != before[column]}


def look(database: Database, **narrowed: Any) -> list[str]:
    """The ids of a listing, over all its pages."""
    found: list[str] = []
    before = None
    while True:
        page = operation.look(database, Listing(**({"limit": 2} | narrowed), before=before))
        found += [task.task_id for task in page.tasks]
        before = page.next
        if before is None:
            return found


def test_a_listing_begins_with_the_newest_and_goes_on_where_it_ended(
    database: Database, store: Store
) -> None:
    ages = {store(Status.FAILED if age % 2 else Status.QUEUED, age * 600): age for age in range(1, 8)}
    newest = sorted(ages, key=ages.__getitem__)
    assert look(database) == newest
    assert look(database, limit=1000) == newest
    assert look(database, status=Status.FAILED) == [i for i in newest if ages[i] % 2]
    assert look(database, status=Status.SUCCEEDED) == []
    assert look(database, older_than_seconds=1800) == [i for i in newest if ages[i] >= 3]
    assert look(database, older_than_seconds=1800, status=Status.QUEUED) == [
        i for i in newest if ages[i] in (4, 6)
    ]
    assert look(database, older_than_seconds=10**9) == []


def test_an_age_counts_by_the_databases_clock_however_the_id_was_made(
    database: Database, parts: Machine, store: Store
) -> None:
    task_id = store(Status.QUEUED, 60)
    # As if the API's clock had been four minutes ahead.
    ahead = task_id_at(int(parts.sql("SELECT extract(epoch FROM now()) * 1000 + 180000")[0][0]), 0)
    parts.sql("UPDATE tasks SET id = %s WHERE id = %s", ahead, task_id)
    assert look(database, older_than_seconds=50) == [ahead]
    assert look(database, older_than_seconds=70) == []


def test_a_listing_tells_all_but_what_people_wrote(database: Database, store: Store) -> None:
    store(
        Status.FAILED, attempts=3, deaths=1, unconfirmed=4, replays=2, worker="worker-blue",
        error={"reason": "refused", "message": f"550 <{ADDRESS}> No such mailbox"}, result={"to": [ADDRESS]},
    )  # fmt: skip
    (task,) = operation.look(database, Listing()).tasks
    assert (task.attempts, task.deaths, task.unconfirmed) == (3, 1, 4)
    assert (task.replays, task.worker) == (2, "worker-blue")
    assert task.error == {"reason": "refused", "message": "550 <s***@example.com> No such mailbox"}
    assert ADDRESS not in task.model_dump_json()
    assert "for nobody else" not in task.model_dump_json()


MARKED = (Status.RUNNING, Status.RETRYING)


def test_every_status_is_counted(database: Database, store: Store) -> None:
    for number, status in enumerate(Status):
        for _ in range(number):
            marks = {"deaths": int(status is Status.RUNNING), "unconfirmed": int(status in MARKED)}
            store(status, 5, **marks, next_run_at="yesterday")
    counts = operation.count(database)
    assert counts.counts == {status: number for number, status in enumerate(Status)}
    assert counts.estimated == []
    # One has both marks.
    assert counts.claimed_again == 1 + list(Status).index(Status.RETRYING)
    assert counts.oldest_due_seconds > 0


def test_nothing_is_counted_as_nothing(database: Database) -> None:
    counts = operation.count(database)
    assert (set(counts.counts.values()), counts.claimed_again, counts.oldest_due_seconds) == ({0}, 0, 0)


def test_a_great_many_successes_are_estimated_and_nothing_else(
    database: Database, parts: Machine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for status in (Status.SUCCEEDED, Status.SUCCEEDED, Status.SUCCEEDED, Status.SUCCEEDED, Status.FAILED):
        store(status)
    monkeypatch.setattr(operations, "_COUNTED_UP_TO", 3)
    # Nothing was analysed yet: at least what was counted.
    counts = operation.count(database)
    assert (counts.counts[Status.SUCCEEDED], counts.estimated) == (3, [Status.SUCCEEDED])
    parts.sql("ANALYZE tasks")
    counts = operation.count(database)
    assert (counts.counts[Status.SUCCEEDED], counts.counts[Status.FAILED]) == (4, 1)
    assert counts.estimated == [Status.SUCCEEDED]


@pytest.mark.parametrize(
    ("what", "event", "allowed", "becomes", "columns"),
    [
        (Operation.CANCEL, "task.cancelled", ["queued", "retrying"], "cancelled", {"status", "finished_at"}),
        (Operation.RETRY, "task.retried", ["retrying"], "retrying", {"next_run_at", "publish_at"}),
        (Operation.REPLAY, "task.replayed", ["failed", "cancelled"], "queued",
         {"status", "attempts", "deaths", "unconfirmed", "replays", "result", "error", "finished_at",
          "next_run_at", "publish_at"}),
    ],
)  # fmt: skip
def test_each_operation_changes_what_it_says_and_leaves_the_rest(
    database: Database,
    parts: Machine,
    store: Store,
    what: Operation,
    event: str,
    allowed: Sequence[str],
    becomes: str,
    columns: set[str],
) -> None:
    given = {"attempts": 7, "deaths": 2, "unconfirmed": 3, "fence": 9, "worker": "w",
             "next_run_at": "tomorrow", "publish_at": "tomorrow", "error": {"reason": "busy"},
             "result": {"left": "over"}}  # fmt: skip
    tasks = {status: store(status, **given) for status in Status}
    before = {task_id: row(parts, task_id) for task_id in tasks.values()}
    with structlog.testing.capture_logs() as lines:
        answer = operation.change(database, what, ByIds(task_ids=[*tasks.values(), UNKNOWN]))
    done = [tasks[Status(status)] for status in allowed]
    assert answer.task_ids == sorted(done)
    assert set(answer.left) == {*tasks.values(), UNKNOWN} - set(done)
    # Threads of tests before this one may have something to say, too.
    said = [(line["event"], line["task_ids"]) for line in lines if line["event"].startswith("task.")]
    assert said == [(event, sorted(done))]
    for task_id in tasks.values():
        assert changed(parts, task_id, before[task_id]) == (columns if task_id in done else set())
    for task_id in done:
        assert row(parts, task_id)["status"] == becomes
        assert row(parts, task_id)["fence"] == 9, "a worker with an old claim must stay unable to record"
    # Once more: nothing is left to do, but a retry.
    again = operation.change(database, what, ByIds(task_ids=done))
    assert again.task_ids == (sorted(done) if what is Operation.RETRY else [])


@pytest.mark.parametrize("status", FINAL)
def test_nothing_but_a_replay_leaves_a_final_status(
    database: Database, parts: Machine, store: Store, status: Status
) -> None:
    task_id = store(status, fence=3, next_run_at="yesterday")
    before = row(parts, task_id)
    with database.connection() as connection:
        claimed = claims.claim(
            connection, [task_id], worker="w", lease_seconds=9, max_attempts=9, max_deaths=9, died="{}"
        )
        assert claimed == {}
        for target in UNFINISHED:
            claims.record(connection, [Ending(task_id, 3, target)])
        for what in (Operation.CANCEL, Operation.RETRY):
            assert operations.change(connection, what, [task_id]) == set()
    assert changed(parts, task_id, before) == set()
    with database.connection() as connection:
        replayed = operations.change(connection, Operation.REPLAY, [task_id])
    assert replayed == (set() if status is Status.SUCCEEDED else {task_id})
    assert row(parts, task_id)["status"] == ("succeeded" if status is Status.SUCCEEDED else "queued")


def test_a_worker_with_an_old_claim_records_nothing_on_a_replayed_task(
    database: Database, parts: Machine, store: Store
) -> None:
    task_id = store(Status.FAILED, fence=3)
    operation.change(database, Operation.REPLAY, ByIds(task_ids=[task_id]))
    with database.connection() as connection:
        for status in (Status.RETRYING, Status.SUCCEEDED, Status.FAILED):
            assert claims.record(connection, [Ending(task_id, 3, status)]) == [False]
    assert row(parts, task_id)["status"] == "queued"


def test_what_was_erased_cannot_be_replayed_and_stands_in_nobodys_way(
    database: Database, store: Store
) -> None:
    erased = [store(Status.FAILED, 1000 - number, erased_at="now()") for number in range(3)]
    whole = store(Status.FAILED, 10)
    answer = operation.change(database, Operation.REPLAY, ByIds(task_ids=erased))
    assert (answer.task_ids, answer.left) == ([], sorted(erased))
    answer = operation.change(database, Operation.REPLAY, ByStatus(status=Status.FAILED, limit=1))
    assert (answer.task_ids, answer.left) == ([whole], [])


def test_the_oldest_that_fit_are_taken_and_no_more_than_the_limit(database: Database, store: Store) -> None:
    tasks = {age: store(Status.RETRYING if age % 2 else Status.QUEUED, age * 600) for age in range(1, 8)}
    running = store(Status.RUNNING, 9 * 600)

    def cancel(which: ByAge | ByStatus) -> list[str]:
        answer = operation.change(database, Operation.CANCEL, which)
        assert running not in answer.task_ids
        return answer.task_ids

    assert cancel(ByAge(older_than_seconds=3000, limit=2)) == [tasks[7], tasks[6]]
    assert cancel(ByStatus(status=Status.QUEUED, older_than_seconds=2000)) == [tasks[4]]
    assert cancel(ByStatus(status=Status.QUEUED, limit=1)) == [tasks[2]]
    assert cancel(ByAge(older_than_seconds=600)) == [tasks[5], tasks[3], tasks[1]]
    # A status that does not allow it: they are named, and left.
    answer = operation.change(database, Operation.CANCEL, ByStatus(status=Status.RUNNING))
    assert (answer.task_ids, answer.left) == ([], [running])


def test_a_thousand_ids_are_no_line_that_a_log_would_cut(database: Database, parts: Machine) -> None:
    parts.sql(
        "INSERT INTO tasks (id, kind, payload, status)"
        " SELECT lpad(n::text, 36, '0'), 'notify', '{}', 'failed' FROM generate_series(1, 1000) AS n"
    )
    with structlog.testing.capture_logs() as lines:
        answer = operation.change(database, Operation.REPLAY, ByStatus(status=Status.FAILED))
    assert len(answer.task_ids) == 1000
    assert [len(line["task_ids"]) for line in lines] == [250] * 4
    assert max(len(json.dumps(line)) for line in lines) < 16_000


def test_two_operators_at_once_do_each_task_once(database: Database, store: Store) -> None:
    task_ids = [store(Status.FAILED, number) for number in range(100)]
    answers: list[list[str]] = []
    barrier = threading.Barrier(2)

    def replay(which: ByIds) -> None:
        barrier.wait()
        answers.append(operation.change(database, Operation.REPLAY, which).task_ids)

    threads = [
        threading.Thread(target=replay, args=(ByIds(task_ids=ids),)) for ids in (task_ids, task_ids[::-1])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers[0] + answers[1]) == sorted(task_ids)


@pytest.mark.parametrize("analysed", [True, False])
def test_every_listing_walks_along_its_index_whatever_the_planner_believes(
    database: Database, parts: Machine, analysed: bool
) -> None:
    # Statistics of a table with nothing in it, or of this one.
    parts.sql("ANALYZE tasks")
    many(parts)
    if analysed:
        parts.sql("ANALYZE tasks")
    for status in (None, *Status):
        wanted = "tasks_pkey" if status in (None, Status.SUCCEEDED) else "tasks_status"
        for aged, newest_first, erased in itertools.product((True, False), repeat=3):
            listing = operations.listing(status, aged=aged, newest_first=newest_first, erased=erased)
            plan = planned(database, str(listing), status=status, below=MIDDLE, older_than=60, limit=100)
            assert re.search(rf"Index Scan( Backward)? using {wanted} ", plan), f"{status}: {plan}"
            assert "Sort" not in plan, f"{status}: {plan}"


@pytest.mark.parametrize("what", Operation)
def test_a_change_finds_its_tasks_by_their_key(database: Database, parts: Machine, what: Operation) -> None:
    many(parts)
    statement = operations._CHANGE.format(change=operations._CHANGES[what])
    ids = [str(number).zfill(36) for number in range(50)]
    plan = planned(database, statement, ids=ids, origins=[*operations.OPERABLE[what]])
    assert plan.count("using tasks_pkey") == 2
    assert "Seq Scan" not in plan


def planned(database: Database, statement: str, **parameters: Any) -> str:
    """The plan of a statement."""
    with database.connection() as connection:
        return "\n".join(connection.execute(text(f"EXPLAIN {statement}"), parameters).scalars())


def test_a_count_reads_only_what_has_not_succeeded(database: Database, parts: Machine) -> None:
    many(parts)
    parts.sql("VACUUM ANALYZE tasks")
    assert "Index Only Scan using tasks_status" in planned(database, str(operations._COUNT))
    plan = planned(database, str(operations._COUNT_CLAIMED_AGAIN))
    assert re.search(r"BitmapOr.*\n.* on tasks_claimed_again .*\n.* on tasks_unconfirmed ", plan), plan


def many(parts: Machine) -> None:
    """20,000 tasks, one each second; a tenth did not succeed."""
    parts.sql(
        "INSERT INTO tasks (id, kind, payload, status, created_at)"
        " SELECT lpad(n::text, 36, '0'), 'notify', '{}', CASE WHEN n % 10 > 0 THEN 'succeeded' ELSE"
        " (ARRAY['queued', 'running', 'retrying', 'failed', 'cancelled'])[1 + n / 10 % 5] END,"
        " now() - make_interval(secs => 20000 - n)"
        " FROM generate_series(1, 20000) AS n"
    )
