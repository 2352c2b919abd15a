"""A migration leaves the release before working; one that takes something away says so."""

import re
from pathlib import Path

import pytest

from app.db import schema

# What only a contraction does, in SQL or by Alembic's operations. An index may go: no query names one.
TAKES_AWAY = re.compile(
    r"DROP +(TABLE|COLUMN|TYPE|VIEW|CONSTRAINT)|\bRENAME\b|SET +NOT +NULL"
    r"|ALTER +COLUMN +\w+ +(SET +DATA +)?TYPE"
    r"|(drop_table|drop_column|drop_constraint|alter_column|rename_table)\(",
    re.IGNORECASE,
)
FILES = sorted((schema.MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def wrong(path: Path) -> list[str]:
    """What a migration takes away without saying so."""
    text = path.read_text()
    says = re.search(r"^contracts = True$", text, re.MULTILINE)
    return [] if says else [found[0] for found in TAKES_AWAY.finditer(text)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_migration_only_adds_or_says_that_it_takes_away(path: Path) -> None:
    assert wrong(path) == [], (
        "expand first; take away with `contracts = True`, once no release that may come back needs it"
    )


@pytest.mark.parametrize(
    "statement",
    ["ALTER TABLE tasks DROP COLUMN kind", "ALTER TABLE tasks RENAME kind TO sort", "drop table workers",
     "ALTER TABLE tasks ALTER COLUMN kind SET NOT NULL", "ALTER TABLE tasks ALTER COLUMN deaths TYPE bigint"],
)  # fmt: skip
def test_what_takes_away_is_seen(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "0006_taken.py"
    path.write_text(f'op.execute("{statement}")\n')
    assert wrong(path)
    path.write_text(f'contracts = True\nop.execute("{statement}")\n')
    assert wrong(path) == []


def test_the_floor_is_the_newest_migration_that_took_something_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"000{number}_x.py" for number in range(1, 5)]
    for number, path in enumerate(files):
        path.write_text("contracts = True\n" if number in (1, 2) else "# contracts = True\n")
    monkeypatch.setattr(schema, "_FILES", files[:1])
    assert schema.floor() == "0001"
    monkeypatch.setattr(schema, "_FILES", files)
    assert schema.floor() == "0003"
    assert FILES[-1].name.startswith(schema.HEAD)
