"""The stand-in for metric filters means by a pattern what CloudWatch Logs means."""

import pytest

from tests.alarms.stand_in import matches

BROKEN = '{ ($.status >= 500) && ($.path != "/ready") }'


@pytest.mark.parametrize(
    ("pattern", "line", "expected"),
    [
        ('{ $.event = "api.alive" }', '{"event": "api.alive", "at": "now"}', True),
        ('{ $.event = "api.alive" }', '{"event": "api.alive.not"}', False),
        ('{ $.event = "api.alive" }', "api.alive", False),
        ('{ $.event = "api.alive" }', '"api.alive"', False),
        (BROKEN, '{"status": 503, "path": "/notify/"}', True),
        (BROKEN, '{"status": 503, "path": "/ready"}', False),
        (BROKEN, '{"status": 202, "path": "/notify/"}', False),
        # A field that is not there meets no condition.
        (BROKEN, '{"status": 503}', False),
        ("{ $.status < 499 }", '{"status": 404}', True),
        ("{ $.status < 499 }", '{"status": 499}', False),
    ],
)
def test_a_line_is_meant_or_not(pattern: str, line: str, expected: bool) -> None:
    assert matches(pattern, line) is expected


@pytest.mark.parametrize(
    "pattern", ["ERROR", '{ $.a = "b" || $.c = "d" }', "{ $.a IS NULL }", "{ $.a.b = 1 }"]
)
def test_a_pattern_that_it_does_not_know_is_refused(pattern: str) -> None:
    with pytest.raises(AssertionError):
        matches(pattern, "{}")
