"""Which migration this release's code was written for, read from the files, without Alembic."""

import re
from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"
_FILES = sorted((MIGRATIONS / "versions").glob("[0-9]*_*.py"))
_CONTRACTS = re.compile(r"^contracts = True$", re.MULTILINE)


def revision(path: Path) -> str:
    """The revision that a migration's file brings."""
    return path.name.split("_", 1)[0]


HEAD = revision(_FILES[-1])


def floor() -> str:
    """The newest migration that took something away: releases written for an earlier one no longer work."""
    return max(
        [revision(_FILES[0]), *(revision(path) for path in _FILES if _CONTRACTS.search(path.read_text()))]
    )
