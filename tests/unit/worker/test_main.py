"""The worker as Celery sees it."""

import json
from collections.abc import Callable
from unittest.mock import create_autospec

from app.services.execution import Executor
from app.settings import WorkerSettings, load
from app.worker.consumer import Transport
from app.worker.main import create_worker


def test_what_it_says_of_its_broker_can_be_sent(environment: Callable[..., None]) -> None:
    """Flower asks for it; what cannot be written as JSON, the worker answers with an error in its log."""
    environment()
    worker = create_worker(load(WorkerSettings), create_autospec(Executor))
    connection = worker.connection_for_read()
    assert connection.get_transport_cls() is Transport
    assert "transport" in json.loads(json.dumps(connection.info()))
