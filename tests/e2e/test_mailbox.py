"""The sandbox's mailbox shows people what it got."""

from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import Browser

from tests.e2e.deployed import Stack


def test_its_page_shows_a_mail_that_was_sent(
    stack: Stack,
    http: httpx.Client,
    chromium: Browser,
    someone: str,
    mail_of: Callable[[str], dict[str, Any]],
) -> None:
    accepted = http.post(f"{stack.page}/notify/", json={"email": someone}).raise_for_status().json()
    mail_of(accepted["task_id"])
    page = chromium.new_page()
    try:
        page.goto(f"{stack.mailbox}/")
        page.get_by_text(someone).first.wait_for()
    finally:
        page.close()
