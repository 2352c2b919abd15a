"""What playbooks/check-drift.yml says at its end: all that differs from what was deployed, and a verdict.

The verdict is the exit code, too: 0 clean, 3 drifted; 2 (a task failed) and 4 (a host did not answer), as
ever with Ansible, mean that not everything could be looked at. In every other playbook this keeps still.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: drift
type: notification
short_description: Says what differs from what was deployed
description:
  - Only of playbooks/check-drift.yml, in check mode, after all else that Ansible says.
"""

PLAYBOOK = "check-drift.yml"
ROOT = Path(__file__).resolve().parents[2]
CLEAN, FAILED, DRIFTED, UNREACHABLE = 0, 2, 3, 4
# A file that is gone is all difference; its first lines are enough.
LONGEST_DETAIL = 10
# What `command` and `shell` say where they would have been run. Ansible calls them skipped, not changed.
WOULD_HAVE_RUN = "Command would have run if not in check mode"


@dataclass(frozen=True)
class Difference:
    """One thing that would be changed, on which host and by which task."""

    host: str
    task: str
    item: str
    details: tuple[str, ...]


def details(result: Mapping[str, Any], diff: str) -> list[str]:
    """A few words on what differs: a diff's lines, or what the module says instead."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", diff).splitlines()
    found = [line for line in plain if re.match(r"[+-](?!-- before|\+\+ after)", line)]
    found = found or [
        f"{action.get('what')} {action.get('id')}: {action.get('status')}"
        for action in result.get("actions") or []
    ]
    unit = result.get("status")
    if not found and isinstance(unit, Mapping) and "ActiveState" in unit:
        found = [f"the unit is {unit['ActiveState']}, {unit.get('UnitFileState')}"]
    if not found and isinstance(result.get("msg"), str):
        found = result["msg"].splitlines()
    if len(found) > LONGEST_DETAIL:
        found = [*found[:LONGEST_DETAIL], f"… and {len(found) - LONGEST_DETAIL} more lines"]
    return found


def report(differences: list[Difference]) -> list[str]:
    """The list as it is shown: a host, below it what differs there."""
    lines = []
    for host in dict.fromkeys(difference.host for difference in differences):
        lines.append(f"{host}:")
        for difference in (one for one in differences if one.host == host):
            lines.append(f"  {difference.task}" + (f" => {difference.item}" if difference.item else ""))
            lines += [f"      {line}" for line in difference.details]
    return lines


def unseen(stats: Any) -> list[str]:
    """The hosts that could not be looked at; a failure that was rescued is counted down again."""
    return [host for host, count in {**stats.failures, **stats.dark}.items() if count]


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible ships no types
    """Collects what Ansible tells of each task, and sums it up."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "drift"

    def __init__(self) -> None:
        super().__init__()
        self.differences: list[Difference] = []
        self.reasons: dict[str, str] = {}
        self.silent: set[str] = set()
        self.looked = 0

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self.disabled = Path(playbook._file_name).name != PLAYBOOK

    def v2_runner_on_ok(self, result: Any) -> None:
        # The items of a loop came before, each by itself.
        if not result.task.loop:
            self.v2_runner_item_on_ok(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self.looked += 1
        if result.is_changed():
            self.note(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        if not result.task.loop:
            self.v2_runner_item_on_skipped(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        # A command that never changes anything is a question, which check mode leaves out.
        if result.result.get("msg") == WOULD_HAVE_RUN and result.task.changed_when != [False]:
            self.note(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        # What is said of a whole loop says less than what was said of its item.
        if not (result.task.loop and result.host.get_name() in self.reasons):
            self.v2_runner_item_on_failed(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        # The last one counts: a rescue says in better words what went wrong before it.
        self.reasons[result.host.get_name()] = f"{result.task.get_name()}: {self.words(result)}"

    def v2_runner_on_unreachable(self, result: Any) -> None:
        # Also where the next task says so in better words, and is what failed.
        self.silent.add(result.host.get_name())
        self.reasons[result.host.get_name()] = f"it does not answer: {self.words(result)}"

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._display.banner("DRIFT")
        for line in report(self.differences):
            self._display.display(line)
        for host in unseen(stats):
            self._display.display(f"Could not look at all of {host}. {self.reasons.get(host, '')}")
        code, words = self.verdict(stats)
        self._display.display(words)
        # The only way for a callback to choose the exit code; and so these are the last words.
        raise SystemExit(code)

    def verdict(self, stats: Any) -> tuple[int, str]:
        """The exit code and what it means."""
        if unseen(stats) or not self.looked:
            words = "Could not look at everything: whether there is more is not known."
            return (UNREACHABLE if self.silent.intersection(unseen(stats)) else FAILED), words
        if self.differences:
            many = "1 difference" if len(self.differences) == 1 else f"{len(self.differences)} differences"
            return DRIFTED, (
                f"Drifted: {many} (- is there, + was deployed). To mend them, deploy; to keep one, write it"
                " into the inventory or the roles."
            )
        return CLEAN, f"Clean: none of {self.looked} tasks would change anything."

    def note(self, result: Any) -> None:
        """Remember one difference; of a task that hides its output only the task and its place are known."""
        task = result.task
        place = Path(str(task.get_path()))
        if place.is_relative_to(ROOT):
            place = place.relative_to(ROOT)
        hidden = "censored" in result.result
        known = details(result.result, self._get_diff(result.result.get("diff") or []))
        self.differences.append(
            Difference(
                host=result.host.get_name(),
                task=task.get_name(),
                item="" if hidden else str(self._get_item_label(result.result) or ""),
                details=tuple(known or [f"see {place}"]),
            )
        )

    @staticmethod
    def words(result: Any) -> str:
        """Why it failed, as far as it may be shown."""
        told = result.result.get("msg") or result.result.get("censored") or "no reason given"
        return " ".join(str(told).split())
