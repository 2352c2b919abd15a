"""The project's own rules for roles and playbooks: those that ansible-lint does not know.

A role is read by names: the line `TASK [role : step | Verb object]` is roles/<role>/tasks/<step>.yml.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ansible.rendering import ROLES, ROOT

PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
# Playbooks that need no host: that check itself, and those that make hosts and remove them.
WITHOUT_HOSTS = {"check-inventory", "provision-aws", "teardown-aws"}
# Roles whose tasks/main.yml is no table of contents.
WITHOUT_STEPS = {"smoke_test": "a few tasks that make sense only together"}
# Entries of a table of contents that are no import.
OTHER_ENTRIES = {
    ("cloudwatch_agent", "meta"): "ends the role where it is switched off",
    ("app_metrics", "meta"): "ends the role where it is switched off",
    ("app_release", "include_tasks"): "all of it runs where the images are built, the host or the controller",
    ("aws_environment", "block"): "one rescue says what AWS's refusals mean, whichever step they stop",
    ("aws_monitoring", "block"): "as of aws_environment",
    ("cloudwatch_agent", "include_tasks"): "a play that changes nothing skips one line instead of eight",
}
# Files that no comment may stand in.
WITHOUT_HEAD = {
    "flower.htpasswd.j2": "nginx reads every line as user:password",
    "*.sh.j2": "a script begins with the program that it is for",
    "users.acl.j2": "Redis refuses a comment in its ACL file",
    "*.json.j2": "JSON has no comments",
}
# A rescue runs whatever tags were asked for: one whose tasks are all skipped would end well.
RESCUES = {("aws_environment", "explain"), ("aws_monitoring", "explain")}
# Exactly these tasks hide their output, because it holds a secret or what one can be found from.
HIDDEN = {
    "aws_environment": {
        "mail | Make the access key",
        "mail | Store the login",
        "parameters | Store new passwords",
        "parameters | Store the mail server's password, which only you know",
        "database | Make it, or mend what differs",
    },
    "app_stack": {
        "certificate | Read what fits what",
        "credentials | Read every parameter below the environment's path",
        "credentials | Name them",
        "read | Read what is on the host",
        "render | Write the secrets",
        "roll | Have the migrator made by the database's master user",
    },
    "credential_rotation": {
        "store | Write the new one",
    },
    "host_state": {"write | Write the files that hold a secret"},
    "task_operations": {
        "ask | Read the operators' token",
        "ask | Count the tasks by status",
        "ask | List the newest that fit",
        "ask | Have it done",
    },
}
KEYWORDS = {
    "name", "when", "register", "loop", "loop_control", "until", "retries", "delay", "timeout", "vars",
    "tags", "notify", "listen", "environment", "changed_when", "failed_when", "check_mode", "no_log", "diff",
    "delegate_to", "delegate_facts", "become", "run_once", "throttle", "module_defaults",
    "block", "rescue", "always", "ignore_unreachable", "any_errors_fatal",
}  # fmt: skip

Task = dict[str, Any]


def read(path: Path) -> Any:
    """YAML as it stands, nothing templated."""
    return yaml.safe_load(path.read_text())


def step_files(role: str) -> list[Path]:
    """Every file of tasks but the table of contents."""
    return sorted(
        path for path in (ROOT / "roles" / role / "tasks").rglob("*.yml") if path.name != "main.yml"
    )


def flat(tasks: list[Task]) -> Iterator[Task]:
    """Every task, those in blocks too, and the blocks."""
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from flat(task.get(part, []))


def module(task: Task) -> str:
    """The module's name without its collection, or "block"."""
    names = set(task) - KEYWORDS
    assert len(names) <= 1, f"{task.get('name')}: {names}"
    return names.pop().rpartition(".")[2] if names else "block"


def all_tasks(role: str) -> list[tuple[Path, Task]]:
    """Every task and handler of a role, with its file."""
    folder = ROOT / "roles" / role
    files = sorted(path for part in ("tasks", "handlers") for path in (folder / part).rglob("*.yml"))
    return [(path, task) for path in files for task in flat(read(path) or [])]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_its_papers(role: str) -> None:
    folder = ROOT / "roles" / role
    for path in ("README.md", "meta/argument_specs.yml", "defaults/main.yml", "tasks/main.yml"):
        assert (folder / path).is_file(), path
    assert (folder / "README.md").read_text().startswith(f"# {role}\n")
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", role)


@pytest.mark.parametrize("role", [role for role in ROLES if role not in WITHOUT_STEPS])
def test_main_is_a_table_of_contents(role: str) -> None:
    path = ROOT / "roles" / role / "tasks" / "main.yml"
    assert len(path.read_text().splitlines()) <= 40
    for task in flat(read(path)):
        assert task["name"], task
        if (role, module(task)) in OTHER_ENTRIES:
            continue
        assert module(task) == "import_tasks", task["name"]
        tags = [task["tags"]] if isinstance(task["tags"], str) else task["tags"]
        stem = Path(task["ansible.builtin.import_tasks"]).stem
        expected = ["always"] if (role, stem) in RESCUES else [stem]
        assert tags in (expected, [f"{role}_{stem}"]), f"{task['name']}: one tag, the step's name"


@pytest.mark.parametrize("role", ROLES)
def test_every_step_file_is_reached(role: str) -> None:
    text = "\n".join(path.read_text() for path in sorted((ROOT / "roles" / role).rglob("*.yml")))
    playbooks = "\n".join(path.read_text() for path in PLAYBOOKS)
    for path in step_files(role):
        named = re.search(rf"\b{path.name}\b", text) or f"tasks_from: {path.stem}" in playbooks
        assert named, f"{path.name}: nobody imports it"


