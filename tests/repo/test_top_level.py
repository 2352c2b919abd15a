"""What may stand at the top level: a newcomer's first screen."""

from tests.repo.tree import ROOT, tracked

# What a reader, an operator or a developer looks for there.
MUST = {
    "README.md", "instructions.md", "journey.md", "LICENSE",
    "site.yml", "docker-compose.yml.j2", "playbooks", "inventory", "roles", "ansible.cfg",
    "app", "frontend", "molecule", "tests", "Makefile", "pyproject.toml",
}  # fmt: skip
# What programs look for there, and nobody need read.
MAY = {".gitignore", ".github", ".ci", ".config", ".ansible-lint", ".pre-commit-config.yaml"}


def test_nothing_else_stands_at_the_top_level() -> None:
    found = {path.split("/")[0] for path in tracked()}
    assert found - MUST - MAY == set()
    assert MUST - found == set()


def test_things_are_called_by_what_they_are() -> None:
    # A drawer for everything is where nobody finds anything.
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "lib"}
    assert [path for path in tracked() if drawers & {part.split(".")[0] for part in path.split("/")}] == []


def test_what_runs_make_is_not_committed() -> None:
    assert [
        path
        for path in tracked()
        if path.startswith(("reports/", ".sandbox/", ".venv")) or "__pycache__" in path
    ] == []


def test_no_large_file_is_committed() -> None:
    assert [path for path in tracked() if (ROOT / path).stat().st_size > 500_000] == []
