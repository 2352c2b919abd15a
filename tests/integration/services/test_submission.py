"""Accepting: in one statement, each row for itself, within the recipient's limit."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.db.session import Database
from app.errors import AppError, DatabaseUnavailable, InternalError, RecipientLimitReached
from app.services import submission
from app.services.submission import Receipt, Submission, SubmissionRules, submit
from tests.integration.machine import Machine

RULES = SubmissionRules(recipient_limit_per_hour=3, exempt_recipient="smoke@example.com")


def to(recipient: str, **payload: object) -> Submission:
    """A submission for somebody."""
    return Submission("notify", {"email": recipient, **payload}, recipient=recipient)


def names(answers: list[Receipt | AppError]) -> list[str]:
    """ "stored", "known", or the error's name."""
    return [
        answer.name if isinstance(answer, AppError) else "stored" if answer.stored else "known"
        for answer in answers
    ]


def ids(answers: list[Receipt | AppError]) -> list[str]:
    return [answer.task_id for answer in answers if isinstance(answer, Receipt)]


def keyed(key: str, recipient: str = "a@example.com", **payload: object) -> Submission:
    """A submission under a key."""
    return Submission("notify", {"email": recipient, **payload}, recipient, key)


def test_what_is_accepted_is_in_the_table_as_it_was_given(database: Database, parts: Machine) -> None:
    (task_id,) = ids(submit(database, [to("a@example.com", message="Grüße \\ ' \" %s :x 日本")], RULES))
    columns = "id, kind, status, attempts, fence, payload, created_at = next_run_at, publish_at > now()"
    assert parts.sql(f"SELECT {columns} FROM tasks") == [
        (task_id, "notify", "queued", 0, 0,
         {"email": "a@example.com", "message": "Grüße \\ ' \" %s :x 日本"}, True, True)
    ]  # fmt: skip


def test_many_are_one_statement_and_keep_their_order(database: Database, parts: Machine) -> None:
    answers = ids(submit(database, [to(f"a{number}@example.com") for number in range(500)], RULES))
    assert len(set(answers)) == 500
    stored = dict(parts.sql("SELECT id, payload->>'email' FROM tasks"))
    assert [stored[answer] for answer in answers] == [f"a{number}@example.com" for number in range(500)]
    assert parts.sql("SELECT count(DISTINCT xmin::text) FROM tasks") == [(1,)]


def test_one_row_that_cannot_be_stored_does_not_fail_its_neighbours(database: Database) -> None:
    bad = Submission("notify", {"message": "\x00"}, recipient="b@example.com")
    answers = submit(database, [to("a@example.com"), bad, to("c@example.com")], RULES)
    assert names(answers) == ["stored", "internal_error", "stored"]
    assert isinstance(answers[1], InternalError)


def test_a_recipient_gets_so_many_an_hour_counting_the_same_batch(database: Database, parts: Machine) -> None:
    first = submit(database, [to("a@example.com")], RULES)
    parts.sql("UPDATE tasks SET created_at = now() - interval '50 minutes'")
    batch = [to("a@example.com"), to("b@example.com"), to("A+tag@example.com"), to("a@example.com")]
    assert names(first + submit(database, batch, RULES)) == ["stored"] * 4 + ["recipient_limit_reached"]
    (refused,) = submit(database, [to("a@example.com")], RULES)
    assert isinstance(refused, RecipientLimitReached)
    assert refused.retry_after_seconds == pytest.approx(600, abs=5)
    assert parts.sql("SELECT count(*) FROM tasks") == [(4,)]


def test_a_batch_alone_can_reach_the_limit(database: Database) -> None:
    answers = submit(database, [to("a@example.com")] * 5, RULES)
    assert names(answers) == ["stored"] * 3 + ["recipient_limit_reached"] * 2
    assert isinstance(answers[3], AppError)
    assert answers[3].retry_after_seconds == 3600


