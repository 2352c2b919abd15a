"""The application's figures are put each minute, by a unit that may do little else."""

from testinfra.host import Host

UNIT = "app-metrics.service"
PROGRAM = "/usr/local/lib/app-metrics/app_metrics.py"


def shown(host: Host, unit: str, *names: str) -> dict[str, str]:
    """What systemd says of a unit."""
    properties = " ".join(f"--property={name}" for name in names)
    lines = host.check_output(f"systemctl show {unit} {properties}").splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_a_timer_starts_it_each_minute_from_boot_on(host: Host) -> None:
    timer = host.service("app-metrics.timer")
    assert timer.is_running
    assert timer.is_enabled
    assert "minutely" in host.file("/etc/systemd/system/app-metrics.timer").content_string


def test_the_last_run_found_everybody_answering(host: Host) -> None:
    # Once by hand, since the timer may just have been started.
    assert host.run(f"systemctl start {UNIT}").rc == 0
    assert shown(host, UNIT, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}


def test_it_keeps_a_reading_that_nobody_else_reads(host: Host) -> None:
    state = host.file("/var/lib/private/app-metrics/reading.json")
    assert state.mode == 0o600
    assert '"steadfast_tasks_accepted_total"' in state.content_string


def test_only_root_can_change_the_program(host: Host) -> None:
    program = host.file(PROGRAM)
    assert (program.user, program.group, program.mode) == ("root", "root", 0o755)


def test_it_may_do_little(host: Host) -> None:
    wanted = {
        "DynamicUser": "yes",
        "NoNewPrivileges": "yes",
        "PrivateDevices": "yes",
        "PrivateTmp": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "CapabilityBoundingSet": "",
        "MemoryDenyWriteExecute": "yes",
    }
    assert shown(host, UNIT, *wanted) == wanted
