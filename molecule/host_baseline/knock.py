"""Says which of the doors open: `knock.py '{"name": ["address to come from", "address", port], …}'`."""

import json
import socket
import sys


def opens(source: str, address: str, port: int) -> bool:
    """Whether a connection comes about within a second and a half."""
    try:
        socket.create_connection((address, port), timeout=1.5, source_address=(source, 0)).close()
    except OSError:
        return False
    return True


json.dump([name for name, door in json.loads(sys.argv[1]).items() if opens(*door)], sys.stdout)
