"""What no file of this repository says, and what every file of a kind says."""

import re

import pytest

from tests.repo.tree import ROOT, text, tracked

# Joined here, so that this file holds none of them.
REGISTRIES = [
    name.replace(" ", ".")
    for name in (
        "deb debian org", "security debian org", "archive ubuntu com", "pypi org", "pythonhosted org",
        "registry-1 docker io", "index docker io", "auth docker io", "download docker com",
        "registry npmjs org", "galaxy ansible com",
    )
]  # fmt: skip
REMINDERS = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]
LOCKS = ["app/requirements.txt", ".config/requirements.txt"]
TESTS = [path for path in tracked() if path.startswith("tests/") and path.endswith(".py")]
# Somebody's home, or the place of this very checkout. The sandbox's host has a user `admin`.
LAYOUT = re.compile(rf"/(?:home|Users)/(?!admin\b)\w+|(?<![\w.-])/[r]oot/(?!\.)|{re.escape(str(ROOT))}\b")


def places(pattern: re.Pattern[str], paths: list[str]) -> list[str]:
    """path:line of every match."""
    return [
        f"{path}:{number}"
        for path in paths
        for number, line in enumerate(text(path).splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_registry_is_named() -> None:
    # Where packages come from is the business of the machine that installs them.
    assert places(re.compile("|".join(map(re.escape, REGISTRIES))), tracked()) == []


def test_no_path_of_a_developers_machine_is_named() -> None:
    assert places(LAYOUT, [path for path in tracked() if path not in LOCKS]) == []


def test_nothing_is_left_for_later() -> None:
    assert places(re.compile(rf"\b({'|'.join(REMINDERS)})\b"), tracked()) == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    pattern = re.compile(
        r"mark\.(skip|skipif|xfail)\b|pytest\.(skip|xfail|importorskip)\(|unittest\.skip|SkipTest"
    )
    assert places(pattern, [path for path in TESTS if path != "tests/repo/test_wording.py"]) == []


def test_no_rule_of_the_linters_is_skipped() -> None:
    yaml_files = [path for path in tracked() if path.endswith((".yml", ".yaml"))]
    assert places(re.compile(r"#\s*noqa|yamllint disable|skip_ansible_lint"), yaml_files) == []
    settings = text(".ansible-lint")
    assert not re.search(r"^(skip_list|warn_list):", settings, re.MULTILINE)
    assert re.search(r"^profile: production$", settings, re.MULTILINE)


@pytest.mark.parametrize("path", LOCKS)
def test_every_locked_package_has_its_hashes_and_no_address(path: str) -> None:
    lines = [
        line
        for line in text(path).replace("\\\n", " ").splitlines()
        if line and not line.lstrip().startswith("#")
    ]
    assert len(lines) > 10
    assert [
        line.split()[0] for line in lines if not re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==\S+", line)
    ] == []
    assert [line.split()[0] for line in lines if "--hash=sha256:" not in line] == []
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|file:|@ ", text(path))
