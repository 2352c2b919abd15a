"""Whatever a client may think of, the API answers as its own description says."""

from collections.abc import Iterator
from itertools import count

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from app.api.main import create_app
from app.settings import ApiSettings, load
from tests.integration.machine import Machine

EXAMPLES = 100
# Only a request with a body or a query can be wrong in its form.
OPERATIONS = [
    ("/notify/", "POST", GenerationMode.POSITIVE),
    ("/notify/", "POST", GenerationMode.NEGATIVE),
    ("/task_status/{task_id}", "GET", GenerationMode.POSITIVE),
    ("/tasks", "GET", GenerationMode.POSITIVE),
    ("/tasks", "GET", GenerationMode.NEGATIVE),
    ("/tasks/counts", "GET", GenerationMode.POSITIVE),
    *[
        (f"/tasks/{what}", "POST", mode)
        for what in ("cancel", "retry", "replay")
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    ],
    ("/health", "GET", GenerationMode.POSITIVE),
    ("/health/ready", "GET", GenerationMode.POSITIVE),
    ("/metrics", "GET", GenerationMode.POSITIVE),
]


@pytest.fixture
def app(parts: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """The real application on the real parts, without a limit for recipients, who are few here."""
    monkeypatch.setenv("APP_RECIPIENT_LIMIT_PER_HOUR", "1000000")
    parts.sql("INSERT INTO workers VALUES ('some-worker', 'test', now() + interval '1 hour')")
    made = create_app(load(ApiSettings))
    with TestClient(made):
        yield made


@pytest.mark.parametrize(("path", "method", "mode"), OPERATIONS)
def test_every_answer_is_as_described(app: FastAPI, path: str, method: str, mode: GenerationMode) -> None:
    """All of schemathesis' checks, on valid requests and on others."""
    numbers = count()
    token = load(ApiSettings).operator_token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if path.startswith("/tasks") else {}
    operation = schemathesis.openapi.from_asgi("/openapi.json", app)[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: schemathesis.Case) -> None:
        if mode is GenerationMode.POSITIVE and case.headers and "idempotency-key" in case.headers:
            # Each valid request under a key of its own; one key with two bodies is another test's.
            case.headers["idempotency-key"] = f"{case.headers['idempotency-key'][:200]}{next(numbers)}"
        # Where the missing token is what is wrong with a request, it stays missing.
        tokenless = mode is GenerationMode.NEGATIVE and "Authorization" not in (case.headers or {})
        case.call_and_validate(headers={} if tokenless else headers)

    check()


def test_no_operation_is_left_out(app: FastAPI) -> None:
    described = {(path, method.upper()) for path, item in app.openapi()["paths"].items() for method in item}
    assert described == {(path, method) for path, method, _ in OPERATIONS}
