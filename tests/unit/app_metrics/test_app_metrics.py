"""The program that puts the figures into CloudWatch: what two readings tell, and what they do not."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from botocore.exceptions import EndpointConnectionError

from app.api import metrics
from app.schemas import UNFINISHED, Status
from app.services.counting import Figures
from app.tally import Counter, Tally, Timing

PROGRAM = Path(__file__).parents[3] / "roles" / "app_metrics" / "files" / "app_metrics.py"
UNIT = PROGRAM.parents[1] / "templates" / "app-metrics.service.j2"
# nginx' own page, as its documentation shows it.
STATUS = """Active connections: 291
server accepts handled requests
 16630948 16630948 31070465
Reading: 6 Writing: 179 Waiting: 106
"""


def loaded() -> ModuleType:
    """The program as a module: it lies in a role, and no package."""
    spec = importlib.util.spec_from_file_location("app_metrics", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


program = loaded()


class Application:
    """What /metrics of the real API would tell after what was counted here."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.counted: dict[tuple[str, str], float] = {}

    def text(self, *, oldest_due_seconds: float = 0.0, workers: int = 1, depth: int | None = 0) -> str:
        for key, number in self.tally.take().items():
            self.counted[key] = self.counted.get(key, 0) + number
        figures = Figures(
            counted=dict(self.counted),
            tasks=dict.fromkeys((*UNFINISHED, Status.FAILED), 0),
            oldest_due_seconds=oldest_due_seconds,
            worker_seen_seconds=1.5 if workers else None,
            workers=workers,
        )
        return metrics.exposition(figures, depth).decode()

    def reading(self, **gauges: Any) -> dict[str, float]:
        found: dict[str, float] = program.parse(self.text(**gauges))
        return found


@pytest.fixture
def application() -> Application:
    return Application()


def test_what_came_is_the_difference_of_two_readings(application: Application) -> None:
    application.tally.count(Counter.TASKS_ACCEPTED, 7)
    before = application.reading()
    application.tally.count(Counter.TASKS_ACCEPTED, 5)
    application.tally.count(Counter.TASKS_SUCCEEDED, 3)
    application.tally.count(Counter.TASKS_FAILED)
    values = program.told(application.reading(depth=4, oldest_due_seconds=2.5, workers=2), before)
    assert values["TasksAccepted"] == 5
    assert values["TasksSucceeded"] == 3
    assert values["TasksRetried"] == values["TasksClaimedAgain"] == values["SubmissionsShed"] == 0
    assert values["FailedTaskPercent"] == 25
    assert values["QueueDepth"] == 4
    assert values["OldestDueTaskSeconds"] == 2.5
    assert values["WorkersAlive"] == 2
    assert values["WorkerSeenSeconds"] == 1.5


def test_every_series_that_it_looks_for_is_told_by_the_application(application: Application) -> None:
    told = {series.split("{")[0] for series in application.reading()}
    wanted = {*program.GAUGES.values(), *program.COUNTERS.values()} - {"nginx_requests"}
    assert wanted - told == set()
    assert {f"{name}_bucket" for name in program.PERCENTILES.values()} - told == set()


def test_without_an_earlier_reading_there_are_only_gauges(application: Application) -> None:
    application.tally.count(Counter.TASKS_FAILED)
    assert program.told(application.reading(), {}).keys() == program.GAUGES.keys()


def test_a_counter_that_went_backwards_tells_nothing(application: Application) -> None:
    application.tally.count(Counter.TASKS_ACCEPTED, 7)
    application.tally.observe(Timing.TASK_SECONDS, 1)
    before = application.reading()
    values = program.told(Application().reading(), before)
    assert "TasksAccepted" not in values
    assert "TaskSecondsP95" not in values
    assert values["TasksFailed"] == 0, "those that did not are told as ever"


def test_what_the_application_does_not_know_is_missing(application: Application) -> None:
    values = program.told(application.reading(depth=None, workers=0), {})
    assert "QueueDepth" not in values
    assert "WorkerSeenSeconds" not in values
    assert values["WorkersAlive"] == 0


def test_a_minute_in_which_no_task_ended_has_no_percentage(application: Application) -> None:
    reading = application.reading()
    values = program.told(reading, reading)
    assert "FailedTaskPercent" not in values
    assert "AcceptSecondsP95" not in values


