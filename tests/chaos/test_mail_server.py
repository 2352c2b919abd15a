"""The mail server is away, slow, refuses, or takes a mail and does not say so."""

import time

import pytest

from tests.chaos.trial import Trial

# Long enough for two tries of a task, short enough for the pause after them: after a second lost answer 40 s.
_OUTAGE_SECONDS = 20


@pytest.mark.parametrize("behaviour", ["closed", "defer"])
def test_mail_server_down(trial: Trial, behaviour: str) -> None:
    """It cuts every connection, or puts everybody off."""
    with trial.load(rate=4):
        with trial.stack.mail_server(behaviour):
            time.sleep(_OUTAGE_SECONDS)
        trial.over()
    trial.conclude(settle_seconds=120, limit_seconds=60)


def test_mail_server_frozen(trial: Trial) -> None:
    """It takes connections and says nothing, longer than a send may take."""
    with trial.load(rate=1):
        with trial.stack.frozen_beside("mailbox"):
            time.sleep(35)
        trial.over()
    trial.conclude(settle_seconds=150, limit_seconds=90)


def test_mail_server_slow(trial: Trial) -> None:
    """It takes each mail and answers after 25 seconds, when nobody listens any more: so they come twice."""
    with trial.stack.mail_server("slow", seconds=25):
        trial.submit(12)
        time.sleep(28)
    trial.over()
    trial.conclude(settle_seconds=150, limit_seconds=90)


def test_mail_server_drops_its_answer(trial: Trial) -> None:
    """It takes each mail and cuts the connection: nobody can know, and each comes again."""
    with trial.load(rate=2):
        with trial.stack.mail_server("drop"):
            time.sleep(_OUTAGE_SECONDS)
        trial.over()
    trial.conclude(settle_seconds=120, limit_seconds=60)


def test_mail_server_refuses(trial: Trial) -> None:
    """A 5xx is its last word on a mail: those have failed, with its words, and only those."""
    trial.submit(10)
    trial.settle(30)
    with trial.stack.mail_server("refuse"):
        trial.expected_failures.update(trial.submit(10))
        trial.settle(30)
    trial.submit(10)
    trial.settle(30)
    rows = trial.stack.rows(list(trial.expected_failures))
    assert {row.status for row in rows.values()} == {"failed"}, rows
    assert not {mail.task_id for mail in trial.stack.mails()} & trial.expected_failures
    trial.conclude()


def test_mail_server_slow_and_lossy(trial: Trial) -> None:
    """300 ± 100 ms there and back, one packet of twenty lost, one of a hundred twice."""
    slow = trial.stack.network_beside("mailbox").slow(
        1025, delay_seconds=0.15, jitter_seconds=0.05, loss_percent=5
    )
    with trial.load(rate=2):
        with slow:
            time.sleep(40)
        trial.over()
    trial.conclude(settle_seconds=120, limit_seconds=60)
