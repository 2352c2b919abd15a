"""The table of settings in instructions.md says what the roles declare."""

import re
from decimal import Decimal
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


def test_a_first_production_takes_six_values_at_most() -> None:
    table = (ROOT / "instructions.md").read_text().split("### 1. What only you know\n", 1)[1].split("\n\n")[0]
    asked = re.findall(r"^\| `(\w+)` \| `(\w+\.yml)`", table, re.MULTILINE)
    assert 0 < len(asked) <= 6
    for name, file in asked:
        text = (ROOT / "inventory" / "production" / "group_vars" / "all" / file).read_text()
        assert re.search(rf"^{name}:", text, re.MULTILINE), f"{name} waits in {file} to be filled in"


def test_the_costs_add_up_and_count_every_alarm() -> None:
    text = (ROOT / "instructions.md").read_text().split("## What it costs\n", 1)[1]
    months = re.findall(r"^\| [^*|]+ \| [^|]+ \| ([\d.]+) \| [^|]+ \|$", text, re.MULTILINE)
    assert len(months) > 10
    (total,) = re.findall(r"^\| \*\*sum, before mails\*\* \| \| \*\*([\d.]+)\*\* \| \|$", text, re.MULTILINE)
    assert sum(map(Decimal, months)) == Decimal(total)
    (smallest,) = re.findall(r"first\nseven lines are left: \*\*([\d.]+)\*\*", text)
    assert sum(map(Decimal, months[:7])) == Decimal(smallest)
    monitoring = yaml.safe_load((ROOT / "roles/aws_monitoring/vars/main.yml").read_text())
    assert (
        f"| CloudWatch, {len(monitoring['__aws_monitoring_alarms'])} alarms, of which 10 are free |" in text
    )


@pytest.mark.parametrize("role", ROLES)
def test_the_table_has_every_setting_and_its_default(role: str) -> None:
    spec = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())
    declared = {name: shown(option) for name, option in spec["argument_specs"]["main"]["options"].items()}
    section = (ROOT / "instructions.md").read_text().split(f"### {role}\n", 1)[1].split("\n#", 1)[0]
    assert {row["name"]: row["default"] for row in ROW.finditer(section)} == declared
