#!/usr/bin/python3
"""Puts one minute of the application's figures into CloudWatch; app-metrics.timer starts it each minute.

It reads /metrics, whose counters only grow, and puts what came since the last reading. What cannot be told
is left out, never put as 0; only `Ready` is always put. It ends with 1 when somebody did not answer.
"""

import json
import math
import os
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# The series of one moment, each under its name and labels as Prometheus' format writes them.
Reading = dict[str, float]

# Metric -> series. What is so at this moment.
GAUGES = {
    "QueueDepth": "steadfast_queue_depth",
    "OldestDueTaskSeconds": "steadfast_oldest_due_task_seconds",
    "WorkersAlive": "steadfast_workers",
    "WorkerSeenSeconds": "steadfast_worker_seen_seconds",
}
# What came since the last reading. All but the requests are the whole system's, whichever host tells them.
COUNTERS = {
    "TasksAccepted": "steadfast_tasks_accepted_total",
    "TasksSucceeded": "steadfast_tasks_succeeded_total",
    "TasksFailed": "steadfast_tasks_failed_total",
    "TasksRetried": "steadfast_tasks_retried_total",
    "TasksClaimedAgain": "steadfast_tasks_claimed_again_total",
    "SubmissionsShed": "steadfast_submissions_shed_total",
    "Requests": "nginx_requests",
}
# Of what came since the last reading, all but one in twenty took at most so long.
PERCENTILES = {"AcceptSecondsP95": "steadfast_accept_seconds", "TaskSecondsP95": "steadfast_task_seconds"}
# Metric -> file in which the host's backups say when they last went well.
AGES = {"BackupAgeHours": "backup.json", "BackupRehearsalAgeHours": "rehearsal.json"}

_ADDRESS = ("127.0.0.1", 8501)
_WAIT_SECONDS = 5
# What the unit has in the place of a file that is not there.
_NO_FILE = "none"
# An older reading tells of more than a minute, give or take one that was missed.
_READING_MAX_AGE_SECONDS = 180


def answer(path: str) -> str:
    """What the stack says there; empty when it is no 200, or nothing in time."""
    connection = HTTPConnection(*_ADDRESS, timeout=_WAIT_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, HTTPException, UnicodeDecodeError):
        return ""
    finally:
        connection.close()
    return text if response.status == 200 else ""


def parse(text: str) -> Reading:
    """Prometheus' text format, without its comments."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {series: float(value) for series, value in lines}


def requests_of(status: str) -> Reading:
    """How many requests nginx has had, from its own page: connections, connections, requests."""
    numbers = [line.split() for line in status.splitlines() if line[:2].strip().isdigit()]
    return {"nginx_requests": float(numbers[0][2])} if numbers else {}


def grown(series: str, now: Reading, before: Reading) -> float | None:
    """How much came; None where that is not known, as after a counter began anew."""
    if series not in now or series not in before or now[series] < before[series]:
        return None
    return now[series] - before[series]


def buckets(histogram: str, now: Reading, before: Reading) -> list[tuple[float, float]]:
    """Each upper bound and how many came that were at most so long; nothing where one is not known."""
    begin, end = f'{histogram}_bucket{{le="', '"}'
    found = []
    for series in now:
        if not series.startswith(begin):
            continue
        growth = grown(series, now, before)
        if growth is None:
            return []
        found.append((float(series.removeprefix(begin).removesuffix(end)), growth))
    return sorted(found)


def quantile(share: float, bounds: list[tuple[float, float]]) -> float | None:
    """As Prometheus' histogram_quantile: even within a bucket, and beyond the last bound that bound."""
    rank = share * bounds[-1][1] if bounds else 0
    if not rank:
        return None
    lower, below = 0.0, 0.0
    for upper, at_most in bounds:
        if at_most >= rank:
            part = (rank - below) / (at_most - below)
            return lower if math.isinf(upper) else lower + (upper - lower) * part
        lower, below = upper, at_most
    return None


