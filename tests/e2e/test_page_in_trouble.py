"""The deployed page when the server says unusual things.

The answers are staged in the browser, since a healthy stack does not give them when asked; the page, its
styles and its content security policy are the deployed ones.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.e2e.deployed import Visit
from tests.e2e.test_page import FAINT_TEXTS, RECORD_DELAYS

TASK = "0123456789abcdefghijklmnopqrstuv0123"
POST, STATUS = "**/notify/", "**/task_status/*"
HIDDEN = """
  window.away = false;
  Object.defineProperty(document, "hidden", { get: () => window.away });
  window.turn = (away) => { window.away = away; document.dispatchEvent(new Event("visibilitychange")); };
"""
NO_STORAGE = """
  const get = () => { throw new DOMException("denied", "SecurityError"); };
  Object.defineProperty(window, "localStorage", { get });
"""
Handler = Callable[[Route], None]


def answer(status: int, body: dict[str, Any], **headers: str) -> Handler:
    """Gives the same answer each time."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    named["Content-Type"] = "application/json"
    return lambda route: route.fulfill(status=status, body=json.dumps(body), headers=named)


def one_after_another(*handlers: Handler) -> Handler:
    """Gives one answer after the other, and then the last one for good."""
    left = list(handlers)
    return lambda route: (left.pop(0) if len(left) > 1 else left[0])(route)


def problem(status: int, error: str, message: str, **headers: str) -> Handler:
    return answer(status, {"error": error, "message": message}, **headers)


def task(status: str, **more: Any) -> Handler:
    body: dict[str, Any] = {"task_id": TASK, "kind": "notify", "status": status, "attempts": 1}
    body |= {"created_at": datetime.now(UTC), "updated_at": datetime.now(UTC)}
    body |= {"finished_at": None, "next_run_at": None, "result": None, "error": None, **more}
    return answer(200, json.loads(json.dumps(body, default=datetime.isoformat)))


ACCEPTED = answer(202, {"task_id": TASK, "status": "queued", "status_url": f"/task_status/{TASK}"})


def test_too_many_requests_are_counted_down_and_another_address_may_be_tried_at_once(
    visit: Callable[..., Visit], screenshot: Callable[..., None]
) -> None:
    visited = visit(routes={POST: problem(429, "recipient_limit_reached", "Wait.", Retry_After="3000")})
    visited.submit("busy@example.com", "Keep me.")
    page = visited.page
    expect(page.get_by_role("alert")).to_contain_text("as many mails as one may get within an hour")
    expect(page.locator("#send")).to_have_text("Send again in 50 min 0 s")
    expect(page.locator("#send")).to_have_text("Send again in 49 min 59 s")
    expect(page.locator("#send")).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#message")).to_have_value("Keep me.")
    screenshot(page, "trouble-too-many")
    page.locator("#email").fill("other@example.com")
    expect(page.locator("#send")).to_have_text("Send")
    expect(page.locator("#send")).not_to_have_attribute("aria-disabled", "true")


