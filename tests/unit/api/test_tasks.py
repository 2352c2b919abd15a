"""Operators' paths: nothing without the token, and every request in one of the forms that they have."""

import hmac
from typing import Any

import pytest

from app.api import tasks
from app.operator_schemas import ByAge, ByIds, ByStatus, Changed, Counts, Listing, TaskPage
from app.schemas import Operation, Status
from app.services import operation
from tests.unit.api.conftest import Api
from tests.unit.api.test_main import assert_problem
from tests.unit.conftest import SECRETS

TOKEN = SECRETS["app_operator_token"]
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}
TASK = "0123456789abcdefghijklmnopqrstuv0123"
PATHS = [
    ("GET", "/tasks"),
    ("GET", "/tasks?status=none"),
    ("GET", "/tasks/counts"),
    ("POST", "/tasks/cancel"),
    ("POST", "/tasks/retry"),
    ("POST", "/tasks/replay"),
]
WRONG = {
    "nothing": "",
    "another token": f"Bearer {TOKEN[:-1]}x",
    "half of it": f"Bearer {TOKEN[:-1]}",
    "more than it": f"Bearer {TOKEN}x",
    "it twice": f"Bearer {TOKEN} {TOKEN}",
    "no word": "Bearer ",
    "the word alone": "Bearer",
    "another scheme": f"Basic {TOKEN}",
    "no scheme": TOKEN,
    "no ASCII": "Bearer \xff\xfe",
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What reached the use cases, which answer with nothing."""
    calls: list[Any] = []

    def look(database: Any, which: Listing) -> TaskPage:
        calls.append((database, which))
        return TaskPage(tasks=[], next=None)

    def count(database: Any) -> Counts:
        calls.append((database,))
        return Counts(counts={}, estimated=[], claimed_again=0, oldest_due_seconds=0)

    def change(database: Any, what: Operation, which: Any) -> Changed:
        calls.append((database, what, which))
        return Changed(task_ids=[TASK], left=[])

    for call in (look, count, change):
        monkeypatch.setattr(operation, call.__name__, call)
    return calls


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_without_the_token_nothing_is_said_and_nothing_done(
    api: Api, asked: list[Any], method: str, path: str, name: str
) -> None:
    headers = [(b"Authorization", WRONG[name].encode("latin-1"))] if WRONG[name] else []
    # Not even whether the request could be read.
    for content in (b"{", b'{"status": "failed"}'):
        answer = api.client.request(method, path, content=content, headers=headers)
        body = assert_problem(answer, 401, "unauthorized")
        assert body == {
            "error": "unauthorized",
            "message": "This address is for operators. Send their token.",
        }
        assert answer.headers["www-authenticate"] == "Bearer"
    assert asked == []


@pytest.mark.parametrize(("method", "path"), PATHS[2:])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_with_the_token_it_is_done_and_nobody_keeps_the_answer(
    api: Api, asked: list[Any], method: str, path: str, scheme: str
) -> None:
    headers = {"Authorization": f"{scheme} {TOKEN}"}
    answer = api.client.request(method, path, json={"status": "failed"}, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert [call[0] for call in asked] == ["the operators' database"]


@pytest.mark.parametrize(
    ("given", "status"), [(TOKEN, 200), (f"{TOKEN[:-1]}x", 401), (TOKEN[:1], 401), ("", 401)]
)
def test_a_token_is_compared_in_a_time_that_tells_nothing_of_it(
    api: Api, asked: list[Any], monkeypatch: pytest.MonkeyPatch, given: str, status: int
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    class Noting:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            compared.append((one, other))
            return hmac.compare_digest(one, other)

    monkeypatch.setattr(tasks, "hmac", Noting)
    answer = api.client.get("/tasks/counts", headers={"Authorization": f"Bearer {given}"})
    assert answer.status_code == status
    # It alone decides: it got the whole of both, whatever is wrong.
    assert compared == [(given.encode(), TOKEN.encode())]


def test_a_listing_is_narrowed_as_asked(api: Api, asked: list[Any]) -> None:
    query = f"status=failed&older_than_seconds=60&limit=5&before={TASK}"
    assert api.client.get(f"/tasks?{query}", headers=OPERATOR).json() == {"tasks": [], "next": None}
    assert api.client.get("/tasks", headers=OPERATOR).status_code == 200
    assert [which for _, which in asked] == [
        Listing(status=Status.FAILED, older_than_seconds=60, limit=5, before=TASK),
        Listing(status=None, older_than_seconds=0, limit=100, before=None),
    ]


@pytest.mark.parametrize(
    ("query", "field"),
    [("status=none", "status"), ("limit=0", "limit"), ("limit=1001", "limit"), ("before=0", "before"),
     ("older_than_seconds=-1", "older_than_seconds"), ("older_than_seconds=1e300", "older_than_seconds"),
     ("older_than_seconds=99999999999", "older_than_seconds"), ("older_than=9", "older_than")],
)  # fmt: skip
def test_a_listing_that_cannot_be_is_refused(api: Api, asked: list[Any], query: str, field: str) -> None:
    body = assert_problem(api.client.get(f"/tasks?{query}", headers=OPERATOR), 422, "invalid_input")
    assert [problem["field"] for problem in body["fields"]] == [field]
    assert asked == []


@pytest.mark.parametrize(
    ("body", "which"),
    [
        ({"task_ids": [TASK]}, ByIds(task_ids=[TASK])),
        ({"status": "failed"}, ByStatus(status=Status.FAILED, older_than_seconds=0, limit=1000)),
        (
            {"status": "failed", "older_than_seconds": 5, "limit": 7},
            ByStatus(status=Status.FAILED, older_than_seconds=5, limit=7),
        ),
        ({"older_than_seconds": 5}, ByAge(older_than_seconds=5, limit=1000)),
    ],
    ids=str,
)
@pytest.mark.parametrize("what", Operation)
def test_tasks_are_chosen_by_id_by_status_or_by_age(
    api: Api, asked: list[Any], body: dict[str, Any], which: Any, what: Operation
) -> None:
    answer = api.client.post(f"/tasks/{what}", json=body, headers=OPERATOR)
    assert answer.json() == {"task_ids": [TASK], "left": []}
    assert [call[1:] for call in asked] == [(what, which)]


@pytest.mark.parametrize(
    "body",
    [{}, [], None, {"limit": 5}, {"task_ids": []}, {"task_ids": ["0"]}, {"task_ids": [TASK] * 251},
     {"task_ids": TASK}, {"task_ids": [TASK], "status": "failed"}, {"task_ids": [TASK], "limit": 1},
     {"status": "none"}, {"status": None}, {"status": None, "older_than_seconds": 5},
     {"older_than_seconds": 0}, {"status": "failed", "limit": 0}, {"status": "failed", "limit": 1001},
     {"status": "failed", "before": TASK}],
    ids=lambda body: str(body)[:60],
)  # fmt: skip
@pytest.mark.parametrize("what", Operation)
def test_what_chooses_no_tasks_changes_none(api: Api, asked: list[Any], body: Any, what: Operation) -> None:
    answer = api.client.post(f"/tasks/{what}", json=body, headers=OPERATOR)
    assert_problem(answer, 422, "invalid_input")
    assert asked == []


def test_the_description_says_that_a_token_is_needed(api: Api) -> None:
    description = api.client.get("/openapi.json").json()
    for path, item in description["paths"].items():
        for operation_ in item.values():
            assert ("security" in operation_) == path.startswith("/tasks"), path
            assert ("401" in operation_["responses"]) == path.startswith("/tasks"), path
    assert description["components"]["securitySchemes"] == {"operator": {"type": "http", "scheme": "bearer"}}
