"""Accepting: in one statement, each row for itself, within the recipient's limit."""

import pytest

from app.db.session import Database
from app.errors import AppError, DatabaseUnavailable, InternalError, RecipientLimitReached
from app.services.submission import Submission, SubmissionRules, submit
from tests.integration.machine import Machine

RULES = SubmissionRules(recipient_limit_per_hour=3, exempt_recipient="smoke@example.com")


def to(recipient: str, **payload: object) -> Submission:
    """A submission for somebody."""
    return Submission("notify", {"email": recipient, **payload}, recipient=recipient)


def names(answers: list[str | AppError]) -> list[str]:
    """ "stored", or the error's name."""
    return ["stored" if isinstance(answer, str) else answer.name for answer in answers]


def test_what_is_accepted_is_in_the_table_as_it_was_given(database: Database, parts: Machine) -> None:
    (task_id,) = submit(database, [to("a@example.com", message="Grüße \\ ' \" %s :x 日本")], RULES)
    columns = "id, kind, status, attempts, fence, payload, created_at = next_run_at, publish_at > now()"
    assert parts.sql(f"SELECT {columns} FROM tasks") == [
        (task_id, "notify", "queued", 0, 0,
         {"email": "a@example.com", "message": "Grüße \\ ' \" %s :x 日本"}, True, True)
    ]  # fmt: skip


def test_many_are_one_statement_and_keep_their_order(database: Database, parts: Machine) -> None:
    answers = submit(database, [to(f"a{number}@example.com") for number in range(500)], RULES)
    assert len(set(answers)) == 500
    stored = dict(parts.sql("SELECT id, payload->>'email' FROM tasks"))
    assert [stored[str(answer)] for answer in answers] == [f"a{number}@example.com" for number in range(500)]
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