def test_percentiles_are_those_of_what_came_since(application: Application) -> None:
    for _ in range(1000):
        application.tally.observe(Timing.ACCEPT_SECONDS, 2)
    before = application.reading()
    for _ in range(100):
        application.tally.observe(Timing.ACCEPT_SECONDS, 0.02)
    # All are in the bucket from 0.01 to 0.025, even within it.
    p95 = program.told(application.reading(), before)["AcceptSecondsP95"]
    assert p95 == pytest.approx(0.01 + 0.95 * 0.015)


@pytest.mark.parametrize(
    ("share", "bounds", "expected"),
    [
        # Of ten, the 9.5th is at nine tenths of the bucket that holds the last five.
        (0.95, [(1.0, 5.0), (2.0, 10.0), (float("inf"), 10.0)], 1.9),
        (0.5, [(1.0, 5.0), (2.0, 10.0), (float("inf"), 10.0)], 1.0),
        (0.95, [(1.0, 10.0), (2.0, 10.0), (float("inf"), 10.0)], 0.95),
        # An empty bucket in between.
        (0.95, [(1.0, 5.0), (2.0, 5.0), (4.0, 10.0), (float("inf"), 10.0)], 3.8),
        # Longer than the longest bound: nobody knows how long.
        (0.95, [(1.0, 5.0), (2.0, 6.0), (float("inf"), 10.0)], 2.0),
        (0.95, [(1.0, 0.0), (float("inf"), 0.0)], None),
        (0.95, [], None),
    ],
)
def test_a_quantile_is_prometheus(
    share: float, bounds: list[tuple[float, float]], expected: float | None
) -> None:
    assert program.quantile(share, bounds) == (None if expected is None else pytest.approx(expected))


def test_a_release_with_other_buckets_tells_no_percentile_once(application: Application) -> None:
    before = application.reading()
    application.counted["task_seconds", "42.0"] = 3
    assert program.buckets("steadfast_task_seconds", application.reading(), before) == []


def test_requests_are_the_third_number_of_nginx() -> None:
    assert program.requests_of(STATUS) == {"nginx_requests": 31070465.0}
    assert program.requests_of("") == {}


@pytest.mark.parametrize(
    ("kept", "reading"),
    [
        ({"at": 940.0, "reading": {"a": 1.0}}, {"a": 1.0}),
        ({"at": 820.0, "reading": {"a": 1.0}}, {"a": 1.0}),
        ({"at": 819.0, "reading": {"a": 1.0}}, {}),
        # The clock was set back.
        ({"at": 1001.0, "reading": {"a": 1.0}}, {}),
        ({"at": 940.0}, {}),
        ([], {}),
    ],
)
def test_only_a_reading_of_just_now_is_compared_with(
    tmp_path: Path, kept: object, reading: dict[str, float]
) -> None:
    state = tmp_path / "reading.json"
    state.write_text(json.dumps(kept))
    assert program.last_reading(state, 1000.0) == reading


def test_half_a_state_is_none(tmp_path: Path) -> None:
    state = tmp_path / "reading.json"
    assert program.last_reading(state, 1000.0) == {}
    state.write_text('{"at": 94')
    assert program.last_reading(state, 1000.0) == {}


def test_a_certificate_has_so_many_days_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = tmp_path / "tls.crt"
    certificate.write_text(program._NO_FILE)
    assert program.certificate_days_left(certificate, 0.0) == {}
    assert f"SetCredential=tls.crt:{program._NO_FILE}\n" in UNIT.read_text()
    certificate.write_text("no certificate")
    assert program.certificate_days_left(certificate, 0.0) == {}
    assert "openssl cannot read the certificate" in capsys.readouterr().err
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=a -days 30"
    subprocess.run(
        [*make.split(), "-keyout", "/dev/null", "-out", certificate], check=True, capture_output=True
    )
    (days,) = program.certificate_days_left(certificate, program.time.time()).values()
    assert days == pytest.approx(30, abs=0.01)


def test_backups_are_so_old(tmp_path: Path) -> None:
    at = 1_000_000.0
    (tmp_path / "backup.json").write_text(json.dumps({"at": at - 1.5 * 3600, "name": "20261124T031700Z"}))
    (tmp_path / "rehearsal.json").write_text(json.dumps({"at": at - 48 * 3600, "name": "20261122T031700Z"}))
    assert program.backup_ages(tmp_path, at) == {"BackupAgeHours": 1.5, "BackupRehearsalAgeHours": 48}


