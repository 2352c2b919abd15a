"""Stand-ins for what the sandbox does not have: the CloudWatch agent, and what makes metrics of log lines.

Each reads the configuration that was really stored and the values that are really there, and puts points of
those names and dimensions. In the sandbox only they do: its agent sends nothing, and moto applies no filter.
Beside them an instance of EC2 and a database of RDS, of which alarms are made, and no more is asked.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.chaos.stack import Stack

_LOADED = "/opt/aws/amazon-cloudwatch-agent/etc/amazon-cloudwatch-agent.d/file_amazon-cloudwatch-agent.json"
# The host is a container, whose /proc/meminfo is the machine's: what it has itself, its control group tells.
_MEMORY = r"""
import pathlib, re
def found(pattern, file):
    return re.search(pattern, pathlib.Path(file).read_text(), re.MULTILINE)[1]
group = found(r"^\d+:(?:memory)?:(/.+?)(?:/init\.scope)?$", "/proc/1/cgroup")
home, limit, key = f"/sys/fs/cgroup/memory{group}", "memory.limit_in_bytes", "total_rss"
if not pathlib.Path(home).exists():
    home, limit, key = f"/sys/fs/cgroup{group}", "memory.max", "anon"
total = 1024 * int(found(r"MemTotal: +(\d+)", "/proc/meminfo"))
most = found("(.+)", f"{home}/{limit}")
print(found(rf"^{key} (\d+)$", f"{home}/memory.stat"), min(total, int(most)) if most.isdigit() else total)
"""
_CONDITION = re.compile(r"\$\.(\w+)\s*(=|!=|>=|<=|<|>)\s*(\"[^\"]*\"|[\d.]+)")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b, "!=": lambda a, b: a != b,
    ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, "<": lambda a, b: a < b,
}  # fmt: skip


class Agent:
    """Measures what the stored configuration names, of what alarms and dashboard look at."""

    def __init__(self, stack: Stack, cloudwatch: Any, *, disk: str) -> None:
        """`disk`: what is measured in the place of the host's own, which is this machine's."""
        self._stack = stack
        self._cloudwatch = cloudwatch
        self._disk = disk

    def memory(self) -> tuple[int, int]:
        """The host's bytes: used, and all."""
        used, total = self._stack.host("python3", "-", stdin=_MEMORY).split()
        return int(used), int(total)

    def put(self) -> None:
        """One minute's points."""
        metrics = json.loads(self._stack.host("cat", _LOADED))["metrics"]
        host = self._stack.host("hostname")
        measures = {"mem": self._memory_percent, "disk": self._disk_percent, "swap": self._swap_percent}
        for part, measure in measures.items():
            if "used_percent" not in metrics["metrics_collected"][part]["measurement"]:
                continue
            value = measure()
            for names in metrics["aggregation_dimensions"]:
                dimensions = [{"Name": name, "Value": {"host": host}[name]} for name in names]
                self._cloudwatch.put_metric_data(
                    Namespace=metrics["namespace"],
                    MetricData=[
                        {"MetricName": f"{part}_used_percent", "Value": value, "Dimensions": dimensions}
                    ],
                )

    def _memory_percent(self) -> float:
        used, total = self.memory()
        return 100 * used / total

    def _disk_percent(self) -> float:
        blocks, free, available = map(
            int, self._stack.host("stat", "-f", "-c", "%b %f %a", self._disk).split()
        )
        return 100 * (blocks - free) / (blocks - free + available)

    def _swap_percent(self) -> float:
        told = dict(line.split()[:2] for line in self._stack.host("cat", "/proc/meminfo").splitlines())
        total, free = int(told["SwapTotal:"]), int(told["SwapFree:"])
        return 100 * (total - free) / total if total else 0.0


def matches(pattern: str, line: str) -> bool:
    """Whether a log line is what a filter's JSON pattern means: conditions, all of which must hold."""
    parts = pattern.removeprefix("{ ").removesuffix(" }").split(" && ")
    found = [_CONDITION.fullmatch(part.removeprefix("(").removesuffix(")")) for part in parts]
    conditions = [one.groups() for one in found if one]
    assert len(conditions) == len(parts), f"{pattern}: unknown here"
    try:
        fields = json.loads(line)
    except ValueError:
        return False
    return isinstance(fields, dict) and all(
        field in fields and _COMPARISONS[sign](fields[field], json.loads(word))
        for field, sign, word in conditions
    )


class Filters:
    """Applies the stored metric filters to the stored lines."""

    def __init__(self, logs: Any, cloudwatch: Any, *, prefix: str) -> None:
        self._logs = logs
        self._cloudwatch = cloudwatch
        self._prefix = prefix

    def put(self, begin: datetime) -> None:
        """A point for each line since then that a filter means."""
        for page in self._logs.get_paginator("describe_metric_filters").paginate():
            for stored in page["metricFilters"]:
                if stored["logGroupName"].startswith(self._prefix):
                    self._apply(stored, begin)

    def _apply(self, stored: dict[str, Any], begin: datetime) -> None:
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=stored["logGroupName"], startTime=int(begin.timestamp() * 1000)
        )
        moments = [
            datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
            for page in pages
            for event in page["events"]
            if matches(stored["filterPattern"], event["message"])
        ]
        (made,) = stored["metricTransformations"]
        for at in moments:
            self._cloudwatch.put_metric_data(
                Namespace=made["metricNamespace"],
                MetricData=[
                    {"MetricName": made["metricName"], "Value": float(made["metricValue"]), "Timestamp": at}
                ],
            )


def have_what_aws_has(ec2: Any, rds: Any) -> None:
    """An instance and a database of this environment, unless they are there."""
    tags = [{"Key": "Application", "Value": "steadfast"}, {"Key": "Environment", "Value": "sandbox"}]
    filters = [{"Name": f"tag:{tag['Key']}", "Values": [tag["Value"]]} for tag in tags]
    if not ec2.describe_instances(Filters=filters)["Reservations"]:
        ec2.run_instances(
            ImageId="ami-12c6146b", MinCount=1, MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )  # fmt: skip
    if "steadfast-sandbox" not in [
        one["DBInstanceIdentifier"] for one in rds.describe_db_instances()["DBInstances"]
    ]:
        rds.create_db_instance(
            DBInstanceIdentifier="steadfast-sandbox", DBInstanceClass="db.t4g.micro", Engine="postgres",
            AllocatedStorage=20, MasterUsername="postgres", MasterUserPassword="made-up-word",
        )  # fmt: skip
