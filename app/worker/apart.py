"""A task in a process of its own: poison kills that process, and neither the worker nor its neighbours.

`python -m app.worker.apart` reads {task_id, kind, payload} from standard input and writes what came of it.
"""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from app import kinds, process
from app.deadline import Deadline
from app.errors import PermanentError, TaskError, TransientError, Unconfirmed, WorkerDied
from app.kinds.tools import Tools
from app.mail.mailer import SmtpMailer
from app.settings import WorkerSettings

# One at a time: the container's memory holds one more process, not sixteen.
_turn = threading.Lock()
# Each before its base.
_ERRORS: dict[str, type[TaskError]] = {
    "unconfirmed": Unconfirmed,
    "transient": TransientError,
    "permanent": PermanentError,
}


def work(task_id: str, kind: str, payload: dict[str, Any], *, timeout_seconds: float) -> dict[str, Any]:
    """As kinds.work; raises WorkerDied when the process died, or had to be ended after the timeout."""
    given = json.dumps({"task_id": task_id, "kind": kind, "payload": payload})
    # Waiting counts: the lease is renewed for so long and no longer. Who waited for more than half of it
    # could be ended for want of time, as if it were the one that kills.
    deadline = Deadline(timeout_seconds)
    patience = timeout_seconds / 2
    if not _turn.acquire(timeout=patience):
        raise TransientError("waits_its_turn", f"Others like it ran for {patience:g} s.")
    try:
        ended = _run(given, deadline)
    finally:
        _turn.release()
    if ended.returncode != 0:
        raise WorkerDied(f"Its process ended with code {ended.returncode}.")
    try:
        outcome: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        raise WorkerDied("Its process ended without an answer.") from None
    if "error" in outcome:
        raise _ERRORS[outcome["error"]](outcome["reason"], outcome["message"])
    result: dict[str, Any] = outcome["result"]
    return result


def _run(given: str, deadline: Deadline) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.worker.apart"]
    try:
        # Its log lines go where this process's go.
        return subprocess.run(  # noqa: S603 (our own module)
            command, input=given, stdout=subprocess.PIPE, text=True, timeout=deadline.remaining(), check=False
        )
    except subprocess.TimeoutExpired:
        raise WorkerDied(f"It took longer than {deadline.seconds:g} s and was ended.") from None
    except OSError as error:
        # It has not begun, so nothing died.
        raise TransientError("no_process", f"No process could be started for it: {error}") from error


def main() -> None:
    """Whatever a handler prints must not get between the answer's bytes, so standard output is kept aside."""
    answer, sys.stdout = sys.stdout, sys.stderr
    # Should memory run short, the kernel takes this process first.
    Path("/proc/self/oom_score_adj").write_text("1000")
    settings = process.begin(WorkerSettings)
    given = json.load(sys.stdin)
    outcome: dict[str, Any]
    try:
        outcome = {"result": kinds.work(**given, tools=Tools(SmtpMailer(settings), settings.mail_from))}
    except TaskError as error:
        name = next(name for name, kind in _ERRORS.items() if isinstance(error, kind))
        outcome = {"error": name, "reason": error.reason, "message": str(error)}
    answer.write(json.dumps(outcome))


if __name__ == "__main__":
    main()
