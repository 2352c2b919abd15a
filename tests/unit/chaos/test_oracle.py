"""The oracle of tests/chaos sees what it is there to see, each shown to it without a stack."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.chaos.oracle import Evidence, Mail, Row, judge, moved_back
from tests.chaos.report import Report, result

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def mail(task_id: str, *, recipient: str = "", answered: bool = True) -> Mail:
    return Mail(task_id, recipient or f"{task_id}@example.com", NOW, answered)


def row(
    status: str = "succeeded", *, deaths: int = 0, unconfirmed: int = 0, finished_at: datetime | None = NOW
) -> Row:
    return Row(status, 1 + deaths + unconfirmed, deaths, unconfirmed, finished_at)


def evidence(*mails: Mail, ids: str = "ab", **rows: Row) -> Evidence:
    accepted = {task_id: f"{task_id}@example.com" for task_id in ids}
    return Evidence(accepted, list(mails), {task_id: row() for task_id in ids} | rows)


def test_all_delivered_once_passes() -> None:
    verdict = judge(evidence(mail("a"), mail("b")))
    assert verdict.passed
    assert (verdict.accepted, verdict.delivered, verdict.lost, verdict.duplicates) == (2, 2, [], {})


def test_a_loss_is_seen_whatever_the_row_says() -> None:
    verdict = judge(evidence(mail("a")))
    assert verdict.lost == ["b"]
    assert not verdict.passed
    verdict = judge(Evidence({"a": "a@example.com"}, [], {}))
    assert verdict.lost == ["a"], "even a row that is not there"


def test_a_failure_that_nobody_asked_for_is_seen() -> None:
    verdict = judge(evidence(mail("a"), b=row("failed")))
    assert (verdict.failed, verdict.lost, verdict.passed) == (["b"], [], False)


def test_a_failure_that_was_asked_for_is_none() -> None:
    seen = evidence(mail("a"), b=row("failed"))
    seen.expected_failures = frozenset("b")
    assert judge(seen).passed


def test_a_second_copy_without_a_reason_is_seen() -> None:
    verdict = judge(evidence(mail("a"), mail("a"), mail("b")))
    assert verdict.duplicates == {"a": 1}
    assert "a: 2 copies" in verdict.unexplained[0]
    assert not verdict.passed


@pytest.mark.parametrize(
    ("copies", "deaths", "unconfirmed", "passes"),
    [(2, 1, 0, True), (2, 0, 1, True), (3, 1, 0, False), (3, 1, 1, True), (3, 0, 1, False), (3, 2, 0, True)],
)
def test_each_further_copy_needs_a_reason_of_its_own(
    copies: int, deaths: int, unconfirmed: int, passes: bool
) -> None:
    mails = [mail("a") for _ in range(copies)]
    assert judge(evidence(*mails, ids="a", a=row(deaths=deaths, unconfirmed=unconfirmed))).passed is passes


def test_a_copy_of_a_task_that_has_no_row_is_unexplained() -> None:
    verdict = judge(Evidence({"a": "a@example.com"}, [mail("a"), mail("a")], {}))
    assert verdict.unexplained == ["a: 2 copies, no row"]


@pytest.mark.parametrize(
    ("unanswered", "deaths", "unconfirmed", "passes"),
    [(1, 0, 0, False), (1, 1, 0, True), (1, 0, 1, True), (2, 1, 0, False), (2, 1, 1, True), (0, 1, 1, True)],
)
def test_a_mail_without_an_answer_is_marked_in_its_row(
    unanswered: int, deaths: int, unconfirmed: int, passes: bool
) -> None:
    mails = [mail("a", answered=number >= unanswered) for number in range(max(unanswered, 1))]
    verdict = judge(evidence(*mails, ids="a", a=row(deaths=deaths, unconfirmed=unconfirmed)))
    assert verdict.passed is passes
    assert bool(verdict.unmarked) is not passes


def test_a_mail_that_reached_somebody_else_is_seen() -> None:
    verdict = judge(evidence(mail("a", recipient="b@example.com"), mail("b", recipient="a@example.com")))
    assert verdict.astray == ["a, to b@example.com", "b, to a@example.com"]
    assert not verdict.passed


def test_copies_are_counted_apart_from_tasks() -> None:
    verdict = judge(evidence(*[mail("a")] * 4, mail("b"), mail("b"), b=row(deaths=1)))
    assert (verdict.duplicates, verdict.explained) == ({"a": 3, "b": 1}, 1)


def test_a_mail_that_still_waits_for_its_answer_needs_no_mark() -> None:
    assert judge(evidence(mail("a", answered=False), ids="a", a=row("running", finished_at=None))).passed


def test_one_request_that_was_stored_twice_is_seen() -> None:
    verdict = judge(evidence(mail("a"), mail("b"), mail("c", recipient="a@example.com")))
    assert verdict.unexplained == ["a@example.com: 2 tasks for 1 request"]
    assert not verdict.passed


def test_what_clients_saw_counts() -> None:
    seen = evidence(mail("a"), mail("b"))
    seen.sightings.append("a was succeeded and then running")
    assert not judge(seen).passed


@pytest.mark.parametrize(
    ("before", "after", "back"),
    [
        ("queued", "running", False), ("queued", "succeeded", False), ("running", "retrying", False),
        ("retrying", "running", False), ("running", "running", False), ("succeeded", "succeeded", False),
        ("running", "queued", True), ("retrying", "queued", True), ("succeeded", "running", True),
        ("succeeded", "failed", True), ("failed", "queued", True), ("cancelled", "succeeded", True),
    ],
)  # fmt: skip
def test_a_status_that_goes_back_is_seen(before: str, after: str, back: bool) -> None:
    assert moved_back(before, after) is back


def test_the_report_has_what_it_is_asked_for(tmp_path: Path) -> None:
    report = Report([result("worker_killed", judge(evidence(mail("a"))), recovered_seconds=3.21)])
    assert "lost" in report.table()[0]
    assert "worker_killed" in report.table()[1]
    report.write(tmp_path / "reports" / "chaos.json")
    written = (tmp_path / "reports" / "chaos.json").read_text()
    for name in (
        "fault",
        "accepted",
        "delivered",
        "lost",
        "duplicates",
        "explained",
        "recovered_seconds",
        "passed",
    ):
        assert f'"{name}"' in written
    assert '"control": null' in written
