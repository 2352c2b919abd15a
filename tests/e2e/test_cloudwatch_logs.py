"""The containers' lines arrive in CloudWatch Logs, the API's and the worker's apart."""

import os
import time
from collections.abc import Callable
from typing import Any

import boto3
import httpx
import pytest

from tests.e2e.deployed import Stack

WAIT_SECONDS = 30


@pytest.fixture(scope="session")
def lines_of() -> Callable[[str, str], list[str]]:
    """Waits for the lines with a word in the log group of a service."""
    logs: Any = boto3.client(
        "logs",
        endpoint_url=os.environ.get("E2E_AWS_URL", "http://127.0.0.1:5000"),
        region_name="eu-central-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )

    def wait(service: str, word: str) -> list[str]:
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=f"/steadfast/sandbox/{service}", startTime=int((time.time() - 300) * 1000)
            )
            found = [
                event["message"] for page in pages for event in page["events"] if word in event["message"]
            ]
            if found:
                return found
            time.sleep(0.5)
        raise AssertionError(f"no line with {word} from {service} within {WAIT_SECONDS} seconds")

    return wait


def test_a_task_can_be_followed_from_the_api_to_the_worker(
    stack: Stack,
    http: httpx.Client,
    someone: str,
    mail_of: Callable[[str], dict[str, Any]],
    lines_of: Callable[[str, str], list[str]],
) -> None:
    task_id = http.post(f"{stack.page}/notify/", json={"email": someone}).raise_for_status().json()["task_id"]
    mail_of(task_id)
    accepted = lines_of("api", task_id)
    assert '"task.accepted"' in accepted[0]
    done = lines_of("worker", task_id)
    assert any('"task.succeeded"' in line for line in done)
    # Who gets mail is nobody's business who reads logs.
    assert not [line for line in accepted + done if someone in line]


def test_nginx_says_what_it_answered(
    stack: Stack, http: httpx.Client, lines_of: Callable[[str, str], list[str]]
) -> None:
    path = f"/nothing-{time.time_ns()}"
    http.get(f"{stack.page}{path}")
    assert '"status":404' in lines_of("nginx", path)[0]