@pytest.mark.parametrize("role", ROLES)
def test_step_files_are_short_and_their_tasks_name_them(role: str) -> None:
    for path in step_files(role):
        assert len(path.read_text().splitlines()) <= 120, path.name
        for task in flat(read(path)):
            if "block" in task and "name" not in task:
                continue
            assert re.match(rf"{path.stem} \| [A-Z]", task.get("name", "")), (
                f"{path.name}: {task.get('name')}"
            )


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_keeps_to_itself_is_named_so(role: str) -> None:
    outputs = outputs_of(role)
    for path, task in all_tasks(role):
        names = {task["register"]} if "register" in task else set()
        # Ansible's own, which chooses the Python of a task; and what another role is told.
        told = task.get("ansible.builtin.import_role", {}).get("name", role)
        names |= {
            name
            for name in set(task.get("vars", {})) - {"ansible_python_interpreter"}
            if told == role or not name.startswith(f"{told}_")
        }
        if module(task) == "set_fact":
            names |= set(task["ansible.builtin.set_fact"]) - {"cacheable"}
        for name in names - outputs:
            assert name.startswith(f"__{role}_"), f"{path.name}: {name}"
    variables = ROOT / "roles" / role / "vars" / "main.yml"
    for name in read(variables) or {} if variables.exists() else {}:
        assert name.startswith(f"__{role}_"), name


def outputs_of(role: str) -> set[str]:
    """The facts that a role's specification says it sets for the roles after it."""
    spec = read(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]["main"]
    description = spec.get("description", [])
    sentences = [description] if isinstance(description, str) else description
    return {
        name for s in sentences if s.startswith("Sets the facts") for name in re.findall(rf"\b{role}_\w+", s)
    }


@pytest.mark.parametrize("role", ROLES)
def test_every_command_says_whether_it_changes_something(role: str) -> None:
    for path, task in all_tasks(role):
        if module(task) in ("command", "shell", "script", "raw"):
            arguments = next(value for key, value in task.items() if key not in KEYWORDS)
            looks_first = isinstance(arguments, dict) and {"creates", "removes"} & set(arguments)
            assert "changed_when" in task or looks_first, f"{path.name}: {task['name']}"


@pytest.mark.parametrize("role", ROLES)
def test_modules_are_called_by_their_full_names(role: str) -> None:
    # A role's own has no other name than its file's.
    own = {path.stem for path in (ROOT / "roles" / role / "library").glob("*.py")}
    for path, task in all_tasks(role):
        for name in set(task) - KEYWORDS - own:
            assert name.count(".") == 2, f"{path.name}: {name}"


@pytest.mark.parametrize("role", ROLES)
def test_exactly_the_tasks_with_secrets_hide_their_output(role: str) -> None:
    hidden = {task["name"] for _, task in all_tasks(role) if task.get("no_log")}
    assert hidden == HIDDEN.get(role, set())
    for path, task in all_tasks(role):
        own = {key: value for key, value in task.items() if key not in ("block", "rescue", "always", "when")}
        if re.search(
            r"__app_stack_(credentials|parameters(?!\.keys)|secret_files|master)\b", str(own.values())
        ):
            assert task.get("no_log") is True, f"{path.name}: {task['name']}"
        if task.get("no_log") and module(task) in ("copy", "template"):
            assert task.get("diff") is False, f"{path.name}: {task['name']}: --diff would show it"


@pytest.mark.parametrize("role", ROLES)
def test_files_get_their_mode_in_quotes(role: str) -> None:
    for path in sorted((ROOT / "roles" / role).rglob("*.yml")):
        bare = [
            line for line in path.read_text().splitlines() if re.search(r"\b(directory_)?mode: *[0-9]", line)
        ]
        assert bare == [], path.name


@pytest.mark.parametrize("role", ROLES)
def test_templates_say_who_writes_them(role: str) -> None:
    for path in sorted((ROOT / "roles" / role / "templates").rglob("*.j2")):
        if not any(path.match(pattern) for pattern in WITHOUT_HEAD):
            assert "{{ ansible_managed }}" in path.read_text().splitlines()[0], path.name


def test_the_stack_says_who_writes_it() -> None:
    assert "{{ ansible_managed }}" in (ROOT / "docker-compose.yml.j2").read_text().splitlines()[0]


def test_site_is_a_few_imports_with_a_line_of_comment_each() -> None:
    text = (ROOT / "site.yml").read_text()
    for play in read(ROOT / "site.yml"):
        assert set(play) == {"name", "import_playbook"}
    for entry in text.strip().split("\n\n"):
        assert re.fullmatch(r"# .+\n- name: .+\n  import_playbook: playbooks/[a-z-]+\.yml", entry), entry


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_is_hosts_and_roles(path: Path) -> None:
    # Its tasks, if any, only open roles (at another door than main.yml, or within the deployment's lock), or
    # refuse what no role could know.
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", path.stem), "verb-noun"
    for play in read(path):
        if "import_playbook" in play:
            continue
        assert {"name", "hosts"} <= set(play)
        assert ("roles" in play) != ("tasks" in play), play["name"]
        for task in play.get("tasks", []):
            for part in flat([task]):
                assert module(part) in ("include_role", "import_role", "assert", "block"), part["name"]


@pytest.mark.parametrize(
    "path", [p for p in PLAYBOOKS if p.stem not in WITHOUT_HOSTS], ids=lambda path: path.stem
)
def test_a_playbook_first_refuses_an_inventory_without_a_host(path: Path) -> None:
    assert read(path)[0]["import_playbook"] == "check-inventory.yml"
