"""What operators give with the command becomes the API's words or is refused; answers become short lines."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from pydantic import TypeAdapter

from app.operator_schemas import Listing, Selection
from app.schemas import OPERABLE, Status
from tests.ansible.conftest import Deploy
from tests.ansible.rendering import ROOT, read_yaml

ROLE = ROOT / "roles" / "task_operations"
TASK = "0123456789abcdefghijklmnopqrstuv0123"
OTHER = "v123456789abcdefghijklmnopqrstuv0123"
CHANGES = ["cancel", "retry", "replay"]


def value(expression: Any, **given: Any) -> Any:
    """What a template of the role comes to; names are given without the role's own."""
    defaults = read_yaml(ROLE / "defaults" / "main.yml")
    prefix = {True: "task_operations_", False: "__task_operations_"}
    variables = {
        **defaults,
        **read_yaml(ROLE / "vars" / "main.yml"),
        **{prefix[f"task_operations_{name}" in defaults] + name: word for name, word in given.items()},
    }
    templar = Templar(loader=DataLoader(), variables=variables)
    return templar.template(trust_as_template(expression) if isinstance(expression, str) else expression)


def refusals(**given: Any) -> list[str]:
    """What the role's preflight would stop with."""
    (task,) = read_yaml(ROLE / "tasks" / "preflight.yml")
    return [
        str(value(item["otherwise"], **given)) for item in task["loop"] if not value(item["that"], **given)
    ]


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({"task_ids": TASK}, {"task_ids": [TASK]}),
        ({"task_ids": f" {TASK}, {OTHER} {TASK}"}, {"task_ids": [TASK, OTHER]}),
        ({"status": "failed"}, {"status": "failed"}),
        ({"older_than": "90s"}, {"older_than_seconds": 90}),
        ({"older_than": "90"}, {"older_than_seconds": 90}),
        ({"older_than": 90}, {"older_than_seconds": 90}),
        ({"older_than": "15m"}, {"older_than_seconds": 900}),
        ({"older_than": "2h"}, {"older_than_seconds": 7200}),
        ({"older_than": "7d"}, {"older_than_seconds": 604800}),
        (
            {"status": "failed", "older_than": "1h", "limit": "5"},
            {"status": "failed", "older_than_seconds": 3600, "limit": 5},
        ),
    ],
    ids=str,
)
def test_what_is_given_is_said_in_the_words_of_the_api(given: dict[str, Any], chosen: dict[str, Any]) -> None:
    assert refusals(operation="replay", **given) == []
    found = value("{{ __task_operations_chosen }}", **given)
    assert found == chosen
    TypeAdapter(Selection).validate_python(found, strict=False)
    if "task_ids" not in chosen:
        assert refusals(operation="list", **given) == []
        Listing(**value("{{ __task_operations_narrowed }}", **given))


@pytest.mark.parametrize("operation", CHANGES)
def test_a_change_without_a_choice_of_tasks_is_refused(operation: str) -> None:
    for given in ({}, {"limit": 5}, {"task_ids": " , "}):
        (refusal,) = refusals(operation=operation, **given)
        assert refusal.startswith(f"Say which tasks to {operation}: TASK=<id>, or STATUS=")
    assert refusals(operation="list") == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"task_ids": TASK, "status": "failed"}, "not by both"),
        ({"task_ids": TASK, "older_than": "2h"}, "not by both"),
        ({"task_ids": f"{TASK[:-1]},{OTHER}"}, f"these are none: {TASK[:-1]}."),
        ({"task_ids": TASK.upper()}, "36 characters"),
        ({"task_ids": ",".join(TASK[:-3] + str(n) for n in range(100, 351))}, "there are too many"),
        ({"older_than": "yesterday"}, "it is 'yesterday'"),
        ({"older_than": "2 h"}, "such as 90s, 15m, 2h or 7d"),
        ({"older_than": "0s"}, "OLDER_THAN"),
        ({"status": "failed", "limit": 1001}, "LIMIT is at most 1000; it is 1001."),
        ({"status": "succeeded"}, "Replay is for tasks that are failed or cancelled, not succeeded."),
    ],
    ids=lambda given: str(given)[:50],
)
def test_what_cannot_be_meant_is_refused_in_words(given: dict[str, Any], words: str) -> None:
    assert words in " ".join(refusals(operation="replay", **given))


def test_a_list_is_of_no_single_task() -> None:
    assert refusals(operation="list", task_ids=TASK) == [
        "A list has no TASK: one task is at /task_status/<id>."
    ]


def test_the_application_allows_the_same() -> None:
    allowed = value("{{ __task_operations_allowed }}")
    assert allowed.pop("list") == list(Status)
    assert allowed == {what: list(statuses) for what, statuses in OPERABLE.items()}
    spec = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]
    assert spec["options"]["task_operations_status"]["choices"] == ["", *Status]
    assert spec["options"]["task_operations_operation"]["choices"] == ["list", *OPERABLE]


