"""The verdict on one trial, from what clients were answered, what the mail server got and what the rows say.

Nothing of the application is asked here but the rows' marks: whether something was delivered, and how often,
is the mail server's word, which is not under test.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

# From where a status may be seen to have come, whatever was missed between two looks.
_BEFORE = {
    "queued": {"queued"},
    "running": {"queued", "running", "retrying"},
    "retrying": {"queued", "running", "retrying"},
    "succeeded": {"queued", "running", "retrying", "succeeded"},
    "failed": {"queued", "running", "retrying", "failed"},
    "cancelled": {"queued", "running", "retrying", "cancelled"},
}


def moved_back(before: str, after: str) -> bool:
    """Whether a task that was seen so before can not be so now."""
    return before not in _BEFORE[after]


@dataclass(frozen=True)
class Mail:
    """One mail that the mail server took; `answered`: it could say so to whoever brought it."""

    task_id: str
    recipient: str
    received_at: datetime
    answered: bool


@dataclass(frozen=True)
class Row:
    """What the database holds of one task."""

    status: str
    attempts: int
    deaths: int
    unconfirmed: int
    finished_at: datetime | None

    @property
    def marks(self) -> int:
        """How many of its claims may have ended in a mail that no record tells of."""
        return self.deaths + self.unconfirmed


@dataclass
class Evidence:
    """All that was seen of one trial."""

    accepted: dict[str, str]  # every id that got a 202, and its recipient
    mails: list[Mail]
    rows: Mapping[str, Row]
    # What a client saw and should not have: a status that went back, an id that was not known.
    sightings: list[str] = field(default_factory=list)
    # Ids whose failure the trial asked for.
    expected_failures: frozenset[str] = frozenset()


@dataclass
class Verdict:
    """What the evidence comes to."""

    accepted: int
    delivered: int
    lost: list[str]
    duplicates: dict[str, int]  # id -> copies beyond the first
    explained: int  # how many of those copies
    unexplained: list[str]
    astray: list[str]
    unmarked: list[str]
    failed: list[str]
    sightings: list[str]

    @property
    def complaints(self) -> list[str]:
        """Why it does not pass; nothing when it does."""
        found = [f"lost: {task_id}" for task_id in self.lost]
        found += [f"delivered twice and nothing explains it: {words}" for words in self.unexplained]
        found += [f"delivered to somebody else: {words}" for words in self.astray]
        found += [f"taken, not answered, and not marked: {words}" for words in self.unmarked]
        found += [f"failed, and nobody asked for it: {task_id}" for task_id in self.failed]
        return found + self.sightings

    @property
    def passed(self) -> bool:
        """Whether what was promised was held."""
        return not self.complaints


def judge(evidence: Evidence) -> Verdict:
    """Every accepted task was delivered; every second copy is one that could not be helped, and is marked."""
    copies: dict[str, list[Mail]] = defaultdict(list)
    for mail in evidence.mails:
        copies[mail.task_id].append(mail)
    wanted = evidence.accepted.keys() - evidence.expected_failures
    duplicates = {task_id: len(mails) - 1 for task_id, mails in copies.items() if len(mails) > 1}
    blame = {task_id: _unexplained(copies[task_id], evidence.rows) for task_id in sorted(duplicates)}
    failed = [
        task_id
        for task_id in sorted(wanted)
        if task_id in evidence.rows and evidence.rows[task_id].status in ("failed", "cancelled")
    ]
    return Verdict(
        accepted=len(evidence.accepted),
        delivered=len(wanted & copies.keys()),
        lost=sorted(wanted - copies.keys() - set(failed)),
        duplicates=duplicates,
        explained=sum(duplicates[task_id] for task_id, words in blame.items() if not words),
        unexplained=[
            *filter(None, blame.values()),
            *_twice_accepted(evidence.mails, evidence.accepted.values()),
        ],
        astray=[
            f"{mail.task_id}, to {mail.recipient}"
            for mail in evidence.mails
            if mail.recipient != evidence.accepted.get(mail.task_id, mail.recipient)
        ],
        unmarked=[
            words for task_id in sorted(copies) if (words := _unmarked(copies[task_id], evidence.rows))
        ],
        failed=failed,
        sightings=list(evidence.sightings),
    )


def _unexplained(mails: list[Mail], rows: Mapping[str, Row]) -> str:
    """A copy is excused by the row alone: it counts the leases that ran out and the answers that were lost.

    A claim brings one mail at most, and each but the last ends in a mark when its mail may have been taken.
    """
    task_id = mails[0].task_id
    row = rows.get(task_id)
    if row and len(mails) - 1 <= row.marks:
        return ""
    marks = f"{row.deaths} deaths, {row.unconfirmed} unconfirmed" if row else "no row"
    return f"{task_id}: {len(mails)} copies, {marks}"


def _unmarked(mails: list[Mail], rows: Mapping[str, Row]) -> str:
    """An answer that the mail server knows not to have arrived is marked, or the death of who waited for it.

    While a task has no end, its last mail may still wait for its answer, and a death for the next claim.
    """
    row = rows.get(mails[0].task_id)
    unanswered = sum(not mail.answered for mail in mails)
    if row is None or row.finished_at is None or unanswered <= row.marks:
        return ""
    return (
        f"{mails[0].task_id}: {unanswered} not answered, {row.deaths} deaths, {row.unconfirmed} unconfirmed"
    )


def _twice_accepted(mails: list[Mail], recipients: Iterable[str]) -> list[str]:
    """Each POST has a recipient and a key of its own: two tasks for one: a repeat was stored again."""
    asked = Counter(recipients)
    tasks: dict[str, set[str]] = defaultdict(set)
    for mail in mails:
        tasks[mail.recipient].add(mail.task_id)
    return [
        f"{recipient}: {len(ids)} tasks for {asked[recipient]} request"
        for recipient, ids in sorted(tasks.items())
        if recipient in asked and len(ids) > asked[recipient]
    ]
