"""Everything settable is declared once, with meaning and type; what repeats it says the same."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.amazon.aws.plugins.modules import cloudwatchlogs_log_group

from tests.ansible.rendering import ROLES, ROOT

INVENTORIES = sorted(path.name for path in (ROOT / "inventory").iterdir())
# Files of group_vars/all that belong to no role: prefix -> reason.
NO_ROLES = {"sandbox": "the stand-ins of molecule/sandbox; nothing in a role may read them"}


def read(path: Path) -> Any:
    """YAML as it stands, nothing templated."""
    return yaml.safe_load(path.read_text()) if path.exists() else None


def role_path(role: str) -> Path:
    """roles/<role>."""
    return ROOT / "roles" / role


def options(role: str) -> dict[str, dict[str, Any]]:
    """What the role's specification declares."""
    spec = read(role_path(role) / "meta" / "argument_specs.yml")["argument_specs"]
    assert set(spec) == {"main"}, "one entry point has settings"
    return dict(spec["main"]["options"])


def defaults(role: str) -> dict[str, Any]:
    """defaults/main.yml."""
    return dict(read(role_path(role) / "defaults" / "main.yml") or {})


def code(role: str) -> str:
    """All that uses the role's variables: its own files, and the stack's template at the root."""
    folders = ("tasks", "handlers", "vars", "templates", "files")
    found = [f for folder in folders for f in sorted((role_path(role) / folder).rglob("*")) if f.is_file()]
    # A test that loads a role's program may leave its bytecode there.
    files = [file for file in found if file.parent.name != "__pycache__"]
    if role == "app_stack":
        files.append(ROOT / "docker-compose.yml.j2")
    return "\n".join(file.read_text() for file in files)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_of_the_specification(role: str) -> None:
    declared = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert defaults(role) == declared
    assert list(defaults(role)) == list(declared), "in the specification's order"


@pytest.mark.parametrize("role", ROLES)
def test_every_option_says_what_it_is(role: str) -> None:
    for name, option in options(role).items():
        assert name.startswith(f"{role}_"), name
        assert option.get("description"), name
        assert option.get("type"), name
        assert ("default" in option) != (option.get("required") is True), (
            f"{name}: required, or with a default"
        )


@pytest.mark.parametrize("role", ROLES)
def test_every_default_has_its_line_of_comment(role: str) -> None:
    lines = (role_path(role) / "defaults" / "main.yml").read_text().splitlines() if defaults(role) else []
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r"\w+:", line) and not before.startswith("# ")
    ]
    assert bare == []


@pytest.mark.parametrize("role", ["app_stack", "aws_environment", "aws_monitoring"])
def test_lines_are_kept_for_so_many_days_as_their_module_takes(role: str) -> None:
    # Of another number it says so, after it has deleted the group with all its lines.
    taken = re.search(r"permited_values = (\[.+\])", inspect.getsource(cloudwatchlogs_log_group))
    assert taken
    assert options(role)[f"{role}_log_retention_days"]["choices"] == json.loads(taken[1])


@pytest.mark.parametrize(
    ("role", "name"),
    [("app_stack", "app_stack_aws_connection"), ("aws_environment", "aws_environment_connection")],
)
def test_a_profile_is_chosen_where_the_inventory_sees_it_too(role: str, name: str) -> None:
    # Variables reach neither its plugin nor the program through which ssh goes.
    description = " ".join(options(role)[name]["description"])
    assert "AWS_PROFILE" in description
    assert "profile," not in description


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_of_a_role_is_used(role: str) -> None:
    used = set(re.findall(r"\w+", code(role)))
    assert set(options(role)) - used == set()
    internal = set(read(role_path(role) / "vars" / "main.yml") or {})
    assert {name for name in internal if len(re.findall(rf"\b{name}\b", code(role))) < 2} == set()


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_that_a_role_reads_is_declared_or_made(role: str) -> None:
    text = code(role)
    made = set(re.findall(rf"^ +(?:register: )?({role}_\w+)(?::|$)", text, re.MULTILINE))
    names = set(re.findall(rf"(?<![\w./]){role}_[a-z0-9_]+\b(?![/.]\w+\.(?:yml|j2))", text))
    # Tags, and the step's own name in a path, are words of the same form.
    tags = set(re.findall(rf"tags: \[?({role}_\w+)\]?", text))
    assert names - set(options(role)) - made - tags == set()


def inventory_files() -> list[Path]:
    """Every file of variables of every inventory."""
    return sorted(
        path
        for path in (ROOT / "inventory").rglob("*.yml")
        if path.parent.name == "all" or "_vars" in path.parent.name
    )


@pytest.mark.parametrize("path", inventory_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_inventory_sets_what_no_role_declares(path: Path) -> None:
    keys = set(read(path) or {})
    if path.stem in NO_ROLES:
        assert {key for key in keys if not key.startswith(f"{path.stem}_")} == set()
    else:
        assert path.stem in ROLES, "one file a role"
        assert keys - set(options(path.stem)) == set()


@pytest.mark.parametrize("environment", INVENTORIES)
def test_hosts_carry_connection_variables_only(environment: str) -> None:
    def variables(node: Any) -> set[str]:
        found: set[str] = set()
        if isinstance(node, dict):
            found |= set(node.get("vars") or {})
            for hosts in (node.get("hosts") or {}).values():
                found |= set(hosts or {})
            for child in (node.get("children") or {}).values():
                found |= variables(child)
        return found

    groups = read(ROOT / "inventory" / environment / "hosts.yml") or {}
    assert set(groups) <= {"all", "stack"}
    for group in groups.values():
        assert {name for name in variables(group) if not name.startswith("ansible_")} == set()


@pytest.mark.parametrize("environment", INVENTORIES)
def test_every_inventory_sets_what_has_no_default(environment: str) -> None:
    files = (ROOT / "inventory" / environment / "group_vars" / "all").glob("*.yml")
    keys = {key for path in files for key in read(path) or {}}
    required = {name for role in ROLES for name, option in options(role).items() if option.get("required")}
    assert required - keys == set()


@pytest.mark.parametrize("role", ROLES)
def test_no_role_reads_a_variable_of_the_sandbox(role: str) -> None:
    assert re.findall(r"\bsandbox_\w+", code(role)) == []
