"""Whatever a client may think of, the API answers as its own description says."""

import re
from collections.abc import Iterator

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, settings
from starlette.testclient import TestClient

from app.api.main import create_app
from app.settings import ApiSettings, load
from tests.integration.machine import Machine

EXAMPLES = 150


@pytest.fixture
def app(parts: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """The real application on the real parts, without a limit for recipients, who are few here."""
    monkeypatch.setenv("APP_RECIPIENT_LIMIT_PER_HOUR", "1000000")
    made = create_app(load(ApiSettings))
    with TestClient(made):
        yield made


@pytest.fixture
def described(app: FastAPI) -> object:
    return schemathesis.openapi.from_asgi("/openapi.json", app)


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_described(case: schemathesis.Case) -> None:
    case.call_and_validate()


def test_every_error_that_is_answered_is_described(app: FastAPI) -> None:
    for path, methods in app.openapi()["paths"].items():
        for operation in methods.values():
            assert {"400", "413", "422", "503"} <= operation["responses"].keys(), path
    assert not re.search("HTTPValidationError", str(app.openapi()))
