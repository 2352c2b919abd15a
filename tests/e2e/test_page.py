"""A visitor, the page, the real stack behind it and the mail that arrives."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.deployed import Visit

ACCEPTED = "Accepted by the mail server"
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
A_WHILE_MS = 30_000

# The delays that the page asks for, in their order.
RECORD_DELAYS = """
  window.delays = [];
  const original = window.setTimeout;
  window.setTimeout = (call, ms) => { window.delays.push(ms); return original(call, ms); };
"""

# Every text on the screen that stands out too little from what is behind it: WCAG 2.2, 1.4.3 AA asks for a
# contrast of 4.5, or 3 for large text.
FAINT_TEXTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => rgba(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (rgba(colour)[3] === 255) return colour;
    }
    return "#fff";
  };
  const texts = [...document.querySelectorAll("body *")].filter((node) => {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    return own && node.checkVisibility() && !node.matches(".visually-hidden");
  });
  const measured = texts.map((node) => {
    const style = getComputedStyle(node);
    const [dark, light] = [luminance(style.color), luminance(behind(node))].sort((a, b) => a - b);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    return { text: node.textContent, ratio: (light + 0.05) / (dark + 0.05), wanted: large ? 3 : 4.5 };
  });
  return { texts: texts.length, faint: measured.filter(({ ratio, wanted }) => ratio < wanted) };
}"""


def task_id_of(page: Page) -> str:
    return page.url.partition("#")[2]


def expect_accepted(page: Page) -> None:
    expect(page.locator("#task-heading")).to_have_text(ACCEPTED, timeout=A_WHILE_MS)


def test_a_submitted_task_is_followed_to_its_end_and_its_mail_arrives(
    visit: Callable[..., Visit],
    someone: str,
    mail_of: Callable[[str], dict[str, Any]],
    screenshot: Callable[..., None],
) -> None:
    visited = visit()
    page = visited.page
    screenshot(page, "desktop-welcome")
    visited.submit(someone, "Grüße aus dem Browser.\nSecond line: <b>& 日本</b>")

    expect_accepted(page)
    steps = page.locator(".steps li").evaluate_all("items => items.map((item) => item.dataset.state)")
    assert steps == ["done", "done", "done"]
    expect(page.locator("#attempts")).to_have_text("1")
    expect(page.get_by_role("status")).to_have_text(ACCEPTED)
    expect(page).to_have_title(f"{ACCEPTED} · Steadfast")
    screenshot(page, "desktop-accepted")

    mail = mail_of(task_id_of(page))
    assert mail["to"] == [someone]
    assert "Grüße aus dem Browser." in mail["text"]
    assert "Second line: <b>& 日本</b>" in mail["text"]


def test_a_message_is_not_needed(
    visit: Callable[..., Visit], someone: str, mail_of: Callable[[str], dict[str, Any]]
) -> None:
    visited = visit()
    visited.submit(someone)
    expect_accepted(visited.page)
    assert mail_of(task_id_of(visited.page))["to"] == [someone]


def test_a_long_message_arrives_whole(
    visit: Callable[..., Visit], someone: str, mail_of: Callable[[str], dict[str, Any]]
) -> None:
    words = " ".join(f"word{number}" for number in range(200))
    visited = visit()
    visited.submit(someone, words)
    expect_accepted(visited.page)
    assert mail_of(task_id_of(visited.page))["text"].split().count("word199") == 1


def test_a_recipient_that_the_mail_server_refuses_ends_in_its_own_words(
    visit: Callable[..., Visit], someone: str, screenshot: Callable[..., None]
) -> None:
    visited = visit()
    visited.submit(f"refuse-{someone}")
    expect(visited.page.locator("#task-heading")).to_have_text("Failed", timeout=A_WHILE_MS)
    expect(visited.page.locator(".steps")).to_contain_text("No such mailbox here")
    screenshot(visited.page, "desktop-refused")


