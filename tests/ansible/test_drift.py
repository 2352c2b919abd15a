"""What playbooks/check-drift.yml says and ends with, seen on small plays under its name.

They are really run: nothing else shows what a callback gets, and which exit code comes of it.
"""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.ansible.rendering import ROOT
from tests.aws import operator

PLUGINS = ROOT / "playbooks" / "callback_plugins"
HOSTS = """
stack:
  hosts:
    app-1: {ansible_connection: local}
    app-2: {ansible_connection: local}
"""
Look = Callable[..., tuple[int, str]]

# What Ansible's modules answered in check mode, cut to what is read of it.
COMPOSE = {
    "actions": [
        {"id": "steadfast-worker_blue-1", "status": "Starting", "what": "container"},
        {"id": "steadfast-worker_blue-1", "status": "Started", "what": "container"},
    ],
    "changed": True,
}
SERVICE = {
    "changed": True,
    "name": "docker.service",
    "status": {"ActiveState": "inactive", "UnitFileState": "disabled"},
}
DIFF = (
    "\x1b[0;31m--- before: ./nginx.conf\x1b[0m\n\x1b[0;32m+++ after: ./nginx.conf\x1b[0m\n"
    "@@ -1,3 +1,3 @@\n http {\n\x1b[0;31m-    gzip off;\x1b[0m\n\x1b[0;32m+    gzip on;\x1b[0m\n }\n"
)


