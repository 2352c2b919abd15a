"""The stand-in's rules are CloudWatch's: the examples of its user guide, and what alarms here use."""

import pytest

from tests.alarms.evaluator import Rule, State, judge

OK, ALARM, NONE = State.OK, State.ALARM, State.INSUFFICIENT_DATA
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
KEPT = None
VALUES = {"0": 0.0, "X": 2.0, "-": None}


def rule(missing: str, *, bad: int, periods: int, comparison: str = "GreaterThanThreshold") -> Rule:
    return Rule(comparison, 1.0, periods, bad, missing)


# Periods, oldest first: 0 is a good value, X a bad one, - none. Then the state for each treatment.
GUIDE = [
    ("0 - X - X", 3, (OK, OK, OK, OK)),
    ("0 - - - -", 3, (OK, OK, OK, OK)),
    ("- - - - -", 3, (NONE, KEPT, ALARM, OK)),
    ("0 X X - X", 3, (ALARM, ALARM, ALARM, ALARM)),
    ("- - X - -", 3, (ALARM, KEPT, ALARM, OK)),
    ("0 - X - X", 2, (ALARM, ALARM, ALARM, ALARM)),
    ("0 0 X 0 X", 2, (ALARM, ALARM, ALARM, ALARM)),
    ("0 - X - -", 2, (OK, OK, ALARM, OK)),
    ("- - - - 0", 2, (OK, OK, ALARM, OK)),
    ("- - - X -", 2, (ALARM, KEPT, ALARM, OK)),
]


@pytest.mark.parametrize(("periods", "bad", "states"), GUIDE)
@pytest.mark.parametrize("before", State)
def test_the_guides_examples(periods: str, bad: int, states: tuple[State | None, ...], before: State) -> None:
    values = [VALUES[sign] for sign in periods.split()]
    for treatment, state in zip(TREATMENTS, states, strict=True):
        found = judge(rule(treatment, bad=bad, periods=3), values, before)
        assert found == (before if state is KEPT else state), treatment


def test_one_bad_minute_is_not_three_of_five() -> None:
    three_of_five = rule("notBreaching", bad=3, periods=5)
    assert judge(three_of_five, [None] * 6 + [2.0], OK) == OK
    assert judge(three_of_five, [None, None, None, None, 2.0, 2.0, 2.0], OK) == ALARM
    assert judge(three_of_five, [2.0, 2.0, 2.0, 2.0, 0.0, 0.0, 0.0], ALARM) == OK


def test_one_value_too_many_ends_a_silence() -> None:
    silence = rule("breaching", bad=5, periods=5, comparison="LessThanThreshold")
    assert judge(silence, [None] * 7, OK) == ALARM
    assert judge(silence, [None] * 6 + [1.0], ALARM) == OK


@pytest.mark.parametrize(
    ("comparison", "bad_values"),
    [
        ("GreaterThanThreshold", (1.5,)),
        ("GreaterThanOrEqualToThreshold", (1.0, 1.5)),
        ("LessThanThreshold", (0.5,)),
        ("LessThanOrEqualToThreshold", (0.5, 1.0)),
    ],
)
def test_the_threshold_itself(comparison: str, bad_values: tuple[float, ...]) -> None:
    one = rule("missing", bad=1, periods=1, comparison=comparison)
    assert tuple(value for value in (0.5, 1.0, 1.5) if one.breached_by(value)) == bad_values


def test_datapoints_default_to_the_periods() -> None:
    alarm = {"ComparisonOperator": "LessThanThreshold", "Threshold": 1.0, "EvaluationPeriods": 3}
    assert Rule.of(alarm) == Rule("LessThanThreshold", 1.0, 3, 3, "missing")
