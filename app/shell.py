"""`python -m app.shell`: a Python prompt with the application's code, its settings and its database.

As whom the application itself connects: rows can be changed here, tables cannot.
"""

import code
import readline
import rlcompleter
import sys

from sqlalchemy import select, text

from app import process
from app.db.models import counters, tasks, workers
from app.db.session import Database
from app.settings import DatabaseSettings

BANNER = """Release {release} of {environment}. What is done here is done to its data.
There are settings, database, select, text, and the tables tasks, workers and counters:
>>> with database.connection() as c: c.execute(select(tasks.c.id, tasks.c.status).limit(5)).all()"""


def main() -> int:
    """Ends with its input."""
    settings = process.begin(DatabaseSettings)
    # For people and their thinking, not for requests.
    database = Database(settings.model_copy(update={"database_timeout_seconds": 10.0}), pool_size=1)
    names = {
        "settings": settings,
        "database": database,
        "select": select,
        "text": text,
        "tasks": tasks,
        "workers": workers,
        "counters": counters,
    }
    readline.set_completer(rlcompleter.Completer(names).complete)
    readline.parse_and_bind("tab: complete")
    banner = BANNER.format(release=settings.release, environment=settings.environment)
    code.interact(banner=banner, local=names, exitmsg="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
