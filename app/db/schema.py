"""Which migration this release's code was written for, read from the names of the files, without Alembic."""

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = max(path.name.split("_", 1)[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))
