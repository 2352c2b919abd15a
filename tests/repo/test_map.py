"""Where the documents lead, something is: paths, make targets, playbooks and headings that they name."""

import re
from pathlib import Path

import pytest

from tests.repo.tree import DOCUMENTS, ROOT, documents, quoted, text, tracked

# The places that the reader's table in README.md must lead to.
TABLE = [
    "roles/app_stack/tasks/render.yml", "roles/app_stack/defaults/main.yml", "docker-compose.yml.j2",
    "app/settings.py", "app/api/", "app/errors.py", "app/broker.py", "app/db/repository.py",
    "playbooks/", "inventory/production/", "tests/", "molecule/", "instructions.md", "journey.md",
]  # fmt: skip
# Folders that a role's own README names from where it stands.
OF_A_ROLE = ("tasks", "defaults", "vars", "templates", "files", "handlers", "meta")


def looks_like_a_path(word: str, document: str) -> bool:
    """Whether a quoted word means a file or folder of the repository."""
    if not re.fullmatch(r"\.?[\w<>*{},.-]+(/[\w<>*{},.-]+)*/?", word):
        return False
    first, _, rest = word.partition("/")
    if rest or word.endswith("/"):
        return first in tops() or (document.startswith("roles/") and first in OF_A_ROLE)
    return word in {"Makefile", "site.yml", "docker-compose.yml.j2", "pyproject.toml", *DOCUMENTS}


def tops() -> set[str]:
    """The names at the top level."""
    return {path.split("/")[0] for path in tracked()}


def exists(word: str, document: str) -> bool:
    """Whether it is there; <placeholders> stand for any name."""
    pattern = re.sub(r"<\w+>|…", "*", word).rstrip("/")
    places = [ROOT, (ROOT / document).parent]
    return any(next(place.glob(pattern), None) is not None for place in places)


@pytest.mark.parametrize("document", documents())
def test_paths_that_a_document_names_exist(document: str) -> None:
    words = [word for span in quoted(document) for word in re.split(r"[\s=]+", span)]
    gone = {word for word in words if looks_like_a_path(word, document) and not exists(word, document)}
    assert gone == set()


@pytest.mark.parametrize("document", documents())
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(document)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def headings(path: Path) -> list[str]:
    """A document's headings, without their marks."""
    return [
        re.sub(r"[`*]", "", line).strip() for line in re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    ]


def anchors(path: Path) -> set[str]:
    """What a link may say after `#`."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(path)}


def test_the_readers_table_leads_everywhere() -> None:
    rows = [line for line in text("README.md").splitlines() if line.startswith("|")]
    assert [place for place in TABLE if f"`{place}`" not in "\n".join(rows)] == []
    assert [place for place in TABLE if not (ROOT / place).exists()] == []


def make_targets() -> dict[str, str]:
    """Target -> what `make help` says of it."""
    return dict(re.findall(r"^([a-z][a-z0-9-]*):[^=\n]*?## (.+)$", text("Makefile"), re.MULTILINE))


@pytest.mark.parametrize("document", documents())
def test_make_targets_that_a_document_names_exist(document: str) -> None:
    named = {
        target
        for span in quoted(document)
        for target in re.findall(r"(?:^|[\s(;&])make ([a-z][a-z0-9-]*)", span)
    }
    assert named - set(make_targets()) == set()


def test_every_make_target_documents_itself() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", text("Makefile"), re.MULTILINE))
    assert targets
    assert targets - set(make_targets()) == set()


@pytest.mark.parametrize("document", documents())
def test_playbooks_that_a_document_names_exist(document: str) -> None:
    for span in quoted(document):
        for command in re.findall(r"ansible-playbook\s([^;&|#]*)", span):
            for playbook in re.findall(r"(?<![\w./@-])[\w./-]+\.yml\b", re.sub(r"-[ie] +\S+", "", command)):
                assert (ROOT / playbook).is_file(), span


def test_headings_that_messages_quote_exist() -> None:
    found = {
        (document, heading)
        for path in tracked()
        if not path.endswith(".md")
        for document, heading in re.findall(
            r'\b(instructions|README|journey)\.md, \\?"([^"\\]+)\\?"', text(path)
        )
    }
    assert found, "playbooks/check-inventory.yml quotes one"
    assert {(d, h) for d, h in found if h not in headings(ROOT / f"{d}.md")} == set()
