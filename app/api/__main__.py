"""`python -m app.api`: uvicorn on the slot's socket; `--port` for a TCP port of this machine instead."""

import argparse
from pathlib import Path

import uvicorn

from app import process
from app.api.main import create_app
from app.settings import ApiSettings

_SOCKETS = Path("/run/app")
# With the closing after it, within the container's grace: a request is bounded by the database's deadline, so
# this is plenty.
DRAIN_SECONDS = 15


def main() -> None:
    """Serves until SIGTERM, then finishes what it has begun."""
    parser = argparse.ArgumentParser(prog="python -m app.api")
    parser.add_argument("--port", type=int, help="listen on this TCP port of 127.0.0.1 instead of the socket")
    port = parser.parse_args().port
    settings = process.begin(ApiSettings)
    where: dict[str, object] = {"host": "127.0.0.1", "port": port}
    if port is None:
        socket = _SOCKETS / f"{settings.colour}.sock"
        # One that a killed process left behind would be in the way.
        socket.unlink(missing_ok=True)
        where = {"uds": str(socket)}
    uvicorn.run(
        create_app(settings),
        **where,  # type: ignore[arg-type]
        loop="uvloop",
        http="httptools",
        access_log=False,
        server_header=False,
        log_config=None,
        # On a socket only nginx can connect, and it says who the client is.
        forwarded_allow_ips="*",
        timeout_graceful_shutdown=DRAIN_SECONDS,
        lifespan="on",
    )


if __name__ == "__main__":
    main()
