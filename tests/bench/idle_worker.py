"""The project's worker with nothing to do for a task: what is measured is then the way, not the mail."""

from app import process
from app.kinds import HANDLERS, notify
from app.settings import WorkerSettings
from app.worker import main

HANDLERS[notify.KIND] = lambda task_id, payload, tools: {}

if __name__ == "__main__":
    main.run(process.begin(WorkerSettings))