@pytest.mark.parametrize("noted", ["none", None, "", "{", "[]", "{}", '{"at": null}'])
def test_of_a_backup_that_nothing_or_nonsense_is_noted_of_no_age_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], noted: str | None
) -> None:
    if noted is not None:
        (tmp_path / "backup.json").write_text(noted)
    (tmp_path / "rehearsal.json").write_text('{"at": 0}')
    assert program.backup_ages(tmp_path, 3600.0) == {"BackupRehearsalAgeHours": 1}
    assert ("backup.json does not say when that went well" in capsys.readouterr().err) == (
        noted != program._NO_FILE
    )


def test_the_unit_is_given_what_the_backups_note() -> None:
    unit, directory = UNIT.read_text(), "{{ __app_metrics_backup_directory }}"
    for name in program.AGES.values():
        assert f"LoadCredential={name}:{directory}/{name}\nSetCredential={name}:{program._NO_FILE}\n" in unit
    variables = [PROGRAM.parents[2] / role / "vars" / "main.yml" for role in ("app_metrics", "data_backup")]
    metrics, backup = (yaml.safe_load(path.read_text()) for path in variables)
    assert metrics["__app_metrics_backup_directory"] == backup["__data_backup_state_directory"]


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("AcceptSecondsP95", "Seconds"),
        ("FailedTaskPercent", "Percent"),
        ("Ready", "Count"),
        ("BackupAgeHours", "Count"),
    ],
)
def test_units_are_cloudwatchs_words(metric: str, unit: str) -> None:
    assert program.unit(metric) == unit


class Minute:
    """One run of the program: what answers it, and what it put."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.answers: dict[str, str] = {}
        self.put: list[dict[str, float]] = []
        self.away = False
        self.now = 1_000_000.0
        for name in ("tls.crt", "backup.json", "rehearsal.json"):
            (tmp_path / name).write_text("none")
        monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["app_metrics.py", "steadfast/test"])
        monkeypatch.setattr(program, "answer", lambda path: self.answers.get(path, ""))
        monkeypatch.setattr(program, "put", self._take)
        monkeypatch.setattr(program.time, "time", lambda: self.now)

    def _take(self, namespace: str, values: dict[str, float], at: float) -> None:
        assert namespace == "steadfast/test"
        if self.away:
            raise EndpointConnectionError(endpoint_url="http://nowhere")
        self.put.append(values)

    def pass_by(self) -> int:
        self.now += 60
        status: int = program.main()
        return status


@pytest.fixture
def minute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, application: Application) -> Minute:
    found = Minute(monkeypatch, tmp_path)
    found.answers = {"/ready": "{}", "/metrics": application.text(), "/nginx_status": STATUS}
    return found


def test_each_minute_tells_what_came_in_it(minute: Minute, application: Application) -> None:
    assert minute.pass_by() == 0
    application.tally.count(Counter.TASKS_ACCEPTED, 3)
    minute.answers["/metrics"] = application.text()
    assert minute.pass_by() == 0
    assert minute.put[0]["Ready"] == 1
    assert "TasksAccepted" not in minute.put[0]
    assert minute.put[1]["TasksAccepted"] == 3
    assert minute.put[1]["Requests"] == 0


def test_without_an_answer_it_puts_that_nothing_is_ready_and_no_more(
    minute: Minute, application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    minute.pass_by()
    answers, minute.answers = minute.answers, {}
    assert minute.pass_by() == 1
    assert minute.put[-1] == {"Ready": 0}
    assert "did not answer" in capsys.readouterr().err
    application.tally.count(Counter.TASKS_ACCEPTED, 3)
    minute.answers = answers | {"/metrics": application.text()}
    assert minute.pass_by() == 0
    assert minute.put[-1]["TasksAccepted"] == 3, "since the last answer, which was just two minutes ago"


def test_a_release_that_is_not_ready_is_told_with_its_figures(minute: Minute) -> None:
    del minute.answers["/ready"]
    assert minute.pass_by() == 0
    assert minute.put[-1]["Ready"] == 0
    assert minute.put[-1]["WorkersAlive"] == 1


def test_what_cloudwatch_did_not_take_is_told_a_minute_later(
    minute: Minute, application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    minute.pass_by()
    application.tally.count(Counter.TASKS_ACCEPTED, 3)
    minute.answers["/metrics"] = application.text()
    minute.away = True
    assert minute.pass_by() == 1
    assert "CloudWatch did not take the metrics" in capsys.readouterr().err
    minute.away = False
    assert minute.pass_by() == 0
    assert minute.put[-1]["TasksAccepted"] == 3