def test_after_the_countdown_the_same_can_be_sent_again(visit: Callable[..., Visit]) -> None:
    refusal = problem(503, "service_unavailable", "The service is not answering just now.", Retry_After="1")
    visited = visit(routes={POST: one_after_another(refusal, ACCEPTED), STATUS: task("succeeded")})
    visited.submit("somebody@example.com", "Keep me.")
    page = visited.page
    kept = "The service is not answering just now. What you typed is kept."
    expect(page.get_by_role("alert")).to_have_text(kept)
    expect(page.locator("#message")).to_have_value("Keep me.")
    expect(page.locator("#send")).to_have_text("Send")
    page.locator("#send").click()
    expect(page.locator("#task-heading")).to_have_text("Accepted by the mail server")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_lost_answer_is_explained_and_sent_again_as_the_same_task(
    visit: Callable[..., Visit], screenshot: Callable[..., None]
) -> None:
    keys: list[str] = []

    def lose(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        route.abort("connectionreset")

    visited = visit(routes={POST: lose})
    page = visited.page
    lost = page.get_by_role("alert").get_by_text("may or may not have been accepted")
    visited.submit("somebody@example.com", "Keep me.")
    expect(lost).to_be_visible()
    expect(page.locator("#message")).to_have_value("Keep me.")
    screenshot(page, "trouble-lost-answer")
    assert len(keys) == 1, "sending again is the visitor's choice"
    for message in ("Keep me.", "Another one."):
        page.locator("#message").fill(message)
        with page.expect_request(POST):
            page.locator("#send").click()
        expect(page.locator("#send")).to_have_text("Send")
    assert keys[1] == keys[0], "so that it is not sent twice"
    assert keys[2] != keys[0], "what is written anew is another task"
    assert len(keys[0]) >= 16
    visited.complaints = [line for line in visited.complaints if "ERR_CONNECTION_RESET" not in line]


def test_offline_nothing_is_sent(visit: Callable[..., Visit]) -> None:
    visited = visit()
    visited.context.set_offline(True)
    visited.submit("somebody@example.com", "Keep me.")
    expect(visited.page.get_by_role("alert")).to_contain_text("You are offline, so nothing was sent.")
    expect(visited.page.locator("#message")).to_have_value("Keep me.")


def test_a_second_click_sends_nothing(visit: Callable[..., Visit]) -> None:
    held: list[Route] = []
    visited = visit(routes={POST: lambda route: held.append(route), STATUS: task("succeeded")})
    visited.submit("somebody@example.com")
    page = visited.page
    expect(page.locator("#send")).to_have_text("Sending …")
    page.locator("#send").click(force=True)
    page.locator("#email").press("Enter")
    page.wait_for_timeout(200)
    assert len(held) == 1
    ACCEPTED(held[0])
    expect(page.locator("#task-heading")).to_have_text("Accepted by the mail server")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("status", "more", "headline", "states", "words"),
    [
        ("queued", {"attempts": 0}, "Queued", ["now", "todo", "todo"], "Waiting for a worker."),
        ("running", {}, "Sending", ["done", "now", "todo"], "Attempt 1: a worker hands it"),
        (
            "retrying",
            {"error": {"message": "Greylisted."}, "next_run_at": datetime.now(UTC) + timedelta(hours=3)},
            "Will be tried again",
            ["done", "again", "todo"],
            "Attempt 2 in 2 h",
        ),
        (
            "failed",
            {"error": {"message": "550 no such user."}, "finished_at": datetime.now(UTC)},
            "Failed",
            ["done", "done", "failed"],
            "550 no such user.",
        ),
        ("cancelled", {"attempts": 0}, "Cancelled", ["done", "skipped", "cancelled"], "not be tried again."),
    ],
    ids=["queued", "running", "retrying", "failed", "cancelled"],
)
def test_every_status_has_its_steps_and_its_words(
    visit: Callable[..., Visit],
    screenshot: Callable[..., None],
    scheme: str,
    status: str,
    more: dict[str, Any],
    headline: str,
    states: list[str],
    words: str,
) -> None:
    visited = visit(path=f"/#{TASK}", routes={STATUS: task(status, **more)}, color_scheme=scheme)
    page = visited.page
    expect(page.locator("#task-heading")).to_have_text(headline)
    steps = page.locator(".steps li")
    assert steps.evaluate_all("items => items.map((item) => item.dataset.state)") == states
    expect(page.locator(".steps")).to_contain_text(words)
    expect(page.get_by_role("status")).to_contain_text(headline)
    current = page.locator(".steps li[aria-current=step]")
    expect(current).to_have_count(1 if status in ("queued", "running", "retrying") else 0)
    screenshot(page, f"status-{status}-{scheme}")
    assert page.evaluate(FAINT_TEXTS)["faint"] == []


def test_trouble_while_following_is_said_and_overcome(
    visit: Callable[..., Visit], screenshot: Callable[..., None]
) -> None:
    away = problem(503, "database_unavailable", "The database does not answer.", Retry_After="2")
    cut: Handler = lambda route: route.abort("connectionrefused")  # noqa: E731
    visited = visit(
        path=f"/#{TASK}",
        script=RECORD_DELAYS,
        routes={STATUS: one_after_another(task("queued", attempts=0), away, cut, task("succeeded"))},
    )
    page = visited.page
    expect(page.locator("#task-notice")).to_contain_text("The server cannot say just now.")
    screenshot(page, "trouble-following")
    expect(page.locator("#task-notice")).to_contain_text("The server cannot be reached.")
    expect(page.locator("#task-heading")).to_have_text("Accepted by the mail server")
    expect(page.locator("#task-notice")).to_be_hidden()
    assert page.evaluate("window.delays") == [140, 2000, 2000], "Retry-After, then 1 s doubled"