def test_a_mail_server_that_is_busy_is_tried_again_and_the_page_tells_when(
    visit: Callable[..., Visit],
    someone: str,
    mail_of: Callable[[str], dict[str, Any]],
    screenshot: Callable[..., None],
) -> None:
    visited = visit()
    page = visited.page
    visited.submit(f"defer-1-{someone}")
    expect(page.locator("#task-heading")).to_have_text("Will be tried again", timeout=A_WHILE_MS)
    expect(page.locator(".steps")).to_contain_text("Attempt 2 in")
    screenshot(page, "desktop-tried-again")
    expect_accepted(page)
    expect(page.locator("#attempts")).to_have_text("2")
    assert mail_of(task_id_of(page))["to"] == [f"defer-1-{someone}"]


@pytest.mark.parametrize(
    ("email", "message", "field"),
    [("not an address", "", "email"), ("", "", "email"), ("somebody@example.com", "x" * 2001, "message")],
    ids=["no address", "nothing", "a message too long"],
)
def test_what_is_wrong_is_said_next_to_the_field_and_nothing_typed_is_lost(
    visit: Callable[..., Visit], screenshot: Callable[..., None], email: str, message: str, field: str
) -> None:
    visited = visit()
    visited.submit(email, message)
    page = visited.page
    entry, error = page.locator(f"#{field}"), page.locator(f"#{field}-error")
    expect(error).not_to_be_empty()
    expect(entry).to_be_focused()
    expect(entry).to_have_attribute("aria-invalid", "true")
    expect(entry).to_have_accessible_description(error.text_content() or "")
    expect(page.locator("#email")).to_have_value(email)
    expect(page.locator("#message")).to_have_value(message)
    expect(page.locator("#task-heading")).to_have_text("What will happen")
    if email:
        screenshot(page, f"desktop-wrong-{field}")
    entry.press("a")
    expect(error).to_be_empty()


def test_a_quick_result_is_asked_for_quickly_and_a_slow_one_ever_less_often(
    visit: Callable[..., Visit], someone: str
) -> None:
    visited = visit(script=RECORD_DELAYS)
    visited.submit(someone)
    expect_accepted(visited.page)
    delays = visited.page.evaluate("window.delays")
    assert delays[0] == 100, "the first look comes after a tenth of a second"
    assert sum(delays[:2]) < 300, "and the second one still within 300 ms"
    assert delays == sorted(delays), "then the pauses grow"
    assert max(delays) <= 1000
    visited.page.wait_for_timeout(1200)
    assert visited.page.evaluate("window.delays") == delays, "a final status is not asked for again"


def test_the_last_tasks_survive_a_reload_and_can_be_opened_and_forgotten(
    visit: Callable[..., Visit], someone: str, screenshot: Callable[..., None]
) -> None:
    visited = visit()
    page = visited.page
    visited.submit(f"first-{someone}")
    expect_accepted(page)
    first = task_id_of(page)
    visited.submit(f"second-{someone}")
    expect(page.locator("#task-link")).not_to_have_text(first)
    expect_accepted(page)

    page.reload()
    links = page.locator("#recent-list a")
    expect(links).to_have_text([f"second-{someone}", f"first-{someone}"])
    expect_accepted(page)
    screenshot(page, "desktop-last-tasks")

    links.nth(1).click()
    expect(page.locator("#task-link")).to_have_text(first)
    expect_accepted(page)

    page.get_by_role("button", name="Forget them").click()
    expect(page.locator("#recent")).to_be_hidden()
    page.reload()
    expect_accepted(page)  # The link still leads there …
    expect(page.locator("#recent")).to_be_hidden()  # … but this browser remembers nothing.


def test_the_link_of_a_task_opens_it_in_another_browser(visit: Callable[..., Visit], someone: str) -> None:
    visited = visit()
    visited.submit(someone)
    expect_accepted(visited.page)
    other = visit(path=f"/#{task_id_of(visited.page)}").page
    expect_accepted(other)
    expect(other.locator("#recent")).to_be_hidden()


