"""The API with nothing behind it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.main import create_app
from app.api.overload import OverloadWatch
from app.services.submission import Receipt, Submission
from app.settings import ApiSettings, load


class Recorder:
    """Stands in for a Batcher: keeps what it is asked and answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: Any = Receipt("0" * 36, stored=True)

    async def ask(self, item: Any) -> Any:
        self.asked.append(item)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class NoOverload(OverloadWatch):
    """Looks at no database; overloaded when told so."""

    def __init__(self, settings: ApiSettings) -> None:
        self._exempt_recipient = settings.smoke_test_recipient
        self._overloaded = False

    def begin(self) -> None:
        self._overloaded = True


@dataclass
class NoRuntime:
    """Stands in for app.api.dependencies.Runtime."""

    settings: ApiSettings
    writer: Recorder = field(default_factory=Recorder)
    reader: Recorder = field(default_factory=Recorder)
    operators_database: str = "the operators' database"
    overload: NoOverload = field(init=False)

    def __post_init__(self) -> None:
        self.overload = NoOverload(self.settings)


@dataclass
class Api:
    """A client, and what reached the threads behind the endpoints."""

    client: TestClient
    runtime: NoRuntime

    @property
    def submitted(self) -> list[Submission]:
        return self.runtime.writer.asked


@pytest.fixture
def api(environment: Callable[..., None]) -> Iterator[Api]:
    environment()
    settings = load(ApiSettings)
    app = create_app(settings)
    app.state.runtime = NoRuntime(settings)
    # Not as a context manager: that would start the threads.
    client = TestClient(app, raise_server_exceptions=False, headers={"Content-Type": "application/json"})
    yield Api(client, app.state.runtime)
    client.close()