def test_a_tab_that_nobody_looks_at_asks_seldom_and_at_once_when_somebody_does(
    visit: Callable[..., Visit],
) -> None:
    script = RECORD_DELAYS + HIDDEN
    page = visit(path=f"/#{TASK}", script=script, routes={STATUS: task("queued", attempts=0)}).page
    page.wait_for_function("() => window.delays.length > 1")
    page.evaluate("turn(true)")
    page.wait_for_function("() => window.delays.at(-1) === 5000")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("turn(false)")
    page.wait_for_function("() => window.delays.at(-1) === 140")
    assert asked[0].endswith(f"/task_status/{TASK}")


def test_an_attempt_far_away_is_not_asked_for_each_second(visit: Callable[..., Visit]) -> None:
    later = task("retrying", next_run_at=datetime.now(UTC) + timedelta(minutes=10))
    page = visit(path=f"/#{TASK}", script=RECORD_DELAYS, routes={STATUS: later}).page
    page.wait_for_function("() => window.delays.length > 0")
    assert page.evaluate("window.delays") == [5000]


def test_what_comes_from_outside_never_becomes_markup(visit: Callable[..., Visit]) -> None:
    evil = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"
    remembered = [{"id": f'"><b>{evil}', "to": evil, "at": evil, "status": evil}]
    fields = {"error": "invalid_input", "message": evil, "fields": [{"field": "email", "message": evil}]}
    visited = visit(
        path=f"/#{TASK}",
        script=f"localStorage.setItem('steadfast.tasks', {json.dumps(json.dumps(remembered))})",
        routes={POST: answer(422, fields), STATUS: task("failed", error={"reason": evil, "message": evil})},
    )
    visited.submit(evil, evil)
    page = visited.page
    expect(page.locator(".steps")).to_contain_text(evil)
    expect(page.locator("#email-error")).to_have_text(evil)
    expect(page.locator("#recent-list a")).to_have_text(evil)
    assert page.locator("body script, main img, main b").count() == 0
    assert page.title() == "Failed · Steadfast"


@pytest.mark.parametrize("kept", ["not json", "null", "{}", '[{"id": 1}, null]', '["x"]'])
def test_what_storage_holds_cannot_break_the_page(visit: Callable[..., Visit], kept: str) -> None:
    visited = visit(
        script=f"if (!localStorage.length) localStorage.setItem('steadfast.tasks', {json.dumps(kept)})",
        routes={POST: ACCEPTED, STATUS: task("succeeded")},
    )
    expect(visited.page.locator("#recent")).to_be_hidden()
    visited.submit("somebody@example.com")
    expect(visited.page.locator("#recent-list a")).to_have_text("somebody@example.com")


def test_the_page_works_without_storage(visit: Callable[..., Visit]) -> None:
    visited = visit(script=NO_STORAGE, routes={POST: ACCEPTED, STATUS: task("succeeded")})
    visited.submit("somebody@example.com")
    expect(visited.page.locator("#task-heading")).to_have_text("Accepted by the mail server")
    expect(visited.page.locator("#recent-list a")).to_have_text("somebody@example.com")


def test_times_are_right_though_the_visitors_clock_is_not(visit: Callable[..., Visit]) -> None:
    ahead = "const now = Date.now.bind(Date); Date.now = () => now() + 3_600_000;"
    born = datetime.now(UTC) - timedelta(seconds=20)
    body = {"status": "queued", "attempts": 0, "created_at": born.isoformat(), "finished_at": None}
    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    page = visit(path=f"/#{TASK}", script=ahead, routes={STATUS: answer(200, body, Date=date)}).page
    expect(page.locator("#elapsed")).to_have_text("22 s")
