"""The host restarts, loses power, gets a release, or its clock jumps."""

import json
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


# What the application's processes load first: their clock is off by what the file says.
_CLOCK = """
import time

true_time, true_time_ns = time.time, time.time_ns


def offset():
    try:
        with open("/clock/offset") as file:
            return int(file.read() or 0)
    except OSError:
        return 0


time.time = lambda: true_time() + offset()
time.time_ns = lambda: true_time_ns() + offset() * 10**9
"""


def test_clock_jumps(trial: Trial) -> None:
    """An hour ahead and an hour back, for the worker and the API, in the middle of their work."""
    stack = trial.stack
    services = (f"worker_{stack.colour}", f"api_{stack.colour}")
    clock = {"environment": {"PYTHONPATH": "/clock"}, "volumes": ["/run/clock:/clock:ro"]}
    override = json.dumps({"services": dict.fromkeys(services, clock)})
    stack.host("sh", "-c", "mkdir -p /run/clock && cat > /run/clock/sitecustomize.py", stdin=_CLOCK)
    stack.host("sh", "-c", "cat > /run/clock/override.yml", stdin=override)
    set_clock(stack, 0)
    files = ("-f", "/opt/steadfast/docker-compose.yml", "-f", "/run/clock/override.yml")
    stack.compose(*files, "up", "--detach", "--wait", "--no-deps", *services)
    try:
        with trial.load(rate=8, kinds=("", "slow-1")):
            for hours in (1, -1, 0):
                time.sleep(6)
                set_clock(stack, hours)
            trial.over()
            time.sleep(4)
        trial.conclude(settle_seconds=60, limit_seconds=20)
    finally:
        stack.compose("up", "--detach", "--wait", "--no-deps", *services)


def set_clock(stack: Stack, hours: int) -> None:
    """Lets it jump, and sees that it did."""
    # Renamed into place: nobody reads half of it.
    stack.host("sh", "-c", f"echo {hours * 3600} > /run/clock/new && mv /run/clock/new /run/clock/offset")
    if stack.host("docker", "exec", stack.container("worker"), "printenv", "PYTHONPATH", check=False):
        ask = ("python", "-c", "import time; print(time.time())")
        seen = float(stack.host("docker", "exec", stack.container("worker"), *ask))
        assert abs(seen - time.time() - hours * 3600) < 60, "its clock did not jump"
