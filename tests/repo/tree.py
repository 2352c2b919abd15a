"""What git tracks, and the documents that lead through it."""

import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "instructions.md", "journey.md"]


@cache
def tracked() -> list[str]:
    """Every file of the repository that is there, by its path from the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [path for path in listed.split("\0") if path and (ROOT / path).is_file()]


@cache
def text(path: str) -> str:
    """A file's text; empty where it is not text."""
    try:
        return (ROOT / path).read_text()
    except UnicodeDecodeError:
        return ""


def documents() -> list[str]:
    """The documents at the root that are written, and the roles' own."""
    return [
        *(path for path in DOCUMENTS if (ROOT / path).is_file()),
        *(path for path in tracked() if re.fullmatch(r"roles/\w+/README\.md", path)),
    ]


def quoted(document: str) -> list[str]:
    """What stands in backticks: each span, and each line of a fenced block."""
    content = text(document)
    fenced = re.findall(r"^ *```\w*\n(.*?)^ *```", content, re.DOTALL | re.MULTILINE)
    spans = re.findall(
        r"`([^`\n]+)`", re.sub(r"^ *```\w*\n.*?^ *```", "", content, flags=re.DOTALL | re.MULTILINE)
    )
    return spans + [line for block in fenced for line in block.splitlines()]
