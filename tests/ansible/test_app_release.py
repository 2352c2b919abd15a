"""A release is app/ and frontend/, by name and content, as roles/app_release/files/release.sh tells."""

import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "roles/app_release/files/release.sh"
REDIS = "roles/app_release/files/redis/Dockerfile"


class Checkout:
    """A repository with the folders that the images are made from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("app/__init__.py", "app/settings.py", "frontend/index.html", REDIS, "README.md"):
            self.write(name, name)

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@sandbox.internal"]
        command = ["git", "-C", str(self.path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD")[:12]

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Nothing of a repository around this one, as a git hook would have it in its environment.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        environment["GIT_CEILING_DIRECTORIES"] = str(self.path.parent)
        command = ["sh", str(SCRIPT), str(self.path), *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)

    def name(self) -> str:
        answer = self.release()
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    def everything(self) -> dict[Path, bytes]:
        """All files and their contents, git's own among them."""
        return {path: path.read_bytes() for path in self.path.rglob("*") if path.is_file()}

    def packed(self) -> dict[str, str]:
        """The files of what would be built, with their contents."""
        assert self.release(str(self.path.parent / "context.tar")).returncode == 0
        with tarfile.open(self.path.parent / "context.tar") as tar:
            return {m.name: tar.extractfile(m).read().decode() for m in tar.getmembers() if m.isfile()}  # type: ignore[union-attr]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "checkout")
    made.git("init", "--quiet")
    made.write(".gitignore", "*.pyc\n")
    made.commit()
    return made


def test_a_release_is_named_by_the_last_commit_that_touched_it(checkout: Checkout) -> None:
    first = checkout.name()
    assert first == checkout.git("rev-parse", "HEAD")[:12]
    checkout.write("README.md", "more")
    checkout.write(REDIS, "FROM other")
    checkout.commit()
    assert checkout.name() == first
    checkout.write("app/settings.py", "changed")
    assert checkout.commit() == checkout.name() != first
    checkout.write("frontend/index.html", "changed")
    assert checkout.commit() == checkout.name()


@pytest.mark.parametrize("file", ["app/settings.py", "frontend/index.html", "app/new.py"])
def test_a_changed_tree_is_named_by_its_content(checkout: Checkout, file: str) -> None:
    clean = checkout.name()
    checkout.write(file, "changed")
    dirty = checkout.name()
    assert re.fullmatch(rf"{clean}-dirty-[0-9a-f]{{8}}", dirty)
    assert checkout.name() == dirty
    checkout.write(file, "changed again")
    assert checkout.name() not in (clean, dirty)
    checkout.write(file, "changed")
    checkout.git("add", "--all")
    assert checkout.name() == dirty


def test_a_deleted_file_and_a_permission_are_changes(checkout: Checkout) -> None:
    clean = checkout.name()
    (checkout.path / "app/settings.py").chmod(0o755)
    assert checkout.name() != clean
    (checkout.path / "app/settings.py").unlink()
    assert checkout.name() != clean
    assert "app/settings.py" not in checkout.packed()


def test_ignored_files_and_changes_elsewhere_are_none(checkout: Checkout) -> None:
    clean = checkout.name()
    checkout.write("app/settings.pyc", "ignored")
    checkout.write("README.md", "changed")
    checkout.write("tests/new.py", "new")
    assert checkout.name() == clean


def test_what_is_packed_is_what_lies_there(checkout: Checkout) -> None:
    checkout.write("app/settings.py", "changed")
    checkout.write("app/new.py", "new")
    checkout.write("app/settings.pyc", "ignored")
    expected = {
        "app/__init__.py": "app/__init__.py",
        "app/settings.py": "changed",
        "app/new.py": "new",
        "frontend/index.html": "frontend/index.html",
        REDIS: REDIS,
    }
    assert checkout.packed() == expected


def test_the_repository_is_not_written(checkout: Checkout) -> None:
    checkout.write("app/new.py", "new")
    checkout.git("status")
    before = checkout.everything()
    checkout.name()
    checkout.packed()
    assert checkout.everything() == before


def test_without_git_there_is_no_name_but_there_is_something_to_build(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "tarball")
    checkout.write("app/__pycache__/settings.pyc", "bytecode")
    answer = checkout.release()
    assert answer.returncode != 0
    assert "git knows no commit of app/ and frontend/" in answer.stderr
    assert set(checkout.packed()) == {"app/__init__.py", "app/settings.py", "frontend/index.html", REDIS}
