"""`python -m app.flower`: Flower on a socket for nginx, which asks for the password; it only shows.

Started from here and not by its command line, which would have the broker's password among its arguments.
"""

import os
import signal
from pathlib import Path
from typing import Any

from flower.app import Flower
from flower.options import options
from flower.urls import settings as flower_settings
from tornado.ioloop import IOLoop

from app import broker, process
from app.settings import FlowerSettings

_SOCKET = Path("/run/app/flower.sock")
# What it keeps in memory; older tasks are in the database.
_MAX_TASKS = 5000
_MAX_WORKERS = 50
# Workers have their release in their name, so each deployment leaves names behind.
_FORGET_WORKER_SECONDS = 600


def main() -> None:
    """Serves until SIGTERM."""
    settings = process.begin(FlowerSettings)
    # tornado parses its options lazily; this marks them as parsed, with nothing from the command line.
    options.parse_command_line(["flower"], final=True)
    # Its API as well: nginx asks for the password on every path, and read_only refuses any change.
    os.environ["FLOWER_UNAUTHENTICATED_API"] = "true"
    options.unix_socket = str(_SOCKET)
    options.read_only = True
    options.max_tasks = _MAX_TASKS
    options.max_workers = _MAX_WORKERS
    options.purge_offline_workers = _FORGET_WORKER_SECONDS
    _SOCKET.unlink(missing_ok=True)
    flower = Flower(capp=broker.celery_app(settings), options=options, **flower_settings)

    def stop(*_: Any) -> None:
        IOLoop.current().add_callback_from_signal(flower.stop)

    signal.signal(signal.SIGTERM, stop)
    flower.start_http_server()
    flower.start()


if __name__ == "__main__":
    main()
