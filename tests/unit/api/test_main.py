"""Whatever is wrong is answered in the one form, by its name, and reaches nothing behind the endpoint."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.api import main
from app.errors import (
    DatabaseUnavailable,
    IdempotencyKeyInUse,
    Overloaded,
    RecipientLimitReached,
    TaskNotFound,
)
from app.services.submission import Receipt
from tests.unit.api.conftest import Api

GOOD = {"email": "someone@example.com"}

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "body"),
    "not JSON": (b"{email:", "body"),
    "half of it": (b'{"email": "a@example.com"', "body"),
    "a list": (b"[]", "body"),
    "a string": (b'"a@example.com"', "body"),
    "null": (b"null", "body"),
    "a number": (b"1e400", "body"),
    "not UTF-8": (b'{"email": "a@example.com", "message": "\xff"}', "body"),
    "very deep": (b"[" * 30_000 + b"]" * 30_000, "body"),
    "very deep inside": (b'{"email": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "body"),
    "no address": (b"{}", "email"),
    "an address that is null": (b'{"email": null}', "email"),
    "an address that is a number": (b'{"email": 1}', "email"),
    "an address that is a list": (b'{"email": ["a@example.com"]}', "email"),
    "an address that is an object": (b'{"email": {"a": 1}}', "email"),
    "an address with a header": (b'{"email": "a@example.com\\r\\nBcc: b@example.com"}', "email"),
    "an address with an encoded header": (b'{"email": "a%0d%0aBcc:b@example.com"}', "email"),
    "an address with a line separator": (b'{"email": "a\\u2028@example.com"}', "email"),
    "an address with a NUL": (b'{"email": "a\\u0000@example.com"}', "email"),
    "an address with half a character": (b'{"email": "a\\ud800@example.com"}', "email"),
    "an endless address": (b'{"email": "' + b"a" * 20_000 + b'@example.com"}', "email"),
    "a message that is a number": (b'{"email": "a@example.com", "message": 1}', "message"),
    "a message that is a list": (b'{"email": "a@example.com", "message": []}', "message"),
    "a message too long": (b'{"email": "a@example.com", "message": "' + b"x" * 2001 + b'"}', "message"),
    "a message with a NUL": (b'{"email": "a@example.com", "message": "\\u0000"}', "message"),
    "a message with half a character": (b'{"email": "a@example.com", "message": "\\udfff"}', "message"),
    "a message with an escape": (b'{"email": "a@example.com", "message": "\\u001b[31m"}', "message"),
    "an unknown field": (b'{"email": "a@example.com", "bcc": "b@example.com"}', "bcc"),
}


def assert_problem(answer: Any, status: int, name: str) -> dict[str, Any]:
    """The one form of errors; returns the body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-release"] == "abc123"
    body: dict[str, Any] = answer.json()
    assert body["error"] == name
    assert body["message"].endswith(".")
    assert ("fields" in body) == (status == 422)
    assert ("retry-after" in answer.headers) == (status in (409, 429, 503))
    return body


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_request_is_refused_and_names_the_field(api: Api, name: str) -> None:
    content, field = REFUSED[name]
    body = assert_problem(api.client.post("/notify/", content=content), 422, "invalid_input")
    assert [problem["field"] for problem in body["fields"]] == [field]
    assert all(problem["message"] for problem in body["fields"])
    assert api.submitted == []


def test_what_came_in_is_not_repeated(api: Api) -> None:
    answer = api.client.post("/notify/", json={"email": "<script>@example.com", "message": "<script>\x00"})
    assert answer.status_code == 422
    assert "script" not in answer.text


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_of_another_kind_is_refused(api: Api, kind: str) -> None:
    answer = api.client.post("/notify/", content=json.dumps(GOOD), headers={"Content-Type": kind})
    assert_problem(answer, 422, "invalid_input")
    assert api.submitted == []


def pieces() -> Iterator[bytes]:
    """A body without a declared length."""
    yield b'{"email": "a@example.com", "message": "'
    for _ in range(100):
        yield b"x" * 1024


def test_a_large_body_is_refused_whether_it_says_so_or_not(api: Api) -> None:
    assert_problem(api.client.post("/notify/", content=b" " * 70_000), 413, "request_too_large")
    assert_problem(api.client.post("/notify/", content=pieces()), 413, "request_too_large")
    assert api.submitted == []


def test_the_longest_allowed_message_is_not_a_large_body(api: Api) -> None:
    answer = api.client.post("/notify/", json=GOOD | {"message": "\U0001f98a" * 2000})
    assert answer.status_code == 202


def test_an_accepted_task_is_told_where_to_look(api: Api) -> None:
    answer = api.client.post("/notify/", json={"email": "Someone@EXAMPLE.com", "message": "a\nb"})
    assert answer.status_code == 202
    url = f"/task_status/{'0' * 36}"
    assert answer.json() == {"task_id": "0" * 36, "status": "queued", "status_url": url}
    assert answer.headers["location"] == url
    (submitted,) = api.submitted
    assert submitted.payload == {"email": "Someone@example.com", "message": "a\nb"}
    assert submitted.recipient == "Someone@example.com"
    assert submitted.idempotency_key is None