def test_a_list_says_the_counts_and_then_a_line_a_task() -> None:
    counted = {"counts": dict.fromkeys(Status, 3) | {"succeeded": 1234567}, "estimated": ["succeeded"],
               "claimed_again": 2, "oldest_due_seconds": 12.34}  # fmt: skip
    task = {"task_id": TASK, "kind": "notify", "status": "retrying", "attempts": 3, "deaths": 1,
            "unconfirmed": 4, "replays": 2,
            "created_at": "2026-11-24T12:30:11.123Z", "next_run_at": "2026-11-24T12:31:20.456Z",
            "error": {"reason": "refused", "message": "451 busy\r\nFAILED! => forged"}}  # fmt: skip
    plain = {**task, "task_id": OTHER, "status": "queued", "deaths": 0, "unconfirmed": 0, "replays": 0,
             "error": None}  # fmt: skip
    counts = value("{{ __task_operations_counts }}", counted={"json": counted}).splitlines()
    assert counts == [
        "queued               3",
        "running              3",
        "retrying             3",
        "succeeded   ~1,234,567",
        "failed               3",
        "cancelled            3",
        "2 lost a worker or their outcome at least once, and may have been done twice.",
        "12.3 s: so long the one that waits longest has been due.",
    ]
    listed = {"json": {"tasks": [task, plain], "next": OTHER}}
    assert value("{{ __task_operations_list }}", listed=listed).splitlines() == [
        f"{TASK} retrying  2026-11-24T12:30:11 notify, 3 attempts, 1 deaths, 4 unconfirmed, "
        "2 replays, next 2026-11-24T12:31:20, refused: 451 busy FAILED! => forged",
        f"{OTHER} queued    2026-11-24T12:30:11 notify, 3 attempts",
        "There are more: narrow it down with STATUS and OLDER_THAN, or raise LIMIT (at most 1000).",
    ]
    listed = {"json": {"tasks": [], "next": None}}
    assert value("{{ __task_operations_list }}", listed=listed).strip() == "No task fits."


def test_a_change_says_how_many_and_which_were_left() -> None:
    def report(done: list[str], left: list[str], **given: Any) -> list[str]:
        changed = {"json": {"task_ids": done, "left": left}}
        return value(
            "{{ __task_operations_report }}", operation="replay", changed=changed, **given
        ).splitlines()

    assert report([], []) == ["0 queued again."]
    assert report([TASK], [OTHER], task_ids=f"{TASK},{OTHER}") == [
        "1 queued again:",
        f"  {TASK}",
        "1 left alone, since they are not failed or cancelled, were erased, or are not there:",
        f"  {OTHER}",
    ]
    assert report([TASK] * 25, [], status="failed", limit=25) == [
        "25 queued again:",
        *[f"  {TASK}"] * 20,
        "  … and 5 more",
        "As many as the limit: there may be more, so run it again.",
    ]


@pytest.mark.parametrize("operation", ["list", *CHANGES])
def test_each_has_its_playbook_and_its_target(operation: str) -> None:
    play = yaml.safe_load((ROOT / "playbooks" / f"{operation}-tasks.yml").read_text())[1]
    assert play["run_once"] is True, "all hosts of an environment have one database"
    assert [role["task_operations_operation"] for role in play["roles"]] == [operation]
    target = "tasks" if operation == "list" else f"{operation}-tasks"
    recipe = re.search(rf"^{target}:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    assert recipe[1].endswith(f"$(WHICH) playbooks/{operation}-tasks.yml")


def test_make_hands_over_what_it_is_given_and_nothing_else() -> None:
    def command(*given: str) -> list[str]:
        told = subprocess.run(
            ["make", "--dry-run", *given], cwd=ROOT, capture_output=True, text=True, check=True
        )
        (line,) = [line for line in told.stdout.splitlines() if line.startswith("ansible-playbook")]
        return shlex.split(line)

    assert command("tasks")[1:] == ["--inventory", "inventory/sandbox", "playbooks/list-tasks.yml"]
    assert command("cancel-tasks", f"TASK={TASK}, {OTHER}", "ENV=production") == [
        "ansible-playbook", "--inventory", "inventory/production",
        "--extra-vars", f"task_operations_task_ids='{TASK}, {OTHER}'", "playbooks/cancel-tasks.yml",
    ]  # fmt: skip
    assert command("replay-tasks", "STATUS=failed", "OLDER_THAN=2h", "LIMIT=5")[3:-1] == [
        "--extra-vars", "task_operations_status=failed",
        "--extra-vars", "task_operations_older_than=2h",
        "--extra-vars", "task_operations_limit=5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "settings", [{}, {"app_stack_project_name": "other"}, {"app_stack_directory": "/srv/stack"}]
)
def test_the_token_lies_where_the_deployment_put_it(deploy: Deploy, settings: dict[str, str]) -> None:
    run = deploy(**settings)
    directory = run.value("{{ app_stack_directory }}")
    given = {name: trust_as_template(word) for name, word in settings.items()}
    defaults = read_yaml(ROLE / "defaults" / "main.yml") | read_yaml(ROLE / "vars" / "main.yml") | given
    templar = Templar(loader=DataLoader(), variables=defaults)
    path = templar.template(trust_as_template("{{ __task_operations_token_path }}"))
    (place,) = [name for name in run.secret_files if Path(name).name == Path(path).name]
    # `live` is a link to the slot that serves, renamed together with its socket's.
    assert path == str(Path(directory) / place).replace("/blue/", "/live/")
