"""Operators' paths: with the token, on the API's port alone, to the end that the page shows."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.e2e.deployed import Stack, Trust, Visit

Problem = Callable[..., dict[str, Any]]
FinalStatus = Callable[[str], dict[str, Any]]
PATHS = [
    ("GET", "/tasks"),
    ("GET", "/tasks/counts"),
    ("POST", "/tasks/cancel"),
    ("POST", "/tasks/retry"),
    ("POST", "/tasks/replay"),
]


@pytest.fixture
def operator(stack: Stack, trust: Trust, operator_token: str) -> Any:
    """Asks as an operator does; the answer's body."""

    def ask(path: str, body: dict[str, Any] | None = None, **query: Any) -> Any:
        with httpx.Client(
            trust_env=False,
            verify=trust.context(),
            timeout=20,
            headers={"Authorization": f"Bearer {operator_token}"},
        ) as client:
            answer = client.request(
                "GET" if body is None else "POST", stack.api + path, json=body, params=query
            )
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()

    return ask


@pytest.fixture
def put_off(stack: Stack, http: httpx.Client, someone: str) -> Callable[..., dict[str, Any]]:
    """A task that the mail server has put off once, and will take the next time."""

    def send() -> dict[str, Any]:
        body = {"email": f"defer-1-{someone}", "message": "For nobody else."}
        url = (
            stack.page + http.post(f"{stack.page}/notify/", json=body).raise_for_status().headers["location"]
        )
        for _ in range(100):
            task: dict[str, Any] = http.get(url).raise_for_status().json()
            if task["status"] == "retrying":
                return {**task, "url": url}
            time.sleep(0.05)
        raise AssertionError(f"was not put off: {task}")

    return send


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_without_the_token_nothing_is_said(
    stack: Stack, http: httpx.Client, problem: Problem, operator_token: str, method: str, path: str
) -> None:
    for header in (
        {},
        {"Authorization": f"Bearer {operator_token}x"},
        {"Authorization": f"Basic {operator_token}"},
    ):
        answer = http.request(method, stack.api + path, headers=header, content=b"{")
        problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_the_world_has_no_such_path_even_with_the_token(
    stack: Stack, http: httpx.Client, problem: Problem, operator_token: str, method: str, path: str
) -> None:
    for door in (stack.page, stack.health):
        answer = http.request(
            method, door + path, headers={"Authorization": f"Bearer {operator_token}"}, json={}
        )
        problem(answer, 404, "not_found")


def test_a_cancelled_task_is_shown_as_that_and_sends_nothing_until_it_is_replayed(
    operator: Any,
    put_off: Callable[..., dict[str, Any]],
    visit: Callable[..., Visit],
    screenshot: Callable[..., None],
    final_status: FinalStatus,
    mails: Callable[..., list[dict[str, Any]]],
    mail_of: Callable[[str], dict[str, Any]],
) -> None:
    task = put_off()
    chosen = {"task_ids": [task["task_id"]]}
    assert operator("/tasks/cancel", chosen) == {"task_ids": [task["task_id"]], "left": []}
    page = visit(path=f"/#{task['task_id']}").page
    expect(page.locator("#task-heading")).to_have_text("Cancelled")
    expect(page.locator(".steps")).to_contain_text("It will not be tried again.")
    screenshot(page, "desktop-cancelled")
    ended = final_status(task["url"])
    assert (ended["status"], ended["next_run_at"]) == ("cancelled", None)
    assert ended["finished_at"]
    # Past the time at which it would have been tried again.
    time.sleep(max(0, (datetime.fromisoformat(task["next_run_at"]).timestamp() - time.time())) + 2)
    assert mails(task_id=task["task_id"]) == []
    assert operator("/tasks/cancel", chosen) == {"task_ids": [], "left": [task["task_id"]]}

    assert operator("/tasks/replay", chosen) == {"task_ids": [task["task_id"]], "left": []}
    done = final_status(task["url"])
    assert (done["status"], done["attempts"], done["error"]) == ("succeeded", 1, None)
    assert mail_of(task["task_id"])["task_id"] == task["task_id"]
    (listed,) = [t for t in operator("/tasks", limit=50)["tasks"] if t["task_id"] == task["task_id"]]
    assert (listed["replays"], listed["deaths"]) == (1, 0)
    assert operator("/tasks/replay", chosen)["left"] == [task["task_id"]], (
        "what succeeded is never done again"
    )


def test_a_retried_task_does_not_wait_for_its_turn(
    operator: Any, put_off: Callable[..., dict[str, Any]], final_status: FinalStatus
) -> None:
    task = put_off()
    assert operator("/tasks/retry", {"task_ids": [task["task_id"]]})["task_ids"] == [task["task_id"]]
    done = final_status(task["url"])
    assert (done["status"], done["attempts"]) == ("succeeded", 2)
    finished, planned = (datetime.fromisoformat(text) for text in (done["finished_at"], task["next_run_at"]))
    assert finished < planned


def test_a_listing_shows_where_tasks_stand_and_nothing_that_people_wrote(
    stack: Stack, http: httpx.Client, operator: Any, someone: str, final_status: FinalStatus
) -> None:
    body = {"email": f"refuse-{someone}", "message": "For nobody else."}
    url = http.post(f"{stack.page}/notify/", json=body).raise_for_status().headers["location"]
    assert final_status(stack.page + url)["status"] == "failed"
    before = operator("/tasks/counts")
    page = operator("/tasks", status="failed", limit=1)
    assert [task["task_id"] for task in page["tasks"]] == [url.rpartition("/")[2]]
    assert page["next"] in (None, page["tasks"][0]["task_id"])
    assert page["tasks"][0]["worker"].startswith("worker-")
    assert someone not in str(page)
    assert "nobody else" not in str(page)
    assert before["counts"]["failed"] >= 1
    assert before["counts"].keys() == {"queued", "running", "retrying", "succeeded", "failed", "cancelled"}
    assert operator("/tasks", status="failed", older_than_seconds=3_000_000)["tasks"] == []


def test_what_is_misspelt_is_refused_by_name(
    stack: Stack, http: httpx.Client, problem: Problem, operator_token: str
) -> None:
    headers = {"Authorization": f"Bearer {operator_token}"}
    answer = http.get(f"{stack.api}/tasks?older_than=60", headers=headers)
    assert problem(answer, 422, "invalid_input")["fields"][0]["field"] == "older_than"
    problem(http.post(f"{stack.api}/tasks/replay", json={}, headers=headers), 422, "invalid_input")


def test_guessing_the_token_is_slow(stack: Stack, http: httpx.Client, problem: Problem) -> None:
    try:
        answers = [
            http.get(f"{stack.api}/tasks", headers={"Authorization": "Bearer guess"}) for _ in range(60)
        ]
        refused = [answer for answer in answers if answer.status_code != 401]
        assert len(refused) >= 10
        for answer in refused:
            problem(answer, 429, "too_many_requests")
    finally:
        # Until there is room again for the others.
        time.sleep(3)
