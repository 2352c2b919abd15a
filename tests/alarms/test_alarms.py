"""Every alarm, in the order in which things are broken: OK while all is well, ALARM when it is caused.

And at the end the dashboard, when everything that it draws has been put.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

from tests.alarms.evaluator import State
from tests.alarms.trial import (
    HEARTBEAT_SECONDS,
    LOGS_ARRIVE_SECONDS,
    OLDEST_DUE_SECONDS,
    QUEUE_DEPTH,
    Trial,
    now,
)
from tests.chaos.stack import eventually

# What the proof of each is worth (report.py).
CLASSES = {
    "not-ready": "a", "no-worker": "a", "queue-depth": "a", "oldest-due-task": "a", "failed-tasks": "a",
    "certificate-expiry": "a", "backup-age": "a", "restore-rehearsal": "a", "server-errors": "b",
    "log-heartbeat-api": "b", "log-heartbeat-worker": "b", "disk-full": "b", "memory-full": "b",
    "instance-check": "c", "database-cpu": "c", "database-memory": "c", "database-connections": "c",
    "database-storage": "c", "mail-bounces": "c", "mail-complaints": "c",
}  # fmt: skip
WELL = {
    "instance-check": 0, "database-cpu": 12, "database-memory": 200e6, "database-connections": 14,
    "database-storage": 18e9, "mail-bounces": 0.01, "mail-complaints": 0,
}  # fmt: skip
ILL = {
    "instance-check": 1, "database-cpu": 97, "database-memory": 20e6, "database-connections": 78,
    "database-storage": 1e9, "mail-bounces": 0.07, "mail-complaints": 0.002,
}  # fmt: skip
# Longer ago than any alarm looks back.
AWS_WAS_WELL = timedelta(hours=6)
# Seconds after which a worker that says nothing is not counted among the living.
WORKER_SILENT_SECONDS = 30


def well(trial: Trial) -> bool:
    """Whether all alarms are OK now; lines of each minute are looked for further back."""
    begin = now()
    lines_begin = begin - timedelta(seconds=HEARTBEAT_SECONDS)
    trial.await_heartbeats(lines_begin)
    trial.submit(2)
    told = trial.tell()
    trial.agent.put()
    trial.put_of_aws(WELL, begin - AWS_WAS_WELL)
    time.sleep(LOGS_ARRIVE_SECONDS)
    trial.filters.put(lines_begin)
    for name, kind in CLASSES.items():
        when = {"begin": lines_begin if name.startswith("log-heartbeat") else begin}
        trial.note_before(name, kind, **({"aws_at": begin - AWS_WAS_WELL} if kind == "c" else when))
    return told == 0 and set(trial.states().values()) == {State.OK}


def test_while_all_is_well_no_alarm_rings(trial: Trial) -> None:
    # On a machine with much to do the stack itself may be too slow for its own limits, for a while.
    with suppress(AssertionError):
        eventually(lambda: well(trial), seconds=180, what="all is well")
    assert trial.states() == dict.fromkeys(CLASSES, State.OK)
    assert {trial.named(name) for name in CLASSES} == set(trial.alarms), "each alarm is proven"


def test_mails_that_are_refused(trial: Trial) -> None:
    begin, failed = now(), trial.figure("steadfast_tasks_failed_total")
    with trial.stack.mail_server("refuse"):
        trial.submit(3)
        eventually(
            lambda: trial.figure("steadfast_tasks_failed_total") == failed + 3,
            seconds=30, what="three tasks failed, and were counted",
        )  # fmt: skip
    trial.tell_all()
    assert trial.note_after("failed-tasks", "a mail server that refuses", begin=begin) == State.ALARM


def test_a_certificate_that_ends_soon(trial: Trial) -> None:
    begin = now()
    with trial.certificate(days=5):
        trial.tell()
    assert trial.note_after("certificate-expiry", "a certificate of five days", begin=begin) == State.ALARM


def test_backups_that_are_old(trial: Trial) -> None:
    with trial.backups_aged(days=9):
        begin = now()
        trial.tell()
        for name in ("backup-age", "restore-rehearsal"):
            assert trial.note_after(name, "a note of nine days ago", begin=begin) == State.ALARM, name


def test_a_host_that_is_full(trial: Trial) -> None:
    begin = now()
    with trial.disk_filled(), trial.memory_filled():
        trial.agent.put()
    assert trial.note_after("disk-full", "a small disk, filled", begin=begin) == State.ALARM
    assert trial.note_after("memory-full", "a process that takes memory", begin=begin) == State.ALARM


def test_what_only_aws_can_measure(trial: Trial) -> None:
    at = now()
    trial.put_of_aws(ILL, at)
    for name in ILL:
        assert trial.note_after(name, "points put by the test", aws_at=at) == State.ALARM, name


def test_a_worker_and_then_an_api_that_stand_still(trial: Trial) -> None:
    with trial.stack.frozen("worker"):
        worker_at = now()
        trial.submit(QUEUE_DEPTH + 3)
        time.sleep(max(WORKER_SILENT_SECONDS, OLDEST_DUE_SECONDS) + 2)
        trial.tell_all()
        for name in ("no-worker", "queue-depth", "oldest-due-task"):
            assert trial.note_after(name, "the worker frozen", begin=worker_at) == State.ALARM, name
        with trial.stack.frozen("api"):
            api_at = now()
            with ThreadPoolExecutor(4) as pool:
                answers = [answer for one in pool.map(trial.submit, [1] * 4) for answer in one]
            assert answers == [503] * 4
            assert trial.tell() == 1, "it says that the application did not answer"
            assert trial.note_after("not-ready", "the API frozen", begin=api_at) == State.ALARM
            # A line that was on its way when they were frozen may still come.
            silent_from = api_at + timedelta(seconds=LOGS_ARRIVE_SECONDS)
            time.sleep(max(0.0, HEARTBEAT_SECONDS - (now() - api_at).total_seconds()))
            trial.filters.put(silent_from)
            for name, cause in (
                ("log-heartbeat-api", "the API frozen"),
                ("log-heartbeat-worker", "the worker frozen"),
            ):
                assert trial.note_after(name, cause, begin=silent_from) == State.ALARM, name
            trial.filters.put(api_at)
            assert trial.note_after("server-errors", "the API frozen", begin=api_at) == State.ALARM


def test_what_the_dashboard_draws_is_there(trial: Trial) -> None:
    body = trial.cloudwatch.get_dashboard(DashboardName="steadfast-sandbox")["DashboardBody"]
    drawn = [metric for widget in json.loads(body)["widgets"] for metric in widget["properties"]["metrics"]]
    # Those of one instance or database are AWS's own, which nobody puts here.
    ours = [
        {"Namespace": metric[0], "MetricName": metric[1], "Dimensions": []}
        for metric in drawn
        if len(metric) == 2
    ]
    assert ours
    assert [one["MetricName"] for one in ours if not trial.evaluator.is_known(one)] == []
