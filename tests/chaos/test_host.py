"""The host restarts, loses power, gets a release, or its clock jumps."""

import time

import httpx

from tests.chaos.stack import ROOT, Stack, command, eventually
from tests.chaos.trial import Trial

# From the moment at which the host goes down until the stack is ready and all is delivered.
REBOOT_LIMIT_SECONDS = 60


def answers_ready(stack: Stack) -> bool:
    try:
        return httpx.get(f"{stack.health}/ready", timeout=3, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_engine_restarted(trial: Trial) -> None:
    """Containers stay while it does."""
    with trial.load(rate=10):
        time.sleep(2)
        trial.stack.host("systemctl", "restart", "docker")
        trial.over()
        time.sleep(5)
    trial.conclude(settle_seconds=60, limit_seconds=20)


def test_engine_killed(trial: Trial) -> None:
    """And systemd starts it again."""
    stack = trial.stack
    with trial.load(rate=10):
        time.sleep(2)
        stack.host("systemctl", "kill", "--signal=KILL", "docker")
        eventually(
            lambda: stack.host("docker", "info", "--format", "{{.ID}}", check=False),
            seconds=60,
            what="it is back",
        )
        trial.over()
        time.sleep(5)
    trial.conclude(settle_seconds=60, limit_seconds=20)


def test_host_rebooted(trial: Trial) -> None:
    """As an operator does it."""
    trial.submit(12, "slow-3")
    with trial.load(rate=4):
        trial.over()
        command("docker", "restart", f"{trial.stack.name}-host")
        eventually(lambda: answers_ready(trial.stack), seconds=120, what="the stack is ready")
        trial.figures["ready after, seconds"] = round(time.time() - (trial.over_at or 0), 1)
    trial.conclude(settle_seconds=90, limit_seconds=REBOOT_LIMIT_SECONDS)


def test_host_loses_power(trial: Trial) -> None:
    """Nothing is written, nobody says goodbye."""
    trial.submit(12, "slow-3")
    with trial.load(rate=4):
        trial.over()
        command("docker", "kill", f"{trial.stack.name}-host")
        command("docker", "start", f"{trial.stack.name}-host")
        eventually(lambda: answers_ready(trial.stack), seconds=120, what="the stack is ready")
        trial.figures["ready after, seconds"] = round(time.time() - (trial.over_at or 0), 1)
    trial.conclude(settle_seconds=90, limit_seconds=REBOOT_LIMIT_SECONDS)


def test_deployed_under_load(trial: Trial) -> None:
    """A release of a changed setting, and the way back, while clients submit."""
    deploy = ("ansible-playbook", f"--inventory={ROOT}/inventory/sandbox", f"{ROOT}/playbooks/deploy-app.yml")
    with trial.load(rate=10):
        command(*deploy, "--extra-vars=app_stack_log_level=warning", seconds=300)
        command(*deploy, seconds=300)
        trial.over()
    assert set(trial.clients.statuses) == {202}, trial.clients.statuses
    trial.conclude(settle_seconds=60, limit_seconds=20)


def test_clock_jumps(trial: Trial) -> None:
    """An hour ahead and an hour back, for the worker and the API, in the middle of their work."""
    stack = trial.stack
    override = f"""
services:
  worker_{stack.colour}: &clock
    environment: {{LD_PRELOAD: /faketime/libfaketimeMT.so.1, FAKETIME_TIMESTAMP_FILE: /clock/offset,
                   FAKETIME_NO_CACHE: "1", FAKETIME_DONT_FAKE_MONOTONIC: "1", DONT_FAKE_MONOTONIC: "1"}}
    volumes: ["/usr/lib/x86_64-linux-gnu/faketime:/faketime:ro", "/run/clock:/clock:ro"]
  api_{stack.colour}: *clock
"""
    stack.host(
        "sh",
        "-c",
        "mkdir -p /run/clock && echo +0 > /run/clock/offset && cat > /run/clock/override.yml",
        stdin=override,
    )
    services = (f"worker_{stack.colour}", f"api_{stack.colour}")
    files = ("-f", "/opt/steadfast/docker-compose.yml", "-f", "/run/clock/override.yml")
    stack.compose(*files, "up", "--detach", "--wait", "--no-deps", *services)
    try:
        with trial.load(rate=8, kinds=("", "slow-1")):
            for offset in ("+1h", "-1h", "+0"):
                time.sleep(6)
                stack.host("sh", "-c", f"echo {offset} > /run/clock/offset")
                seen = stack.host("docker", "exec", stack.container("worker"), "date", "+%s")
                trial.figures[f"clock {offset}"] = round((int(seen) - time.time()) / 3600)
            trial.over()
            time.sleep(4)
        assert [trial.figures[f"clock {offset}"] for offset in ("+1h", "-1h", "+0")] == [1, -1, 0]
        trial.conclude(settle_seconds=60, limit_seconds=20)
    finally:
        stack.compose("up", "--detach", "--wait", "--no-deps", *services)
