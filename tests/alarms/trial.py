"""The sandbox's stack with its alarms: what a test breaks, and what it then sees of an alarm."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx

from tests.alarms.evaluator import Evaluator, State
from tests.alarms.report import Report, Seen
from tests.alarms.stand_in import Agent, Filters, have_what_aws_has
from tests.chaos.stack import ROOT, Stack, eventually

PREFIX = "steadfast-sandbox-"
_NAMESPACE = "steadfast/sandbox"
# In the place of the host's disk, which is this machine's and shall not be filled.
_DISK = "/srv/small-disk"
_DISK_MEGABYTES = 32
_CERTIFICATE = "/opt/steadfast/secrets/nginx/tls.crt"
_KEPT = f"{_CERTIFICATE}.kept"  # Beside it, since it may be a link to its neighbour.
_NOTES = "/var/lib/steadfast"
_NOTES_KEPT = "/var/tmp/notes"  # noqa: S108 (on the host, as root)
# A line each minute, a little late, and some seconds on its way.
HEARTBEAT_SECONDS = 75
LOGS_ARRIVE_SECONDS = 6
MEMORY_MEGABYTES = 250
QUEUE_DEPTH = 5
OLDEST_DUE_SECONDS = 10


class Trial:
    """One for all tests of a run."""

    def __init__(self, report: Report) -> None:
        self.stack = Stack.of_environment()
        self.cloudwatch = self._client("cloudwatch")
        self.logs = self._client("logs")
        self.evaluator = Evaluator(self.cloudwatch)
        self.agent = Agent(self.stack, self.cloudwatch, disk=_DISK)
        self.filters = Filters(self.logs, self.cloudwatch, prefix=f"/{_NAMESPACE}/")
        self.alarms: dict[str, dict[str, Any]] = {}
        self._report = report

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=f"http://127.0.0.1:{os.environ.get('SANDBOX_AWS_PORT') or 5000}",
            region_name="eu-central-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )

    # -- before and after all tests

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """With alarms, a small disk, a certificate, a proven backup, and what stands for EC2 and RDS."""
        self.stack.await_well()
        have_what_aws_has(self._client("ec2"), self._client("rds"))
        self.stack.host("mkdir", "-p", _DISK)
        self.stack.host("mount", "-t", "tmpfs", "-o", f"size={_DISK_MEGABYTES}m", "tmpfs", _DISK)
        try:
            with contextlib.nullcontext() if "https:" in self.stack.api else self.certificate(days=60):
                self._play("playbooks/back-up-data.yml")
                self._play("playbooks/rehearse-restore.yml")
                self._apply_role()
                yield
        finally:
            self.stack.host("umount", _DISK)
            self.stack.behave("normal")
            self.stack.await_well()

    def _apply_role(self) -> None:
        self._memory_before = used, total = self.agent.memory()
        thresholds = {
            "queue-depth": QUEUE_DEPTH,
            "oldest-due-task": OLDEST_DUE_SECONDS,
            # Half of what a test takes away from what there is now.
            "memory-full": 100 * (used + MEMORY_MEGABYTES / 2 * 2**20) / total,
        }
        self._play(
            "tests/alarms/monitoring.yml",
            aws_monitoring_thresholds=thresholds,
            aws_monitoring_ses_enabled=True,
        )
        self.alarms = self.evaluator.alarms(PREFIX)

    def _play(self, playbook: str, **settings: object) -> None:
        program = Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [program, "-i", "inventory/sandbox", "-e", json.dumps(settings), playbook],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    # -- what happens

    def tell(self) -> int:
        """The program of roles/app_metrics, by its unit, as the timer starts it: its exit status."""
        self.stack.host("systemctl", "start", "app-metrics.service", check=False)
        shown = self.stack.host(
            "systemctl", "show", "--property=ExecMainStatus", "--value", "app-metrics.service"
        )
        return int(shown)

    def tell_all(self) -> None:
        """Until the application answers, which on a machine with much to do may be the second time."""
        eventually(lambda: self.tell() == 0, seconds=60, what="the application told its figures")

    def submit(self, count: int) -> list[int]:
        """So many tasks at the API's port, at once: what each was answered."""
        url, recipient = f"{self.stack.api}/notify/", f"alarms-{time.time_ns()}@example.com"
        with httpx.Client(timeout=20, trust_env=False, verify=self.stack.trust) as client:
            return [client.post(url, json={"email": recipient}).status_code for _ in range(count)]

    def figure(self, series: str) -> float:
        """One of the application's own."""
        text = httpx.get(f"{self.stack.health}/metrics", timeout=10, trust_env=False).raise_for_status().text
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{series} "))

    @contextlib.contextmanager
    def certificate(self, *, days: int) -> Iterator[None]:
        """While one that ends so soon lies where nginx' own does; it has no key, so nobody gets TLS then."""
        make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=sandbox"
        self._shell(f"test ! -e {_CERTIFICATE} || mv {_CERTIFICATE} {_KEPT}")
        try:
            self._shell(f"{make} -days {days} -keyout /dev/null 2>/dev/null >{_CERTIFICATE}")
            yield
        finally:
            self._shell(f"rm {_CERTIFICATE}; test ! -e {_KEPT} || mv {_KEPT} {_CERTIFICATE}")

    @contextlib.contextmanager
    def backups_aged(self, *, days: int) -> Iterator[None]:
        """While the host has noted that a backup and a rehearsal went well so long ago, and none since."""
        note = json.dumps({"at": time.time() - days * 86_400})
        self._shell(f"rm -rf {_NOTES_KEPT}; mkdir {_NOTES_KEPT}; cp -a {_NOTES}/*.json {_NOTES_KEPT}")
        try:
            self._shell(f"echo '{note}' | tee {_NOTES}/backup.json >{_NOTES}/rehearsal.json")
            # One that had read the notes before is over then, and what it told is of another second.
            self.tell()
            time.sleep(1)
            yield
        finally:
            self._shell(f"mv {_NOTES_KEPT}/*.json {_NOTES}; rmdir {_NOTES_KEPT}")

    def _shell(self, script: str) -> None:
        self.stack.host("sh", "-c", script)

    @contextlib.contextmanager
    def disk_filled(self) -> Iterator[None]:
        """While almost nothing of the small disk is free."""
        self.stack.host("fallocate", "-l", f"{_DISK_MEGABYTES - 2}M", f"{_DISK}/filled")
        try:
            yield
        finally:
            self.stack.host("rm", f"{_DISK}/filled")

    @contextlib.contextmanager
    def memory_filled(self) -> Iterator[None]:
        """While a process of the host has memory that it does not need."""
        program = f"import time; held = bytearray({MEMORY_MEGABYTES} << 20); time.sleep(60)"
        unit = ("--unit=memory-filled", "--collect", "--quiet")
        self.stack.host("systemd-run", *unit, "python3", "-c", program)
        try:
            before, _ = self._memory_before
            eventually(
                lambda: self.agent.memory()[0] > before + MEMORY_MEGABYTES / 2 * 2**20,
                seconds=30, what="the process has its memory",
            )  # fmt: skip
            yield
        finally:
            self.stack.host("systemctl", "stop", "memory-filled.service", check=False)

    def put_of_aws(self, values: Mapping[str, float], at: datetime) -> None:
        """Points of AWS's own metrics, by the alarm's name, in each period that is looked at then."""
        for name, value in values.items():
            alarm = self.alarms[self.named(name)]
            point = {"MetricName": alarm["MetricName"], "Dimensions": alarm["Dimensions"], "Value": value}
            self.cloudwatch.put_metric_data(
                Namespace=alarm["Namespace"],
                MetricData=[point | {"Timestamp": begin} for begin, _ in self.evaluator.periods(alarm, at)],
            )

    # -- what is seen

    def named(self, name: str) -> str:
        """An alarm's name in full: an instance's own ends with its id."""
        (found,) = [key for key in self.alarms if key == name or key.startswith(f"{name}-i-")]
        return found

    def note_before(self, name: str, kind: str, **when: datetime) -> None:
        """How an alarm is while all is well, since then (`begin`) or over its own periods (`aws_at`)."""
        alarm = self.alarms[self.named(name)]
        state, value = self._look(alarm, **when)
        metric = f"{alarm['Namespace']} {alarm['MetricName']}"
        self._report.seen[name] = Seen(name, kind, "", metric, alarm["Threshold"], value, state)

    def states(self) -> dict[str, State]:
        """As they were noted before."""
        return {name: seen.before for name, seen in self._report.seen.items()}

    def note_after(self, name: str, caused_by: str, **when: datetime) -> State:
        """The same when it was caused to ring."""
        seen = self._report.seen[name]
        seen.caused_by = caused_by
        seen.after, seen.value_after = self._look(self.alarms[self.named(name)], **when)
        return seen.after

    def _look(
        self, alarm: dict[str, Any], *, begin: datetime | None = None, aws_at: datetime | None = None
    ) -> tuple[State, float | None]:
        """By the stand-in, which leaves the state with the alarm, as CloudWatch does."""
        if begin:
            # A point of this very second would not be among those before now.
            state, value = self.evaluator.state_within(alarm, begin, now() + timedelta(seconds=1))
        else:
            state, value = self.evaluator.state(alarm, aws_at or now())
        self.cloudwatch.set_alarm_state(
            AlarmName=alarm["AlarmName"], StateValue=state, StateReason="the stand-in's evaluation"
        )
        alarm["StateValue"] = state
        return state, value

    def heartbeat(self, service: str, since: datetime) -> bool:
        """Whether such a line came to the service's log group since then."""
        events = self.logs.filter_log_events(
            logGroupName=f"/{_NAMESPACE}/{service}", startTime=int(since.timestamp() * 1000)
        )["events"]
        return any(f'"{service}.alive"' in event["message"] for event in events)

    def await_heartbeats(self, since: datetime) -> None:
        """Until both have said that they are alive."""
        for service in ("api", "worker"):
            eventually(
                lambda service=service: self.heartbeat(service, since),  # type: ignore[misc]
                seconds=HEARTBEAT_SECONDS, what=f"{service}.alive in its log group",
            )  # fmt: skip


def now() -> datetime:
    """Whole seconds: moto takes no others into account."""
    return datetime.now(UTC).replace(microsecond=0)
