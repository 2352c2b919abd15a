"""Rules for Python that ruff and mypy do not hold: small modules, functions and nesting, and docstrings."""

import ast
import tomllib
from functools import cache

import pytest

from tests.repo.tree import ROOT, text, tracked

APP = [path for path in tracked() if path.startswith("app/") and path.endswith(".py")]
ALL = [path for path in tracked() if path.endswith(".py")]
NESTING = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
# Words that all layers may use: they import nothing of the application but each other.
PLAIN = {"schemas", "operator_schemas", "errors", "logs", "settings", "deadline", "tally"}
# Programs that stand alone, and how every program begins.
PROGRAMS = {"flower", "probe", "process", "shell"}


def test_the_application_is_found() -> None:
    assert len(APP) > 20


@pytest.mark.parametrize("path", APP)
def test_modules_are_short(path: str) -> None:
    assert len(text(path).splitlines()) <= 250


# A migration is one list of columns, and nobody edits it afterwards.
@pytest.mark.parametrize("path", [path for path in APP if "/migrations/versions/" not in path])
def test_functions_are_short_and_flat(path: str) -> None:
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= 40, f"{node.name}: {lines} lines"
            assert depth(node) <= 3, f"{node.name}: nested {depth(node)} deep"


def depth(node: ast.AST) -> int:
    """How deeply statements are nested in one; `elif` is no level of its own."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        own = isinstance(child, NESTING) and not is_elif
        deepest = max(deepest, depth(child) + own)
    return deepest


@pytest.mark.parametrize("path", ALL)
def test_every_module_says_what_it_is(path: str) -> None:
    assert (ast.get_docstring(ast.parse(text(path))) or "").strip(), "the first line is its docstring"


@cache
def layers() -> list[set[str]]:
    """The layers of the import contract from above, each as the names of its modules below app/."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)["tool"]["importlinter"]
    assert settings["root_package"] == "app"
    (found,) = [contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers"]
    return [{name.strip().removeprefix("app.") for name in layer.split("|")} for layer in found]


def test_arrows_point_one_way() -> None:
    # HTTP and worker -> services -> database; `make check` has import-linter hold it.
    height = {name: -at for at, layer in enumerate(layers()) for name in layer}
    for above, below in (("api relay worker", "services kinds"), ("services kinds", "mail db broker")):
        assert min(height[name] for name in above.split()) > max(height[name] for name in below.split())


def test_every_module_of_the_application_stands_in_a_layer_or_is_a_plain_word() -> None:
    found = {path.split("/")[1].removesuffix(".py") for path in APP} - {"__init__"}
    assert found - set().union(*layers()) - PLAIN - PROGRAMS == set()


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_plain_words_import_no_layer(name: str) -> None:
    imports = {
        module
        for node in ast.walk(ast.parse(text(f"app/{name}.py")))
        for module in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in getattr(node, "names", [])]
        )
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {module for module in imports if module.startswith("app.")} <= {f"app.{word}" for word in PLAIN}


def test_nobody_imports_a_task_of_celery() -> None:
    # Publishers and worker meet at a name in app/broker.py.
    outside = [path for path in APP if not path.startswith("app/worker/")]
    assert [path for path in outside if "app.worker" in text(path).replace("python -m app.worker", "")] == []