@pytest.fixture(scope="session")
def drift() -> ModuleType:
    """The callback as a module."""
    spec = importlib.util.spec_from_file_location("drift", PLUGINS / "drift.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["drift"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Runs a play in check mode, under the name of check-drift.yml: exit code and what was said."""

    def run(tasks: str, *arguments: str, name: str = "check-drift.yml") -> tuple[int, str]:
        (tmp_path / "hosts.yml").write_text(HOSTS)
        play = f"- hosts: stack\n  gather_facts: false\n  tasks:\n{tasks}"
        (tmp_path / name).write_text(play.replace("DIRECTORY", str(tmp_path)))
        return ansible(tmp_path / "hosts.yml", tmp_path / name, "--check", "--diff", *arguments)

    return run


def ansible(inventory: Path, playbook: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a playbook, with the callback in reach wherever the playbook lies."""
    done = operator.run(
        "ansible-playbook", "-i", inventory, playbook, *arguments,
        home=inventory.parent,
        ANSIBLE_CALLBACK_PLUGINS=str(PLUGINS),
        # As `make drift` has it.
        ANSIBLE_DISPLAY_OK_HOSTS="false",
        ANSIBLE_PYTHON_INTERPRETER=sys.executable,
    )  # fmt: skip
    return done.status, done.output


def summary(output: str) -> list[str]:
    """What is said below the banner: to the end, so that the verdict is what stays on the screen."""
    _, _, said = output.partition("\nDRIFT ***")
    return said.splitlines()[1:]


@pytest.mark.parametrize(
    ("result", "diff", "words"),
    [
        ({}, DIFF, ["-    gzip off;", "+    gzip on;"]),
        (COMPOSE, "", [f"container steadfast-worker_blue-1: {word}" for word in ("Starting", "Started")]),
        (SERVICE, "", ["the unit is inactive, disabled"]),
        ({"msg": "3f2a would be released in slot green."}, "", ["3f2a would be released in slot green."]),
        ({"msg": ["no", "text"]}, "", []),
        ({"censored": "the output has been hidden", "changed": True}, "", []),
    ],
    ids=["a diff", "containers", "a unit", "a message", "an odd message", "hidden"],
)
def test_what_differs_is_said_in_a_few_words(
    drift: ModuleType, result: dict[str, Any], diff: str, words: list[str]
) -> None:
    assert drift.details(result, diff) == words


def test_a_long_difference_is_cut(drift: ModuleType) -> None:
    found = drift.details({}, "--- before\n+++ after\n" + "".join(f"+line {n}\n" for n in range(30)))
    assert found == [*(f"+line {n}" for n in range(10)), "… and 20 more lines"]


def test_the_list_goes_by_hosts(drift: ModuleType) -> None:
    one = drift.Difference("app-1", "app_stack : render | Write", "./redis.conf", ("-a", "+b"))
    two = drift.Difference("app-2", "app_stack : release | Start", "", ("worker: Started",))
    assert drift.report([one, two, drift.Difference("app-1", "x : y | Z", "", ())]) == [
        "app-1:",
        "  app_stack : render | Write => ./redis.conf",
        "      -a",
        "      +b",
        "  x : y | Z",
        "app-2:",
        "  app_stack : release | Start",
        "      worker: Started",
    ]


CLEAN = """
    - {name: Make nothing new, ansible.builtin.file: {path: DIRECTORY, state: directory}}
    - {name: Ask what check mode leaves out, ansible.builtin.command: "true", changed_when: false}
    - {name: Say what waits, ansible.builtin.set_stats: {data: {nginx: it waits}, per_host: true}}
    - {name: Leave it, ansible.builtin.shell: "true", changed_when: true, when: false}
    - {name: Leave all, ansible.builtin.command: "{{ item }}", changed_when: true, loop: [a, b], when: false}
"""


def test_clean_is_said_and_ends_with_0(look: Look) -> None:
    status, output = look(CLEAN)
    assert summary(output) == ["Clean: none of 4 tasks would change anything."], output
    assert re.search(r"app-1: .*it waits", output)
    assert status == 0


DRIFTED = """
    - name: Write both
      ansible.builtin.copy:
        dest: "DIRECTORY/{{ item.name }}"
        content: "{{ item.content }}"
        mode: "0644"
      loop: [{name: one, content: "as deployed\\n"}, {name: two, content: "the same\\n"}]
      loop_control: {label: "{{ item.name }}"}
      delegate_to: app-1
      run_once: true
    - name: Write the secret
      ansible.builtin.copy: {dest: "DIRECTORY/secret", content: "pa55word", mode: "0400"}
      no_log: true
      diff: false
      when: inventory_hostname == 'app-2'
    - name: Reload it
      ansible.builtin.shell: "true"
      changed_when: true
      when: inventory_hostname == 'app-2'
"""


def test_what_drifted_is_listed_and_ends_with_3(look: Look, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("by hand\n")
    (tmp_path / "two").write_text("the same\n")
    (tmp_path / "two").chmod(0o644)
    (tmp_path / "one").chmod(0o644)
    (tmp_path / "secret").write_text("other")

    status, output = look(DRIFTED)

    *listed, verdict = summary(output)
    assert listed == [
        "app-1:",
        "  Write both => one",
        "      -by hand",
        "      +as deployed",
        "app-2:",
        "  Write the secret",
        f"      see {tmp_path}/check-drift.yml:14",
        "  Reload it",
        "      Command would have run if not in check mode",
    ]
    assert verdict.startswith("Drifted: 3 differences")
    assert "pa55word" not in output
    assert (tmp_path / "one").read_text() == "by hand\n", "nothing was changed"
    assert status == 3


FAILING = """
    - {name: Reach it, ansible.builtin.ping: }
    - name: Start them
      when: inventory_hostname == 'app-2'
      block:
        - {name: Try, ansible.builtin.fail: {msg: "in a module's words"}}
      rescue:
        - {name: Say what to do, ansible.builtin.fail: {msg: "Look at the log."}}
    - {name: Announce, ansible.builtin.debug: {msg: would be released}, changed_when: true}
"""


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "Could not look at all of app-2. Say what to do: Look at the log."),
        (
            ("-e", "ansible_connection=ssh", "-e", "ansible_host=127.0.0.1", "-e", "ansible_port=1"),
            4,
            "Could not look at all of app-1. it does not answer: ",
        ),
    ],
    ids=["a task failed", "a host did not answer"],
)
def test_what_could_not_be_looked_at_is_no_drift(
    look: Look, arguments: tuple[str, ...], status: int, words: str
) -> None:
    found, output = look(FAILING, *arguments)
    said = summary(output)
    assert any(line.startswith(words) for line in said), output
    assert said[-1].startswith("Could not look at everything")
    assert found == status
    # What was seen of the others is told all the same.
    assert ("      would be released" in said) == (status == 2)


# As roles/app_stack/tasks/check.yml does it.
ASKED_FIRST = """
    - name: Ask it
      ansible.builtin.raw: "true"
      check_mode: false
      register: answer
      failed_when: false
      ignore_unreachable: true
    - name: Refuse it
      ansible.builtin.assert: {that: "answer.rc | default(1) == 0", fail_msg: It gives no answer.}
"""


def test_a_host_that_does_not_answer_is_none_where_a_task_failed(look: Look) -> None:
    arguments = ("-e", "ansible_connection=ssh", "-e", "ansible_host=127.0.0.1", "-e", "ansible_port=1")
    status, output = look(ASKED_FIRST, *arguments)
    assert "Could not look at all of app-1. Refuse it: It gives no answer." in summary(output)
    assert status == 4


def test_a_look_at_nothing_is_not_clean(look: Look) -> None:
    status, output = look(CLEAN, "--tags", "misspelt")
    assert summary(output)[-1].startswith("Could not look at everything")
    assert status == 2


def test_other_playbooks_end_as_ever(look: Look) -> None:
    status, output = look(DRIFTED, name="site.yml")
    assert "DRIFT" not in output
    assert status == 0


@pytest.mark.parametrize("arguments", [(), ("--tags", "app_stack")], ids=["whole", "in part"])
def test_without_check_mode_nothing_is_begun(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "hosts.yml").write_text(HOSTS)
    status, output = ansible(tmp_path / "hosts.yml", ROOT / "playbooks" / "check-drift.yml", *arguments)
    assert status == 2
    assert "check-drift.yml only looks. Run it with --check --diff" in output
    assert output.count("TASK [") <= 2, output
    assert "PLAY [Install" not in output
    assert "PLAY [Make the images" not in output
