"""The exposition is what Prometheus reads, and holds everything from the first moment."""

from prometheus_client.parser import text_string_to_metric_families

from app.api import metrics
from app.schemas import Status
from app.services.counting import Figures
from app.tally import Counter, Key, Tally, Timing

NOTHING = Figures({}, {Status.QUEUED: 0, Status.FAILED: 0}, 0.0, None, 0)
Samples = dict[tuple[str, str], float]


def told(figures: Figures, depth: int | None) -> Samples:
    """Each sample's value, by its name and its one label."""
    text = metrics.exposition(figures, depth).decode()
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation.endswith(".") for family in families)
    return {
        (sample.name.removeprefix("steadfast_"), "".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def counted(*seconds: float, timing: Timing = Timing.TASK_SECONDS) -> dict[Key, float]:
    tally = Tally()
    for one in seconds:
        tally.observe(timing, one)
    return tally.take()


def test_every_name_has_its_meaning() -> None:
    assert set(metrics.MEANING) == {*Counter, *Timing}


def test_what_never_happened_is_a_zero_and_what_nobody_knows_is_not_there() -> None:
    samples = told(NOTHING, None)
    for counter in Counter:
        assert samples[(f"{counter}_total", "")] == 0
    for timing in Timing:
        assert samples[(f"{timing}_count", "")] == samples[(f"{timing}_bucket", "+Inf")] == 0
    assert samples[("redis_up", "")] == 0
    assert ("queue_depth", "") not in samples
    assert ("worker_seen_seconds", "") not in samples
    assert samples[("workers", "")] == 0


def test_gauges_are_told_as_they_are() -> None:
    figures = Figures({}, {Status.QUEUED: 7, Status.FAILED: 2}, 61.5, 3.25, 2)
    samples = told(figures, 12)
    assert {key: samples[key] for key in [("redis_up", ""), ("queue_depth", ""), ("tasks", "queued")]} == {
        ("redis_up", ""): 1, ("queue_depth", ""): 12, ("tasks", "queued"): 7,
    }  # fmt: skip
    assert samples[("tasks", "failed")] == 2
    assert samples[("oldest_due_task_seconds", "")] == 61.5
    assert (samples[("workers", "")], samples[("worker_seen_seconds", "")]) == (2, 3.25)


def test_buckets_hold_all_that_took_no_longer() -> None:
    samples = told(Figures(counted(0.25, 0.25, 4, 1e9), {}, 0, None, 0), 0)
    assert samples[("task_seconds_bucket", "0.1")] == 0
    assert samples[("task_seconds_bucket", "0.25")] == samples[("task_seconds_bucket", "2.5")] == 2
    assert samples[("task_seconds_bucket", "5.0")] == samples[("task_seconds_bucket", "21600.0")] == 3
    assert samples[("task_seconds_bucket", "+Inf")] == samples[("task_seconds_count", "")] == 4
    assert samples[("task_seconds_sum", "")] == 4.5 + 1e9


def test_another_releases_buckets_and_names_do_no_harm() -> None:
    rows = counted(0.25) | {("task_seconds", "3.0"): 5, ("task_seconds", "1e-05"): 1, ("newer", ""): 1}
    samples = told(Figures(rows, {}, 0, None, 0), 0)
    assert samples[("task_seconds_bucket", "1e-05")] == 1
    assert samples[("task_seconds_bucket", "2.5")] == 2
    assert samples[("task_seconds_bucket", "3.0")] == samples[("task_seconds_count", "")] == 7
    assert ("newer_total", "") not in samples
