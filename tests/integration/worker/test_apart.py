"""A process for one task: its answer comes back as if it had been given here, and its death as WorkerDied."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from app.errors import PermanentError, TransientError, Unconfirmed, WorkerDied
from app.worker import apart
from tests.integration.conftest import Mailbox
from tests.integration.machine import Machine

TASK_ID = "0" * 36
PAYLOAD = {"email": "someone@example.com", "message": "Grüße"}


@pytest.fixture
def ready(parts: Machine, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    """A worker's environment, whose mail server is the mailbox."""
    monkeypatch.setenv("APP_SMTP_PORT", str(mailbox.port))
    return mailbox


def test_the_work_is_done_there(ready: Mailbox) -> None:
    result = apart.work(TASK_ID, "notify", PAYLOAD, timeout_seconds=20)
    assert result == {"message_id": f"<{TASK_ID}@example.com>", "answer": "250 taken as 42"}
    assert len(ready.to("someone@example.com")) == 1


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        ("451 later", TransientError, "put_off_by_mail_server"),
        ("550 no", PermanentError, "refused_by_mail_server"),
    ],
)
def test_a_failure_comes_back_as_what_it_is(
    ready: Mailbox, answer: str, error: type[Exception], reason: str
) -> None:
    ready.answers["someone@example.com"] = [answer]
    with pytest.raises(error, match=answer) as raised:
        apart.work(TASK_ID, "notify", PAYLOAD, timeout_seconds=20)
    assert type(raised.value) is error
    assert raised.value.reason == reason  # type: ignore[attr-defined]


def test_what_is_unconfirmed_there_is_so_here(ready: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_SMTP_TIMEOUT_SECONDS", "0.6")
    ready.delay_seconds = 2
    with pytest.raises(Unconfirmed, match="may have taken") as raised:
        apart.work(TASK_ID, "notify", PAYLOAD, timeout_seconds=20)
    assert raised.value.reason == "mail_unconfirmed"


def test_who_waits_for_its_turn_keeps_half_of_its_time_for_itself(ready: Mailbox) -> None:
    ready.delay_seconds = 3
    done: list[dict[str, object]] = []
    first = threading.Thread(
        target=lambda: done.append(apart.work(TASK_ID, "notify", PAYLOAD, timeout_seconds=20))
    )
    first.start()
    time.sleep(0.2)
    began = time.monotonic()
    with pytest.raises(TransientError) as raised:
        apart.work("1" * 36, "notify", PAYLOAD, timeout_seconds=2)
    assert raised.value.reason == "waits_its_turn"
    assert time.monotonic() - began < 1.5
    first.join()
    assert len(done) == 1
    assert len(ready.to("someone@example.com")) == 1


def test_no_process_is_no_death(ready: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(TransientError) as raised:
        apart.work(TASK_ID, "notify", PAYLOAD, timeout_seconds=20)
    assert raised.value.reason == "no_process"


@pytest.fixture
def deadly(ready: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Whatever is written there runs at the start of the process."""
    hook = tmp_path / "sitecustomize.py"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return hook


def test_its_death_is_told_and_harms_nobody_here(deadly: Path) -> None:
    deadly.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(WorkerDied, match="-9"):
        apart.work(TASK_ID, "notify", PAYLOAD, timeout_seconds=20)


def test_one_that_hangs_is_ended(deadly: Path) -> None:
    deadly.write_text("import time\ntime.sleep(60)\n")
    begun = time.monotonic()
    with pytest.raises(WorkerDied, match="longer than 1 s"):
        apart.work(TASK_ID, "notify", PAYLOAD, timeout_seconds=1)
    assert time.monotonic() - begun < 5


def test_what_is_printed_there_does_not_spoil_the_answer(deadly: Path) -> None:
    deadly.write_text(
        "import app.kinds.notify as notify\n"
        "original = notify.render\n"
        "def loud(*given, **named):\n    print('hello')\n    return original(*given, **named)\n"
        "notify.render = loud\n"
    )
    assert apart.work(TASK_ID, "notify", PAYLOAD, timeout_seconds=20)["answer"] == "250 taken as 42"
