"""The table of settings in instructions.md says what the roles declare."""

import re
from typing import Any

import pytest
import yaml

from tests.repo.tree import ROOT

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
ROW = re.compile(r"^\| `(?P<name>[a-z0-9_]+)` \| (?P<default>(?:[^|\\]|\\\|)+) \| .+ \|$", re.MULTILINE)


def shown(option: dict[str, Any]) -> str:
    """A default as the table writes it."""
    if "default" not in option:
        return "**required**"
    value = option["default"]
    if value in ("", {}, []):
        return "empty"
    words = str(value).lower() if isinstance(value, bool) else str(value)
    # A bar would end the table's cell.
    return f"`{words.replace('|', chr(92) + '|')}`"


@pytest.mark.parametrize("role", ROLES)
def test_the_table_has_every_setting_and_its_default(role: str) -> None:
    spec = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())
    declared = {name: shown(option) for name, option in spec["argument_specs"]["main"]["options"].items()}
    section = (ROOT / "instructions.md").read_text().split(f"### {role}\n", 1)[1].split("\n#", 1)[0]
    assert {row["name"]: row["default"] for row in ROW.finditer(section)} == declared