@pytest.mark.parametrize("name", ["0" * 36, "..", "%2e%2e", "<img src=x onerror=alert(1)>", "a/b"])
def test_a_link_to_no_task_says_so(visit: Callable[..., Visit], name: str) -> None:
    page = visit(path=f"/#{name}").page
    expect(page.locator("#task-heading")).to_have_text("No such task")
    expect(page.locator("#task-notice")).to_contain_text("Check that the link is whole.")


def test_everything_can_be_done_with_the_keyboard_alone(visit: Callable[..., Visit], someone: str) -> None:
    page = visit().page
    keys = page.keyboard
    keys.press("Tab")
    keys.type(someone)
    keys.press("Tab")
    keys.type("typed only")
    keys.press("Tab")
    expect(page.locator("#send")).to_be_focused()
    expect(page.locator("#send")).to_have_css("outline-style", "solid")
    expect(page.locator("#send")).to_have_css("outline-width", "3px")
    keys.press("Enter")
    expect(page.locator("#task-heading")).to_be_focused()
    expect_accepted(page)

    keys.press("Tab")
    expect(page.locator("#task-link")).to_be_focused()
    keys.press("Tab")
    expect(page.locator("#forget")).to_be_focused()
    keys.press("Tab")
    expect(page.locator("#recent-list a")).to_be_focused()
    keys.press("Shift+Tab")
    keys.press("Enter")
    expect(page.locator("#recent")).to_be_hidden()
    expect(page.locator("#email")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(
    visit: Callable[..., Visit], someone: str, screenshot: Callable[..., None], scheme: str
) -> None:
    visited = visit(**PHONE, color_scheme=scheme)
    page = visited.page
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    screenshot(page, f"phone-{scheme}-welcome")
    visited.submit(f"a-rather-long-local-part-{someone}", "x" * 300)
    expect_accepted(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    small = page.locator("button:visible, #email, #message").evaluate_all(
        "nodes => nodes.filter((node) => node.getBoundingClientRect().height < 24).map((node) => node.id)"
    )
    assert small == [], "too small for a finger"
    screenshot(page, f"phone-{scheme}-accepted")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(
    visit: Callable[..., Visit], someone: str, screenshot: Callable[..., None], scheme: str
) -> None:
    visited = visit(color_scheme=scheme)
    page = visited.page
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in background[4:-1].split(",")) < 128) == (scheme == "dark")
    visited.submit("not an address")
    expect(page.locator("#email-error")).not_to_be_empty()
    welcome = page.evaluate(FAINT_TEXTS)
    visited.submit(someone, "In colours.")
    expect_accepted(page)
    accepted = page.evaluate(FAINT_TEXTS)
    screenshot(page, f"desktop-{scheme}")
    assert welcome["texts"] > 10
    assert accepted["texts"] > 15
    assert welcome["faint"] + accepted["faint"] == []


def test_nothing_moves_for_those_who_want_it_so(visit: Callable[..., Visit]) -> None:
    wait = "document.querySelector('.steps li').dataset.state = 'now'"
    moving: dict[str, int] = {}
    for motion in ("no-preference", "reduce"):
        page = visit(reduced_motion=motion).page
        page.evaluate(wait)
        moving[motion] = page.evaluate("document.getAnimations().length")
    assert moving == {"no-preference": 1, "reduce": 0}


def test_the_page_asks_only_its_own_address(visit: Callable[..., Visit], someone: str, stack: Any) -> None:
    asked: list[str] = []
    visited = visit()
    visited.page.on("request", lambda request: asked.append(request.url))
    visited.page.reload()
    visited.submit(someone)
    expect_accepted(visited.page)
    assert any("/task_status/" in url for url in asked)
    assert [url for url in asked if not url.startswith((f"{stack.page}/", "data:"))] == []
