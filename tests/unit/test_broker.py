"""How the application talks to Celery and kombu."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from app.broker import celery_app
from app.settings import FlowerSettings, load

APP = Path(__file__).parents[2] / "app"
MODULES = sorted(APP.rglob("*.py"))
REDIS_WRITES = {"lpush", "rpush", "LPUSH", "RPUSH"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(APP)))
def test_nothing_private_of_celery_or_kombu_and_no_push_of_our_own(module: Path) -> None:
    tree = ast.parse(module.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("celery", "kombu"):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            assert not [name for name in names if name.startswith("_")]
        if isinstance(node, ast.Attribute):
            assert node.attr not in REDIS_WRITES
            # An underscore is for what is our own: self, and modules' own names.
            private = node.attr.startswith("_") and not node.attr.startswith("__")
            assert not private or (
                isinstance(node.value, ast.Name) and node.value.id in ("self", "_current")
            ), f"{module.name}:{node.lineno} reads {node.attr}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            assert node.value not in REDIS_WRITES


def test_nothing_but_the_broker_and_the_worker_knows_celery() -> None:
    knowing = {
        str(module.relative_to(APP))
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("celery", "kombu"))
        or (isinstance(node, ast.Import) and node.names[0].name.split(".")[0] in ("celery", "kombu"))
    }
    within = ("main", "heartbeat", "consumer", "events", "pool")
    assert knowing == {"broker.py", *(f"worker/{name}.py" for name in within)}


def test_celery_keeps_no_results_reads_json_only_and_never_stops_trying(
    environment: Callable[..., None],
) -> None:
    environment()
    conf = celery_app(load(FlowerSettings)).conf
    assert conf.result_backend is None
    assert conf.task_ignore_result
    assert conf.accept_content == ["json"]
    assert conf.broker_connection_max_retries is None
    options = conf.broker_transport_options
    assert options["socket_timeout"] == options["socket_connect_timeout"] == 2
    assert not options["ack_emulation"]
