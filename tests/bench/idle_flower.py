"""Flower as the stack has it, on a socket at another place: python -m tests.bench.idle_flower PATH"""

import sys
from pathlib import Path

from app import flower

if __name__ == "__main__":
    flower._SOCKET = Path(sys.argv[1])
    flower.main()