def test_after_an_hour_there_is_room_again(database: Database, parts: Machine) -> None:
    submit(database, [to("a@example.com")] * 3, RULES)
    assert names(submit(database, [to("a@example.com")], RULES)) == ["recipient_limit_reached"]
    parts.sql("UPDATE tasks SET created_at = now() - interval '61 minutes'")
    assert names(submit(database, [to("a@example.com")], RULES)) == ["stored"]


def test_the_smoke_test_has_no_limit(database: Database) -> None:
    assert names(submit(database, [to("smoke@example.com")] * 20, RULES)) == ["stored"] * 20


def test_a_commit_that_fails_stores_nothing_and_says_so(database: Database, parts: Machine) -> None:
    parts.sql("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION SQLSTATE ''53100'' USING message = ''disk full''; END';
        CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse()
    """)
    try:
        with pytest.raises(DatabaseUnavailable):
            submit(database, [to("a@example.com"), to("b@example.com")], RULES)
    finally:
        parts.sql("DROP TRIGGER at_commit ON tasks; DROP FUNCTION refuse")
    assert parts.sql("SELECT count(*) FROM tasks") == [(0,)]
    assert names(submit(database, [to("a@example.com")], RULES)) == ["stored"]


def test_one_that_cannot_be_stored_now_leaves_its_neighbours_their_receipts(
    database: Database, parts: Machine
) -> None:
    parts.sql("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION SQLSTATE ''55P03'' USING message = ''locked''; END';
        CREATE TRIGGER one BEFORE INSERT ON tasks FOR EACH ROW
        WHEN (NEW.payload::text LIKE '%locked@%') EXECUTE FUNCTION refuse()
    """)
    try:
        answers = submit(
            database, [to("a@example.com"), to("locked@example.com"), to("b@example.com")], RULES
        )
    finally:
        parts.sql("DROP TRIGGER one ON tasks; DROP FUNCTION refuse")
    assert names(answers) == ["stored", "database_unavailable", "stored"]
    assert parts.sql("SELECT count(*) FROM tasks") == [(2,)]


