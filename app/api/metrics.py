"""GET /metrics: the whole system's figures in Prometheus' format, whichever process counted them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from itertools import accumulate

import redis
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app.api.dependencies import Given
from app.broker import QUEUE, redis_client
from app.errors import ServiceUnavailable
from app.schemas import problems
from app.services import counting
from app.services.counting import Figures
from app.settings import BrokerSettings
from app.tally import Counter, Timing, bucket_keys, sum_key

router = APIRouter()

_PREFIX = "steadfast_"
_REDIS_WAIT_SECONDS = 1.5
# Redis is asked while the database is. Few threads: questions to a frozen Redis must not pile up.
_askers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="metrics")

MEANING: dict[Counter | Timing, str] = {
    Counter.TASKS_ACCEPTED: "Tasks stored for good.",
    Counter.TASKS_SUCCEEDED: "Tasks whose work was done: the mail server took the mail.",
    Counter.TASKS_FAILED: "Tasks that ended without success.",
    Counter.TASKS_RETRIED: "Attempts that did not succeed and are followed by another.",
    Counter.TASKS_CLAIMED_AGAIN: "Claims of tasks that had perhaps been done before: possible duplicates.",
    Counter.TASKS_REPUBLISHED: "Ids that the relay published: due retries, and what was lost on the way.",
    Counter.SUBMISSIONS_SHED: "Submissions refused (503) because accepted tasks wait for too long.",
    Timing.ACCEPT_SECONDS: "From the beginning of POST /notify/ to its 202.",
    Timing.TASK_SECONDS: "From a task's acceptance to its success.",
    Timing.ATTEMPT_SECONDS: "The work of one attempt alone, however it ended.",
}


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=problems(ServiceUnavailable),
    summary="Tell the system's figures, in Prometheus' format",
)
def metrics(given: Given) -> Response:
    asked = _askers.submit(queue_depth, given.settings)
    figures = counting.read(given.figures_database)
    try:
        depth = asked.result(_REDIS_WAIT_SECONDS)
    except FutureTimeoutError:
        depth = None
    headers = {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
    return Response(exposition(figures, depth), headers=headers)


def queue_depth(settings: BrokerSettings) -> int | None:
    """How many ids wait in Redis; None: it does not answer, or not in time."""
    try:
        with redis_client(settings) as client:
            return int(client.llen(QUEUE))
    except (redis.RedisError, OSError):
        return None


def exposition(figures: Figures, depth: int | None) -> bytes:
    """The text; `depth` is of the queue in Redis."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([*_counters(figures), *_histograms(figures), *_gauges(figures, depth)]))
    return generate_latest(registry)


class _Once(Collector):
    """Hands the library what was found, for one answer."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _counters(figures: Figures) -> Iterator[Metric]:
    for counter in Counter:
        # From the first moment: a counter that begins to be there later hides its first step.
        number = figures.counted.get((counter.value, ""), 0)
        yield CounterMetricFamily(_PREFIX + counter, MEANING[counter], value=number)


def _histograms(figures: Figures) -> Iterator[Metric]:
    for timing in Timing:
        # Another release may have had other bounds; each bucket's own count makes them fit together.
        bounds = {bound for _, bound in bucket_keys(timing)}
        bounds |= {bound for name, bound in figures.counted if name == timing}
        ordered = sorted(bounds, key=float)
        numbers = accumulate(figures.counted.get((timing.value, bound), 0) for bound in ordered)
        total = figures.counted.get(sum_key(timing), 0)
        buckets = list(zip(ordered, numbers, strict=True))
        yield HistogramMetricFamily(_PREFIX + timing, MEANING[timing], buckets=buckets, sum_value=total)


def _gauges(figures: Figures, depth: int | None) -> Iterator[Metric]:
    def gauge(name: str, meaning: str, value: float) -> Metric:
        return GaugeMetricFamily(_PREFIX + name, meaning, value=value)

    yield gauge("redis_up", "Whether Redis answered.", int(depth is not None))
    if depth is not None:
        yield gauge("queue_depth", "Ids that wait in Redis.", depth)
    tasks = GaugeMetricFamily(
        f"{_PREFIX}tasks", f"Tasks of each status, up to {counting.COUNTED_UP_TO}.", labels=["status"]
    )
    for status, number in figures.tasks.items():
        tasks.add_metric([status.value], number)
    yield tasks
    yield gauge(
        "oldest_due_task_seconds", "For how long the oldest due task has waited.", figures.oldest_due_seconds
    )
    silent = counting.WORKER_SILENT_SECONDS
    yield gauge("workers", f"Workers seen in the last {silent} s.", figures.workers)
    if figures.worker_seen_seconds is not None:
        yield gauge("worker_seen_seconds", "Since a worker was last seen.", figures.worker_seen_seconds)
