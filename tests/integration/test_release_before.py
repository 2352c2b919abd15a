"""The release before works with today's schema, beside today's code: both serve while one follows the other,
and going back leaves the schema as it is.

The release before is the last commit with another schema, so its code is the oldest that may meet this one.
"""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.db.schema import HEAD
from tests.integration.conftest import Mailbox
from tests.integration.machine import ROOT, Machine, final, free_port, post, run


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application's code before the newest migration came, from git: this needs the history."""
    (newest,) = (ROOT / "app" / "db" / "migrations" / "versions").glob(f"{HEAD}_*.py")
    brought = run("git", "-C", ROOT, "log", "-1", "--diff-filter=A", "--format=%H", "--", newest)
    commit = f"{brought}^" if brought else "HEAD"
    directory = tmp_path_factory.mktemp("before")
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit, "app"], capture_output=True, check=True)
    subprocess.run(["tar", "--extract", "--directory", directory], input=archive.stdout, check=True)
    assert not list(directory.glob(f"app/db/migrations/versions/{HEAD}_*.py"))
    return directory


@pytest.mark.parametrize(
    ("api_of", "worker_of"), [("before", "before"), ("before", "now"), ("now", "before")]
)
def test_old_and_new_work_side_by_side(
    started: Machine, mailbox: Mailbox, before: Path, api_of: str, worker_of: str
) -> None:
    places = {"before": before, "now": ROOT}
    port = free_port()
    api_process = start(started, places[api_of], "api", "--port", str(port))
    worker = start(started, places[worker_of], "worker", SMTP_PORT=str(mailbox.port))
    api_process.says("Uvicorn running")
    worker.says(" ready.")
    token = (started.directory / "secrets" / "app_operator_token").read_text()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as api:
        api.headers["Authorization"] = f"Bearer {token}"
        use(api, mailbox)
        assert api.get("/health/ready").json()["checks"]["schema"]["ok"]
    for process in (worker, api_process):
        process.end()
    assert "Traceback" not in api_process.log.read_text() + worker.log.read_text()


def start(machine: Machine, place: Path, module: str, *arguments: str, **settings: str):  # type: ignore[no-untyped-def]
    """`python -m app.<module>` of the code that lies there."""
    over = {f"APP_{name}": value for name, value in settings.items()}
    return machine.spawn(
        module, "env", "-C", str(place), sys.executable, "-m", f"app.{module}", *arguments, **over
    )


def use(api: httpx.Client, mailbox: Mailbox) -> None:
    """Every query that people and operators cause."""
    key = {"Idempotency-Key": "0123456789abcdef"}
    answers = [api.post("/notify/", json={"email": "a@example.com"}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["task_id"] == answers[1].json()["task_id"]
    mailbox.answers = {"later@example.com": ["451 later"], "never@example.com": ["550 no"]}
    ids = {name: post(api, f"{name}@example.com") for name in ("later", "never", "at-once")}
    ends = {name: final(api, task_id)["status"] for name, task_id in ids.items()}
    assert ends == {"later": "succeeded", "never": "failed", "at-once": "succeeded"}
    replayed = api.post("/tasks/replay", json={"task_ids": [ids["never"]]})
    assert replayed.status_code == 200, replayed.text
    assert final(api, ids["never"])["status"] == "succeeded"
    for question in ("/tasks/counts", "/tasks?status=succeeded&limit=10"):
        assert api.get(question).status_code == 200
