"""The containers' health check, within their limits: a path on a unix socket, or a file that is fresh.

python -m app.probe /run/app/blue.sock /health
python -m app.probe --file /tmp/worker-alive --max-age-seconds 30
"""

import argparse
import http.client
import socket
import sys
import time
from pathlib import Path

_TIMEOUT_SECONDS = 4


class _SocketConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT_SECONDS)
        self.sock.connect(self.host)


def ask(socket_path: str, path: str) -> str:
    """What is wrong with the answer; empty when it is 200."""
    connection = _SocketConnection(socket_path)
    try:
        connection.request("GET", path, headers={"Host": "localhost"})
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        return f"{socket_path}: {error}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"{path} answered {answer.status}"


def age(path: Path, max_age_seconds: float) -> str:
    """What is wrong with the file's age; empty when it is fresh."""
    try:
        seconds = time.time() - path.stat().st_mtime
    except OSError as error:
        return str(error)
    return "" if seconds <= max_age_seconds else f"{path} was last touched {seconds:.0f} s ago"


def main() -> int:
    """Exit code 0: healthy."""
    parser = argparse.ArgumentParser(prog="python -m app.probe")
    parser.add_argument("socket", nargs="?")
    parser.add_argument("path", nargs="?", default="/health")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--max-age-seconds", type=float, default=30)
    given = parser.parse_args()
    if (given.socket is None) == (given.file is None):
        parser.error("name either a socket or a --file")
    problem = ask(given.socket, given.path) if given.socket else age(given.file, given.max_age_seconds)
    sys.stdout.write(f"{problem or 'healthy'}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
