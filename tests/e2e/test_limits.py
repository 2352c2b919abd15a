"""Production's limits hold, whatever a client claims about itself.

The sandbox has its limits so high that load can be measured. This file wants a stack deployed with the
defaults of roles/app_stack (10 posts a minute and client, as many again in one burst; 5 mails an hour and
recipient), to which nobody posted within the last two minutes. It runs only where it is named:
`pytest tests/e2e/test_limits.py`.
"""

import secrets
from collections.abc import Callable
from typing import Any

import httpx

from tests.e2e.deployed import Stack

Problem = Callable[..., dict[str, Any]]
POSTS_A_MINUTE = 10
BURST = 10
MAILS_AN_HOUR = 5


def test_a_recipient_gets_no_more_mails_than_an_hour_allows(
    stack: Stack, http: httpx.Client, problem: Problem
) -> None:
    name = f"e2e-{secrets.token_hex(6)}"
    # Case and a tag make no other recipient.
    addresses = [f"{name}@example.com", f"{name}+tag@example.com", f"{name.upper()}@EXAMPLE.com"]
    answers = [
        http.post(f"{stack.page}/notify/", json={"email": addresses[number % len(addresses)]})
        for number in range(MAILS_AN_HOUR + 1)
    ]
    assert [answer.status_code for answer in answers[:-1]] == [202] * MAILS_AN_HOUR
    problem(answers[-1], 429, "recipient_limit_reached")
    assert 0 < int(answers[-1].headers["retry-after"]) <= 3600


def test_a_client_is_limited_by_the_address_that_it_really_has(
    stack: Stack, http: httpx.Client, problem: Problem
) -> None:
    """The posts that the limit leaves and some more; each claims to come from elsewhere."""
    accepted, refused = 0, []
    for number in range(POSTS_A_MINUTE + BURST + 10):
        claims = {
            "X-Forwarded-For": f"198.51.100.{number}",
            "X-Real-IP": f"198.51.100.{number}",
            "Forwarded": f"for=198.51.100.{number}",
        }
        body = {"email": f"e2e-{secrets.token_hex(6)}@example.com"}
        door = (stack.page, stack.api)[number % 2]  # The two ports share one count.
        answer = http.post(f"{door}/notify/", json=body, headers=claims)
        if answer.status_code == 202:
            accepted += 1
        else:
            refused.append(answer)
    assert 0 < accepted <= BURST + 1 + POSTS_A_MINUTE / 2
    assert len(refused) >= 10
    for answer in refused:
        problem(answer, 429, "too_many_requests")
        assert 0 < int(answer.headers["retry-after"]) <= 60


def test_reading_a_status_is_not_counted(stack: Stack, http: httpx.Client, problem: Problem) -> None:
    for _ in range(3 * (POSTS_A_MINUTE + BURST)):
        problem(http.get(f"{stack.page}/task_status/{'0' * 36}"), 404, "task_not_found")
    assert http.get(f"{stack.page}/").status_code == 200