def test_what_somebody_wrote_is_in_no_log(
    database: Database, parts: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    parts.sql("ALTER TABLE tasks ADD CONSTRAINT never CHECK (payload::text NOT LIKE '%private%')")
    try:
        assert names(submit(database, [keyed("k1", message="private")], RULES)) == ["internal_error"]
    finally:
        parts.sql("ALTER TABLE tasks DROP CONSTRAINT never")
    written = "".join(capsys.readouterr())
    assert "never" in written
    assert "private" not in written


def test_the_same_key_and_body_are_one_task(database: Database, parts: Machine) -> None:
    first = submit(database, [keyed("k1", message="x")], RULES)
    parts.sql("UPDATE tasks SET status = 'failed', payload = '{}', erased_at = now()")
    repeats = submit(database, [keyed("k1", message="x"), to("b@example.com"), keyed("k2")], RULES)
    assert names(first + repeats) == ["stored", "known", "stored", "stored"]
    assert ids(repeats)[0] == ids(first)[0]
    assert parts.sql("SELECT count(*) FROM tasks") == [(3,)]


def test_another_body_under_the_same_key_is_refused(database: Database, parts: Machine) -> None:
    submit(database, [keyed("k1", message="x")], RULES)
    others = [keyed("k1", message="y"), keyed("k1", "b@example.com", message="x"), keyed("k1")]
    assert names(submit(database, others, RULES)) == ["idempotency_key_reused"] * 3
    assert parts.sql("SELECT count(*) FROM tasks") == [(1,)]


def test_a_key_many_times_in_one_batch_is_one_task_whatever_the_limit(
    database: Database, parts: Machine
) -> None:
    batch = [keyed("k1")] * 100 + [keyed("k1", message="other"), keyed("k2")]
    answers = submit(database, batch, RULES)
    assert names(answers) == ["stored"] + ["known"] * 99 + ["idempotency_key_reused", "stored"]
    assert len(set(ids(answers))) == 2
    assert parts.sql("SELECT count(*) FROM tasks") == [(2,)]


def test_a_key_many_times_from_many_processes_is_one_task(database: Database, parts: Machine) -> None:
    with ThreadPoolExecutor(5) as pool:
        rounds = list(pool.map(lambda _: submit(database, [keyed("k1"), to("b@x.example")], RULES), range(5)))
    assert len({ids(answers)[0] for answers in rounds}) == 1
    assert sorted(names(answers)[0] for answers in rounds) == ["known"] * 4 + ["stored"]
    # The limit counts the same batch, and not what another process stores at this moment.
    assert parts.sql("SELECT count(*) > 1 FROM tasks") == [(True,)]


def test_a_key_that_is_in_flight_is_waited_for_and_holds_up_nobody_for_long(
    database: Database, parts: Machine
) -> None:
    digest = submission._digest("k1")
    with parts.transaction() as other:
        other.execute(
            "INSERT INTO tasks (id, kind, payload, idempotency_digest, fingerprint)"
            f" VALUES ('first', 'notify', '{{}}', '{digest}', 'x')"
        )
        begun = time.monotonic()
        answers = submit(database, [keyed("k1"), to("b@example.com"), keyed("k2")], RULES)
        assert names(answers) == ["idempotency_key_in_use", "stored", "stored"]
        assert time.monotonic() - begun < 2
    assert names(submit(database, [keyed("k1")], RULES)) == ["idempotency_key_reused"]


def test_a_key_of_a_task_that_was_not_stored_after_all_is_free(database: Database, parts: Machine) -> None:
    submit(database, [to("a@example.com")] * 3, RULES)
    assert names(submit(database, [keyed("k1")], RULES)) == ["recipient_limit_reached"]
    parts.sql("UPDATE tasks SET created_at = now() - interval '61 minutes'")
    assert names(submit(database, [keyed("k1")], RULES)) == ["stored"]


def test_of_a_key_only_the_digest_is_stored(database: Database, parts: Machine) -> None:
    # Nor in the payload, while it is there: who reads the table shall not be able to ask under it.
    submit(database, [keyed("a-key-of-somebody", message="words")], RULES)
    (row,) = [row for (row,) in parts.sql("SELECT to_jsonb(tasks) FROM tasks")]
    assert row["payload"] == {"email": "a@example.com", "message": "words"}
    assert [column for column, value in row.items() if "a-key-of-somebody" in json.dumps(value)] == []
    assert re.fullmatch(r"[0-9a-f]{32}", row["idempotency_digest"])


def test_whoever_lacks_the_key_cannot_try_what_was_asked_for(database: Database, parts: Machine) -> None:
    submit(database, [keyed("k1", message="x"), keyed("k2", message="x")], RULES)
    assert parts.sql("SELECT count(DISTINCT fingerprint) FROM tasks") == [(2,)]


def test_a_key_from_before_fingerprints_had_it_is_known_all_the_same(
    database: Database, parts: Machine
) -> None:
    first = submit(database, [keyed("k1", message="x")], RULES)
    body = submission._digest('notify {"email": "a@example.com", "message": "x"}')
    parts.sql("UPDATE tasks SET fingerprint = %s", body)
    repeats = submit(database, [keyed("k1", message="x"), keyed("k1", message="y")], RULES)
    assert names(repeats) == ["known", "idempotency_key_reused"]
    assert ids(repeats)[0] == ids(first)[0]


def test_neither_a_key_nor_a_recipient_can_be_read_from_the_row_once_it_is_erased(
    database: Database, parts: Machine
) -> None:
    submit(database, [keyed("a-key-of-somebody", "someone@example.com", message="words")], RULES)
    (row,) = parts.sql("SELECT to_jsonb(tasks) - 'payload' FROM tasks")
    for private in ("a-key-of", "someone", "words"):
        assert private not in str(row)
