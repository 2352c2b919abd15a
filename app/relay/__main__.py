"""`python -m app.relay`: the relay alone, for a host without a worker."""

import signal
import threading

from app import process, relay
from app.db.session import Database
from app.services import counting
from app.settings import RelaySettings


def main() -> None:
    """Runs until SIGTERM."""
    settings = process.begin(RelaySettings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    database = Database(settings, pool_size=2)
    threading.Thread(target=counting.run, args=(database, stop), name="counting", daemon=True).start()
    relay.run(settings, database, stop)
    counting.flush(database)


main()
