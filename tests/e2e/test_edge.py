"""What stands between the world and the stack: headers, closed doors, requests that mean no good."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.deployed import RawAnswer, Stack, Trust

Problem = Callable[..., dict[str, Any]]
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
FLOWER_PATHS = [
    "/",
    "/workers",
    "/tasks",
    "/broker",
    "/metrics",
    "/healthcheck",
    "/login",
    "/static/css/flower.css",
    "/api/workers",
    "/api/tasks",
    "/api/task/info/0",
    "/nothing",
    "//metrics",
    "/static/../metrics",
]


def expect_hardened(answer: httpx.Response) -> None:
    """The headers of every answer, of nginx itself or of what is behind it."""
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy == POLICY
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers.get_list("referrer-policy") == ["no-referrer"]
    assert not re.search(r"\d", answer.headers["server"]), "the version is nobody's business"
    assert "x-powered-by" not in answer.headers
    is_told = answer.headers.get_list("strict-transport-security")
    assert is_told == (["max-age=31536000"] if answer.url.scheme == "https" else [])


def assets_of(page: httpx.Response) -> list[str]:
    return re.findall(r'(?:href|src)="(/assets/[^"]+)"', page.text)


def test_every_answer_carries_the_security_headers(stack: Stack, http: httpx.Client) -> None:
    answers = [
        http.get(f"{stack.page}/"),
        http.get(f"{stack.page}/nothing"),
        http.post(f"{stack.page}/notify/", json={"email": "none"}),
        http.post(f"{stack.page}/notify/", content=b"x" * 1_000_000),
        http.get(f"{stack.page}/task_status/0"),
        http.get(f"{stack.api}/openapi.json"),
        http.get(f"{stack.api}/nothing"),
        http.get(f"{stack.health}/"),
        http.get(f"{stack.health}/ready"),
        http.get(f"{stack.health}/metrics"),
        *(http.get(stack.page + path) for path in assets_of(http.get(f"{stack.page}/"))),
    ]
    statuses = [answer.status_code for answer in answers[:10]]
    assert statuses == [200, 404, 422, 413, 404, 200, 404, 200, 200, 200]
    for answer in answers:
        expect_hardened(answer)


def test_the_page_is_asked_for_anew_and_its_assets_are_kept(stack: Stack, http: httpx.Client) -> None:
    page = http.get(f"{stack.page}/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assets = assets_of(page)
    kinds = {path.rsplit(".", 1)[1]: path for path in assets}
    assert kinds.keys() == {"js", "css", "svg"}
    release = http.get(f"{stack.health}/").json()["release"]
    assert {path.split("/")[2] for path in assets} == {release}, "the page is of the release that serves"
    # A module of the page finds the others beside it.
    for path in [*assets, kinds["js"].replace("app.js", "words.js")]:
        asset = http.get(stack.page + path)
        assert asset.status_code == 200
        assert "max-age=31536000" in asset.headers["cache-control"]


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../../../etc/passwd",
        "/assets/live/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/live/../../index.html",
        "/assets/..%2f/etc/passwd",
        "/assets/live/.htaccess",
        "/assets/live/",
        "/assets/",
        "/.env",
        "/index.html",
    ],
)
def test_no_file_but_the_page_is_served(raw: Callable[..., RawAnswer], stack: Stack, path: str) -> None:
    answer = raw(stack.page, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.statuses[0] in (400, 404)
    assert b"root:" not in answer.data


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/metrics", "/health", "/health/ready", "/flower", "/admin", "/static/"]
)
def test_what_is_not_for_the_world_is_not_there(
    stack: Stack, http: httpx.Client, problem: Problem, path: str
) -> None:
    for door in (stack.page, stack.api):
        problem(http.get(door + path), 404, "not_found")


def test_each_port_has_its_own_paths_only(stack: Stack, http: httpx.Client, problem: Problem) -> None:
    problem(http.get(f"{stack.page}/openapi.json"), 404, "not_found")
    problem(http.get(f"{stack.api}/"), 404, "not_found")
    for path in ("/health", "/health/ready", "/notify/", "/task_status/0", "/openapi.json", "/tasks"):
        problem(http.get(stack.health + path), 404, "not_found")
    for path in ("/metrics/", "/metrics/0"):
        problem(http.get(stack.health + path), 404, "not_found")


@pytest.mark.parametrize("path", ["/foo.html", "/a.css", "/x.png", "/a/b.js", "/feed.xml"])
def test_an_error_is_json_whatever_the_address_ends_in(
    stack: Stack, http: httpx.Client, problem: Problem, path: str
) -> None:
    for door in (stack.page, stack.api, stack.health):
        problem(http.get(door + path), 404, "not_found")


def test_the_page_takes_no_post(stack: Stack, http: httpx.Client, problem: Problem) -> None:
    problem(http.post(f"{stack.page}/", json={}), 405, "method_not_allowed")


def test_a_transfer_encoding_that_nobody_knows_is_refused_in_the_form_of_errors(
    stack: Stack, raw: Callable[..., RawAnswer]
) -> None:
    for door in (stack.page, stack.api, stack.health):
        answer = raw(door, smuggled("Transfer-Encoding: gzip, chunked"))
        assert answer.statuses in ([400], [501]), "one answer, and nothing behind it was heeded"
        head, _, body = answer.data.partition(b"\r\n\r\n")
        assert b"content-type: application/json" in head.lower()
        assert json.loads(body)["error"] == "bad_request"


def smuggled(
    *headers: str, body: str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
) -> bytes:
    lines = [
        "POST /notify/ HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        *headers,
        "",
        body,
    ]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 60", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 60"],
        ["Content-Length: +5"],
        ["Content-Length: 5, 60"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Host: elsewhere", "Content-Length: 0"],
    ],
    ids=lambda headers: " & ".join(headers),
)
def test_a_request_of_two_meanings_is_refused(
    raw: Callable[..., RawAnswer], stack: Stack, headers: list[str]
) -> None:
    for door in (stack.page, stack.api):
        assert raw(door, smuggled(*headers)).statuses == [400], "one answer, and nothing behind it was heeded"


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HELO there\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"],
    ids=["TLS", "SMTP", "no host"],
)
def test_what_is_no_request_is_refused(raw: Callable[..., RawAnswer], stack: Stack, data: bytes) -> None:
    answer = raw(stack.page, data)
    assert answer.statuses in ([400], [])
    assert not re.search(rb"nginx/\d", answer.data)


@pytest.mark.parametrize(
    "path", ["/task_status/" + "a" * 20_000, "/?" + "a" * 20_000], ids=["a path", "a query"]
)
def test_an_endless_address_is_refused_in_the_form_of_errors(
    stack: Stack, http: httpx.Client, problem: Problem, path: str
) -> None:
    problem(http.get(stack.page + path), 400, "bad_request")


def test_endless_headers_are_refused_in_the_form_of_errors(
    stack: Stack, http: httpx.Client, problem: Problem
) -> None:
    problem(http.get(f"{stack.page}/", headers={"X-Endless": "a" * 40_000}), 400, "bad_request")


@pytest.mark.parametrize(
    "data",
    [
        b'POST /notify/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"email"',
        b"GET /task_status/0 HTTP/1.1\r\nHost: loc",
    ],
    ids=["body", "headers"],
)
def test_who_sends_slowly_is_cut_off(raw: Callable[..., RawAnswer], stack: Stack, data: bytes) -> None:
    answer = raw(stack.page, data, timeout_seconds=20)
    # nginx counts it as 408 and closes; it writes an answer only where somebody may still read one.
    assert answer.statuses in ([408], [])
    assert 5 < answer.seconds < 15


def test_many_who_send_slowly_do_not_keep_the_others_waiting(
    trust: Trust, stack: Stack, http: httpx.Client
) -> None:
    slow = []
    try:
        for _ in range(200):
            slow.append(trust.dial(stack.page, 5))
            slow[-1].sendall(b"POST /notify/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        begun = time.monotonic()
        assert http.get(f"{stack.page}/").status_code == 200
        assert http.get(f"{stack.page}/task_status/0").status_code == 404
        assert time.monotonic() - begun < 2
    finally:
        for connection in slow:
            connection.close()


def test_health_tells_that_the_api_answers(stack: Stack, http: httpx.Client) -> None:
    answer = http.get(f"{stack.health}/")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "release": answer.headers["x-release"]}


def test_ready_names_each_check(stack: Stack, http: httpx.Client) -> None:
    answer = http.get(f"{stack.health}/ready")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "ok"
    assert body["checks"].keys() == {"database", "schema", "redis", "worker", "oldest_due_task"}
    for name, check in body["checks"].items():
        assert check["ok"] is True, name
        assert check["seconds"] < 2, name
        assert check["detail"], name
    assert answer.headers["cache-control"] == "no-store"


def test_metrics_count_a_task_from_its_acceptance_to_its_mail(
    stack: Stack, http: httpx.Client, someone: str, final_status: Callable[[str], dict[str, Any]]
) -> None:
    """Counted by two containers, and told by the port that the host and operators reach."""

    def told() -> dict[str, float]:
        answer = http.get(f"{stack.health}/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["cache-control"] == "no-store"
        families = text_string_to_metric_families(answer.text)
        return {sample.name: sample.value for family in families for sample in family.samples}

    before = told()
    assert (before["steadfast_redis_up"], before["steadfast_workers"] >= 1) == (1, True)
    answer = http.post(f"{stack.page}/notify/", json={"email": someone}).raise_for_status()
    task_id = answer.json()["task_id"]
    assert final_status(f"{stack.page}/task_status/{task_id}")["status"] == "succeeded"
    counters = ("steadfast_tasks_accepted_total", "steadfast_tasks_succeeded_total")
    ends = time.monotonic() + 15
    while any(told()[name] < before[name] + 1 for name in counters):
        assert time.monotonic() < ends, "what was counted is not there"
        time.sleep(0.5)


@pytest.mark.parametrize("path", FLOWER_PATHS)
def test_flower_asks_for_its_password_on_every_path(
    stack: Stack, http: httpx.Client, raw: Callable[..., RawAnswer], path: str
) -> None:
    for auth in (
        "",
        "Authorization: Basic b3BlcmF0b3I6\r\n",
        "Authorization: Basic b3BlcmF0b3I6d3Jvbmc=\r\n",
    ):
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{auth}Connection: close\r\n\r\n"
        answer = raw(stack.flower, request.encode())
        assert answer.statuses == [401], path
        assert b"www-authenticate: basic" in answer.data.lower()
    assert http.post(stack.flower + path).status_code == 401


@pytest.fixture
def shown_by_flower(
    stack: Stack, http: httpx.Client, flower_password: str
) -> Callable[[str, str], dict[str, Any]]:
    """Waits until Flower shows a task in a state; its events come by way of the broker."""

    def wait(task_id: str, state: str) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for _ in range(100):
            answer = http.get(f"{stack.flower}/api/task/info/{task_id}", auth=("operator", flower_password))
            shown = answer.json() if answer.status_code == 200 else {}
            if shown.get("state") == state:
                break
            time.sleep(0.1)
        assert (shown.get("uuid"), shown.get("state")) == (task_id, state)
        return shown

    return wait


@pytest.mark.parametrize(
    ("prefix", "status", "state"), [("", "succeeded", "SUCCESS"), ("refuse-", "failed", "FAILURE")]
)
def test_flower_shows_how_each_task_ended_under_its_id(
    stack: Stack,
    http: httpx.Client,
    someone: str,
    final_status: Callable[[str], dict[str, Any]],
    shown_by_flower: Callable[[str, str], dict[str, Any]],
    prefix: str,
    status: str,
    state: str,
) -> None:
    answer = http.post(f"{stack.page}/notify/", json={"email": prefix + someone}).raise_for_status()
    task_id = answer.json()["task_id"]
    assert final_status(f"{stack.page}/task_status/{task_id}")["status"] == status
    shown = shown_by_flower(task_id, state)
    assert someone not in str(shown), "Flower learns an id and nothing about a person"


def test_flower_shows_the_worker(stack: Stack, http: httpx.Client, flower_password: str) -> None:
    auth = ("operator", flower_password)
    # From events; what the workers answered when Flower itself started (/api/workers) may be nothing yet.
    workers = http.get(f"{stack.flower}/workers?json=1", auth=auth).raise_for_status().json()["data"]
    assert any(re.match(r"worker-(blue|green)-[0-9a-z-]+@", worker["hostname"]) for worker in workers), (
        workers
    )
    page = http.get(f"{stack.flower}/workers", auth=auth)
    assert page.status_code == 200
    assert "worker-" in page.text


def test_flower_changes_nothing(stack: Stack, http: httpx.Client, flower_password: str) -> None:
    """It is read-only unless the operator asked for more."""
    auth = ("operator", flower_password)
    for path in ("/api/worker/shutdown/any", "/api/task/revoke/0", "/api/task/async-apply/any"):
        answer = http.post(stack.flower + path, auth=auth)
        assert 400 <= answer.status_code < 500, (path, answer.status_code)
