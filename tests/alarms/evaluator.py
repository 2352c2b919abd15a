"""A stand-in for that part of CloudWatch which evaluates alarms: moto stores them, and no more.

The rules are those of CloudWatch's user guide, "Configuring how CloudWatch alarms treat missing data". What
is evaluated is read back through the API: the alarm by DescribeAlarms, its values by GetMetricStatistics.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

# CloudWatch looks at more periods than it evaluates, in case some have no value yet; in its examples two.
_MORE_PERIODS = 2


class State(StrEnum):
    """What an alarm can be."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


@dataclass(frozen=True)
class Rule:
    """When an alarm rings, in DescribeAlarms' words."""

    comparison: str
    threshold: float
    evaluation_periods: int
    datapoints_to_alarm: int
    missing: str

    @classmethod
    def of(cls, alarm: dict[str, Any]) -> "Rule":
        return cls(
            comparison=alarm["ComparisonOperator"],
            threshold=alarm["Threshold"],
            evaluation_periods=alarm["EvaluationPeriods"],
            datapoints_to_alarm=alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]),
            missing=alarm.get("TreatMissingData", "missing"),
        )

    def breached_by(self, value: float) -> bool:
        """Whether a value is beyond the threshold."""
        match self.comparison:
            case "GreaterThanThreshold":
                return value > self.threshold
            case "GreaterThanOrEqualToThreshold":
                return value >= self.threshold
            case "LessThanThreshold":
                return value < self.threshold
            case "LessThanOrEqualToThreshold":
                return value <= self.threshold
        raise AssertionError(f"{self.comparison} is none of the comparisons that are known here")


def judge(rule: Rule, values: Sequence[float | None], state: State) -> State:
    """The state after these periods, oldest first and None where there is no value; `state` is that before.

    With as many values as periods to evaluate, the newest of them decide, and how missing ones are treated
    does not matter. With fewer, all of them count, and as few missing ones as are needed.
    """
    bad = [rule.breached_by(value) for value in values if value is not None][-rule.evaluation_periods :]
    filled = rule.evaluation_periods - len(bad)
    counted = sum(bad) + (filled if rule.missing == "breaching" else 0)
    if counted >= rule.datapoints_to_alarm:
        return State.ALARM
    if not filled or rule.missing in ("breaching", "notBreaching") or not all(bad):
        return State.OK
    # Nothing but bad values, too few to decide: or none at all.
    if rule.missing == "ignore":
        return state
    if not bad:
        return State.INSUFFICIENT_DATA
    oldest = next(at for at, value in enumerate(values) if value is not None)
    return State.ALARM if len(values) - oldest >= rule.datapoints_to_alarm else state


class Evaluator:
    """Looks at stored alarms."""

    def __init__(self, cloudwatch: Any) -> None:
        self._cloudwatch = cloudwatch

    def alarms(self, prefix: str) -> dict[str, dict[str, Any]]:
        """What DescribeAlarms tells, by the alarm's name without the prefix."""
        pages = self._cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix)
        found = [alarm for page in pages for alarm in page["MetricAlarms"]]
        return {alarm["AlarmName"].removeprefix(prefix): alarm for alarm in found}

    def value(self, alarm: dict[str, Any], begin: datetime, end: datetime) -> float | None:
        """The alarm's statistic of its metric over that time, as one period."""
        if not self.is_known(alarm):
            return None
        statistic = alarm["Statistic"]
        points = self._cloudwatch.get_metric_statistics(
            Namespace=alarm["Namespace"],
            MetricName=alarm["MetricName"],
            Dimensions=alarm["Dimensions"],
            StartTime=begin,
            EndTime=end,
            Period=60 * math.ceil((end - begin).total_seconds() / 60),
            Statistics=[statistic],
        )["Datapoints"]
        assert len(points) <= 1, points
        return float(points[0][statistic]) if points else None

    def is_known(self, alarm: dict[str, Any]) -> bool:
        """Whether there is a metric with exactly these dimensions: moto would add up those with more."""
        named = {key: alarm[key] for key in ("Namespace", "MetricName")}
        pages = self._cloudwatch.get_paginator("list_metrics").paginate(**named)
        wanted = {(one["Name"], one["Value"]) for one in alarm["Dimensions"]}
        return any(
            {(one["Name"], one["Value"]) for one in metric["Dimensions"]} == wanted
            for page in pages
            for metric in page["Metrics"]
        )

    def periods(self, alarm: dict[str, Any], at: datetime) -> list[tuple[datetime, datetime]]:
        """Those that are looked at then, oldest first; the one that has begun is not over."""
        length = timedelta(seconds=alarm["Period"])
        ends = datetime.fromtimestamp(at.timestamp() // alarm["Period"] * alarm["Period"], UTC)
        count = alarm["EvaluationPeriods"] + _MORE_PERIODS
        return [(ends - length * back, ends - length * (back - 1)) for back in range(count, 0, -1)]

    def state(self, alarm: dict[str, Any], at: datetime) -> tuple[State, float | None]:
        """The state at a moment, over the alarm's own periods, and the newest value."""
        values = [self.value(alarm, begin, end) for begin, end in self.periods(alarm, at)]
        return judge(Rule.of(alarm), values, State(alarm["StateValue"])), values[-1]

    def state_within(
        self, alarm: dict[str, Any], begin: datetime, end: datetime
    ) -> tuple[State, float | None]:
        """The state, and the value, if all that time were one period and that alone decided.

        So that nobody waits for minutes: whether enough periods are bad is `judge`'s part, and tested there.
        """
        rule = replace(Rule.of(alarm), evaluation_periods=1, datapoints_to_alarm=1)
        value = self.value(alarm, begin, end)
        return judge(rule, [value], State(alarm["StateValue"])), value