def told(now: Reading, before: Reading) -> dict[str, float]:
    """The metrics that two readings tell; without an earlier one, the gauges."""
    values: dict[str, float | None] = {metric: now.get(series) for metric, series in GAUGES.items()}
    values |= {metric: grown(series, now, before) for metric, series in COUNTERS.items()}
    values |= {metric: quantile(0.95, buckets(name, now, before)) for metric, name in PERCENTILES.items()}
    failed, succeeded = values["TasksFailed"], values["TasksSucceeded"]
    if failed is not None and succeeded is not None and failed + succeeded:
        values["FailedTaskPercent"] = 100 * failed / (failed + succeeded)
    return {metric: value for metric, value in values.items() if value is not None}


def certificate_days_left(certificate: Path, at: float) -> dict[str, float]:
    """Until nginx' certificate ends; nothing where the unit has a word in its place."""
    if certificate.read_text() == _NO_FILE:
        return {}
    asked = ["/usr/bin/openssl", "x509", "-noout", "-enddate", "-in", str(certificate)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        complain(f"openssl cannot read the certificate: {done.stderr.strip()}")
        return {}
    ends_at = ssl.cert_time_to_seconds(done.stdout.strip().removeprefix("notAfter="))
    return {"CertificateDaysLeft": (ends_at - at) / 86_400}


def backup_ages(directory: Path, at: float) -> dict[str, float]:
    """Since a backup was last made, and last restored for proof; nothing where that is not known."""
    ages = {}
    for metric, name in AGES.items():
        try:
            noted = (directory / name).read_text()
            if noted != _NO_FILE:
                ages[metric] = (at - json.loads(noted)["at"]) / 3600
        except (OSError, ValueError, KeyError, TypeError) as error:
            complain(f"{name} does not say when that went well: {error!r}")
    return ages


def last_reading(state: Path, at: float) -> Reading:
    """What was kept, if it is of a minute or two ago."""
    try:
        kept = json.loads(state.read_text())
        age_seconds = at - kept["at"]
        return dict(kept["reading"]) if 0 < age_seconds <= _READING_MAX_AGE_SECONDS else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def keep(state: Path, reading: Reading, at: float) -> None:
    """For the next time."""
    written = state.with_suffix(".new")
    written.write_text(json.dumps({"at": at, "reading": reading}))
    written.rename(state)


def unit(metric: str) -> str:
    """In CloudWatch's words, which has neither hours nor days."""
    return next((word for word in ("Seconds", "Percent") if word in metric), "Count")


def put(namespace: str, values: dict[str, float], at: float) -> None:
    """All in one call. Region, endpoint and credentials botocore finds as ever, in unit or instance."""
    config = Config(connect_timeout=3, read_timeout=7, retries={"total_max_attempts": 2})
    client = botocore.session.get_session().create_client("cloudwatch", config=config)
    moment = datetime.fromtimestamp(at, UTC)
    client.put_metric_data(
        Namespace=namespace,
        MetricData=[
            {"MetricName": metric, "Value": value, "Unit": unit(metric), "Timestamp": moment}
            for metric, value in values.items()
        ],
    )


def complain(words: str) -> None:
    """A line in the journal."""
    sys.stderr.write(words + "\n")


def main() -> int:
    """The status to end with; the one argument is the namespace."""
    at = time.time()
    state = Path(os.environ["STATE_DIRECTORY"]) / "reading.json"
    values = {"Ready": float(bool(answer("/ready")))}
    credentials = Path(os.environ["CREDENTIALS_DIRECTORY"])
    values |= certificate_days_left(credentials / "tls.crt", at) | backup_ages(credentials, at)
    reading = parse(answer("/metrics"))
    if reading:
        reading |= requests_of(answer("/nginx_status"))
        values |= told(reading, last_reading(state, at))
    try:
        put(sys.argv[1], values, at)
    except (BotoCoreError, ClientError) as error:
        complain(f"CloudWatch did not take the metrics: {error}")
        return 1
    if not reading:
        complain("http://127.0.0.1:8501/metrics did not answer: only what needs no application was put.")
        return 1
    # Only now: what could not be put is told the next time.
    keep(state, reading, at)
    return 0


if __name__ == "__main__":
    sys.exit(main())
