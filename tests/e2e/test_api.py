"""The documented HTTP contract, through the front door."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.e2e.deployed import RawAnswer, Stack

# A task's id as it is written; 128 of its bits are random.
TASK_ID = re.compile(r"[0-9a-v]{36}")
Problem = Callable[..., dict[str, Any]]


@pytest.fixture(params=["page", "api"])
def door(request: pytest.FixtureRequest, stack: Stack) -> str:
    """Both ports that take tasks."""
    return str(getattr(stack, request.param))


def test_an_accepted_task_succeeds_and_its_mail_arrives(
    door: str,
    http: httpx.Client,
    someone: str,
    final_status: Callable[[str], dict[str, Any]],
    mail_of: Callable[[str], dict[str, Any]],
) -> None:
    answer = http.post(f"{door}/notify/", json={"email": someone, "message": "Grüße, 日本"})
    assert answer.status_code == 202
    body = answer.json()
    assert TASK_ID.fullmatch(body["task_id"])
    url = f"/task_status/{body['task_id']}"
    assert body == {"task_id": body["task_id"], "status": "queued", "status_url": url}
    assert answer.headers["location"] == url
    assert answer.headers["x-release"]

    task = final_status(door + url)
    assert task.keys() == {
        "task_id", "kind", "status", "attempts", "created_at", "updated_at",
        "finished_at", "next_run_at", "result", "error",
    }  # fmt: skip
    assert (task["task_id"], task["kind"], task["status"]) == (body["task_id"], "notify", "succeeded")
    assert (task["attempts"], task["error"]) == (1, None)
    created, finished = (datetime.fromisoformat(task[name]) for name in ("created_at", "finished_at"))
    assert created.tzinfo is not None
    assert created < finished
    assert "Grüße, 日本" in mail_of(body["task_id"])["text"]


def test_a_status_is_readable_from_the_moment_of_the_answer(
    stack: Stack, http: httpx.Client, someone: str
) -> None:
    for number in range(20):
        recipient = f"{number}-{someone}"
        accepted = http.post(f"{stack.page}/notify/", json={"email": recipient}).raise_for_status()
        status = http.get(stack.page + accepted.headers["location"])
        assert status.status_code == 200
        assert status.headers["cache-control"] == "no-store"


# {id} stands for the id of a task that exists.
@pytest.mark.parametrize(
    "name",
    [
        "",
        "0",
        "0" * 36,
        "v" * 36,
        "{id}0",
        "{id}/",
        "{id}%20",
        "../health",
        "..%2f..%2fhealth",
        "a/b/c",
        "'%20or%20'1'='1",
        "%00",
        "%ff%fe",
        "%F0%9F%92%8C",
        "00000000-0000-0000-0000-000000000000",
        "0" * 4000,
    ],
)
def test_an_id_that_is_not_known_is_not_found_whatever_its_form(
    door: str, http: httpx.Client, raw: Callable[..., RawAnswer], someone: str, name: str
) -> None:
    known = http.post(f"{door}/notify/", json={"email": someone}).json()["task_id"]
    path = f"/task_status/{name.replace('{id}', known)}"
    # Sent as it stands: a client library would put it in order first.
    data = raw(door, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()).data
    head, _, body = data.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    # A NUL, or a way above the root, is refused before anybody looks for a task.
    assert status == (400 if name in ("%00", "..%2f..%2fhealth") else 404), data[:300]
    assert json.loads(body)["error"] in ("task_not_found", "not_found", "bad_request")
    assert known.encode() not in body


def test_an_id_in_capitals_is_another_id(
    stack: Stack, http: httpx.Client, someone: str, problem: Problem
) -> None:
    known = http.post(f"{stack.page}/notify/", json={"email": someone}).json()["task_id"]
    problem(http.get(f"{stack.page}/task_status/{known.upper()}"), 404, "task_not_found")


# No accepted task is for one of these.
NOBODY = {f"{name}@example.com" for name in ("a", "b", "somebody", "other")}
FIELD_TRICKS: dict[str, Any] = {
    "nothing": "",
    "no @": "somebody",
    "two @": "a@b@example.com",
    "no domain": "somebody@",
    "no dot": "somebody@localhost",
    "an address literal": "somebody@[127.0.0.1]",
    "a display name": "Some Body <somebody@example.com>",
    "two addresses": "somebody@example.com,other@example.com",
    "two with a semicolon": "somebody@example.com;other@example.com",
    "a list": ["somebody@example.com", "other@example.com"],
    "an object": {"address": "somebody@example.com"},
    "a number": 7,
    "null": None,
    "CRLF and Bcc": "somebody@example.com\r\nBcc: other@example.com",
    "LF and Bcc": "somebody@example.com\nBcc: other@example.com",
    "CR in the local part": "some\rbody@example.com",
    "an encoded CRLF": "somebody@example.com%0d%0aBcc:other@example.com",
    "a line separator": "somebody@example.com\u2028Bcc: other@example.com",
    "a next line": "some\u0085body@example.com",
    "a NUL": "some\x00body@example.com",
    "an encoded word": "=?utf-8?q?some=0Abody?=@example.com",
    "a quoted newline": '"some\nbody"@example.com',
    "a route": "somebody%example.org@example.com",
    "a bang path": "example.org!somebody@example.com",
    "too long": f"{'a' * 250}@example.com",
    "a bidirectional override": "some\u202ebody@example.com",
}


@pytest.fixture(scope="module")
def sentinel(
    stack: Stack, http: httpx.Client, mail_of: Callable[[str], dict[str, Any]]
) -> Callable[[], dict[str, Any]]:
    """Sends one good mail and waits for it: what was accepted before it has been sent as well by then."""

    def send() -> dict[str, Any]:
        body = {"email": "e2e-sentinel@example.com", "message": "After all the others."}
        return mail_of(http.post(f"{stack.page}/notify/", json=body).raise_for_status().json()["task_id"])

    return send


def test_an_address_that_is_none_is_refused_and_nobody_gets_a_mail(
    door: str,
    http: httpx.Client,
    problem: Problem,
    mails: Callable[..., list[dict[str, Any]]],
    sentinel: Callable[[], dict[str, Any]],
) -> None:
    before = {mail["task_id"] for mail in mails()}
    for name, email in FIELD_TRICKS.items():
        answer = http.post(f"{door}/notify/", json={"email": email, "message": f"refused: {name}"})
        body = problem(answer, 422, "invalid_input")
        assert [field["field"] for field in body["fields"]] == ["email"], name
        assert "location" not in answer.headers
    sentinel()
    new = [mail for mail in mails() if mail["task_id"] not in before]
    assert [mail for mail in new if "refused" in mail["text"] or NOBODY & set(mail["to"])] == []


REFUSED_BODIES: dict[str, tuple[bytes, str, int]] = {
    "nothing": (b"", "application/json", 422),
    "not JSON": (b"{email:", "application/json", 422),
    "half of it": (b'{"email": "somebody@example.com"', "application/json", 422),
    "a list": (b'["somebody@example.com"]', "application/json", 422),
    "a string": (b'"somebody@example.com"', "application/json", 422),
    "null": (b"null", "application/json", 422),
    "no address": (b'{"message": "refused"}', "application/json", 422),
    "an unknown field": (b'{"email": "a@example.com", "bcc": "b@example.com"}', "application/json", 422),
    "a form": (b"email=somebody%40example.com", "application/x-www-form-urlencoded", 422),
    "a message that is a number": (b'{"email": "a@example.com", "message": 7}', "application/json", 422),
    "a message too long": (
        json.dumps({"email": "a@example.com", "message": "refused " * 300}).encode(),
        "application/json",
        422,
    ),
    "a message with a NUL": (b'{"email": "a@example.com", "message": "\\u0000"}', "application/json", 422),
    "half a character": (b'{"email": "a@example.com", "message": "\\ud83d"}', "application/json", 422),
    "broken UTF-8": (b'{"email": "a@example.com", "message": "\xff"}', "application/json", 422),
    "very deep": (b"[" * 15_000, "application/json", 422),
    "a megabyte": (b'{"message": "' + b"x" * 1_000_000 + b'"}', "application/json", 413),
}


def test_a_body_that_is_none_is_refused_and_nobody_gets_a_mail(
    door: str,
    http: httpx.Client,
    problem: Problem,
    mails: Callable[..., list[dict[str, Any]]],
    sentinel: Callable[[], dict[str, Any]],
) -> None:
    before = {mail["task_id"] for mail in mails()}
    for name, (content, kind, status) in REFUSED_BODIES.items():
        answer = http.post(f"{door}/notify/", content=content, headers={"Content-Type": kind})
        problem(answer, status)
        assert "refused" not in answer.text, f"what came in is not repeated: {name}"
    sentinel()
    new = [mail for mail in mails() if mail["task_id"] not in before]
    assert [mail for mail in new if "refused" in mail["text"] or NOBODY & set(mail["to"])] == []


def test_lines_in_a_message_are_text_and_reach_one_recipient(
    stack: Stack, http: httpx.Client, someone: str, mail_of: Callable[[str], dict[str, Any]]
) -> None:
    lines = [
        "Dear you,",
        ".",
        "MAIL FROM:<evil@example.com>",
        "Bcc: other@example.com",
        "",
        "{{ 7 * 7 }} <b>bold</b>",
    ]
    message = "\r\n".join(lines)
    answer = http.post(f"{stack.page}/notify/", json={"email": someone, "message": message})
    mail = mail_of(answer.json()["task_id"])
    assert mail["to"] == [someone]
    assert "bcc" not in {name.lower() for name in dict(mail["headers"])}
    for line in lines:
        assert line in mail["text"]
    assert "<b>bold</b>" not in (mail["html"] or "")
    assert "49" not in mail["text"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE"])
@pytest.mark.parametrize("path", ["/notify/", "/task_status/" + "0" * 36])
def test_other_methods_are_refused(
    door: str, http: httpx.Client, problem: Problem, method: str, path: str
) -> None:
    answer = http.request(method, door + path)
    problem(answer, 405, "method_not_allowed")


def test_the_methods_are_not_mixed_up(door: str, http: httpx.Client, problem: Problem) -> None:
    problem(http.get(f"{door}/notify/"), 405, "method_not_allowed")
    problem(http.post(f"{door}/task_status/{'0' * 36}"), 405, "method_not_allowed")


def test_nobody_is_led_elsewhere_by_a_missing_slash(door: str, http: httpx.Client, problem: Problem) -> None:
    problem(http.post(f"{door}/notify", json={"email": "a@example.com"}), 404, "not_found")


def test_the_description_of_the_api_tells_what_it_takes(stack: Stack, http: httpx.Client) -> None:
    paths = http.get(f"{stack.api}/openapi.json").raise_for_status().json()["paths"]
    assert {"/notify/", "/task_status/{task_id}"} <= {path.replace(":path", "") for path in paths}
    assert {"202", "413", "422", "429", "503"} <= paths["/notify/"]["post"]["responses"].keys()
