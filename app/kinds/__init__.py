"""The kinds of task. A new kind is a module with an input schema and a handler, and a line here."""

from typing import Any

import structlog

from app.errors import TaskError, TransientError
from app.kinds import notify
from app.kinds.tools import Handler, Tools

log = structlog.get_logger()

HANDLERS: dict[str, Handler] = {notify.KIND: notify.handle}


def work(task_id: str, kind: str, payload: dict[str, Any], tools: Tools) -> dict[str, Any]:
    """Does one task and returns its result. Whatever goes wrong is a TransientError or a PermanentError."""
    handler = HANDLERS.get(kind)
    if handler is None:
        # While a release is rolled out, an older worker may meet a newer kind.
        raise TransientError("unknown_kind", f"This release does not know the kind {kind}.")
    try:
        return handler(task_id, payload, tools)
    except TaskError:
        raise
    except Exception as error:
        # A fault of ours may be mended by the next release before the attempts are used up.
        log.exception("task.broke", task_id=task_id, kind=kind)
        raise TransientError("internal_error", "Something went wrong here and was logged.") from error