def test_a_repeat_under_a_key_is_answered_the_same_and_says_so(api: Api) -> None:
    key = {"Idempotency-Key": "0123456789abcdef"}
    first = api.client.post("/notify/", json=GOOD, headers=key)
    api.runtime.writer.answer = Receipt("0" * 36, stored=False)
    second = api.client.post("/notify/", json=GOOD, headers=key)
    assert (second.status_code, second.json()) == (first.status_code, first.json())
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert [submission.idempotency_key for submission in api.submitted] == ["0123456789abcdef"] * 2


@pytest.mark.parametrize("key", ["short", "x" * 256, "with a blank between", "umlaut-ä-umlaut-ä"])
def test_an_absurd_key_is_refused(api: Api, key: str) -> None:
    answer = api.client.post("/notify/", json=GOOD, headers={"Idempotency-Key": key.encode()})
    assert answer.status_code == 422
    assert answer.json()["fields"][0]["field"] == "idempotency-key"
    assert not api.submitted


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/a+json"]
)
def test_read_quickly_or_thoroughly_a_request_means_the_same(api: Api, kind: str) -> None:
    content = json.dumps({"email": "Someone@EXAMPLE.com", "message": "a\nb"})
    answer = api.client.post("/notify/", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 202
    (submitted,) = api.submitted
    assert submitted.payload == {"email": "Someone@example.com", "message": "a\nb"}


@pytest.mark.parametrize(
    ("error", "status", "name", "retry_after"),
    [
        (RecipientLimitReached(retry_after_seconds=1234), 429, "recipient_limit_reached", "1234"),
        (DatabaseUnavailable(), 503, "database_unavailable", "2"),
        (Overloaded(), 503, "overloaded", "2"),
        (IdempotencyKeyInUse(), 409, "idempotency_key_in_use", "2"),
    ],
)
def test_a_refusal_says_when_to_come_back(
    api: Api, error: Exception, status: int, name: str, retry_after: str
) -> None:
    api.runtime.writer.answer = error
    answer = api.client.post("/notify/", json=GOOD)
    assert_problem(answer, status, name)
    assert answer.headers["retry-after"] == retry_after


def test_a_bug_shows_nothing_of_itself(api: Api) -> None:
    api.runtime.writer.answer = RuntimeError("secret detail")
    answer = api.client.post("/notify/", json=GOOD)
    assert_problem(answer, 500, "internal_error")
    assert "detail" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "task_id", ["", "0", "0" * 36 + "%0a", "%00", "a/b", "..%2f..", "x" * 10_000, "%F0%9F%92%8C", "%ff"]
)
def test_an_unknown_id_is_not_found_whatever_its_form(api: Api, task_id: str) -> None:
    api.runtime.reader.answer = TaskNotFound()
    answer = api.client.get(f"/task_status/{task_id}")
    assert_problem(answer, 404, "task_not_found")
    assert answer.headers["cache-control"] == "no-store", "a moment later it may be there"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/notify/", "POST"), ("PUT", "/notify/", "POST"), ("DELETE", "/task_status/1", "GET"),
     ("POST", "/task_status/1", "GET"), ("TRACE", "/health", "GET"), ("PATCH", "/health/ready", "GET")],
)  # fmt: skip
def test_another_method_is_refused(api: Api, method: str, path: str, allowed: str) -> None:
    answer = api.client.request(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/", "/notify", "/docs", "/redoc", "/admin", "/health/", "//notify/", "/%00"]
)
def test_nothing_else_is_there(api: Api, path: str) -> None:
    assert_problem(api.client.get(path, follow_redirects=False), 404, "not_found")


def test_health_asks_nobody(api: Api) -> None:
    answer = api.client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "release": "abc123"})


def test_the_description_names_the_limit_of_the_message(api: Api) -> None:
    schema = api.client.get("/openapi.json").json()["components"]["schemas"]["NotifyInput"]
    assert schema["additionalProperties"] is False
    assert any(option.get("maxLength") == 2000 for option in schema["properties"]["message"]["anyOf"])


def test_while_accepted_work_waits_for_too_long_only_the_smoke_test_is_accepted(api: Api) -> None:
    api.runtime.overload.begin()
    answer = api.client.post("/notify/", json=GOOD)
    body = assert_problem(answer, 503, "overloaded")
    assert answer.headers["retry-after"] == "30"
    assert "Nothing was stored" in body["message"]
    assert "later" in body["message"]
    assert_problem(api.client.post("/notify/", json={"email": "none"}), 422, "invalid_input")
    assert api.submitted == []
    assert api.client.post("/notify/", json={"email": "smoke@example.com"}).status_code == 202
    assert [one.recipient for one in api.submitted] == ["smoke@example.com"]


def test_once_a_minute_it_says_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(main.asyncio, "sleep", sleep)
    with capture_logs() as lines, pytest.raises(asyncio.CancelledError):
        asyncio.run(main.say_alive())
    assert waited == [60, 60, 60]
    assert [line["event"] for line in lines] == ["api.alive"] * 3
