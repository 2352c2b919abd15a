"""What is missing or absurd is refused by its name, in a line that says how to set it."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from app.settings import (
    ApiSettings,
    FlowerSettings,
    MigrateSettings,
    RelaySettings,
    Settings,
    SettingsRefused,
    WorkerSettings,
    load,
)
from tests.unit.conftest import SECRETS

Environment = Callable[..., None]
PROCESSES = [ApiSettings, WorkerSettings, RelaySettings, MigrateSettings, FlowerSettings]


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_loads_what_a_deployment_sets(environment: Environment, process: type[Settings]) -> None:
    environment()
    assert load(process).release == "abc123"


@pytest.mark.parametrize(
    ("process", "secrets"),
    [
        (ApiSettings, ["app_database_password", "app_operator_token", "app_redis_password"]),
        (WorkerSettings, ["app_database_password", "app_redis_password"]),
        (RelaySettings, ["app_database_password", "app_redis_password"]),
        (MigrateSettings, ["app_database_password", "app_migrator_password"]),
        (FlowerSettings, ["app_redis_password"]),
    ],
)
def test_each_process_needs_its_own_secrets_and_no_other(
    environment: Environment, process: type[Settings], secrets: list[str]
) -> None:
    environment(**dict.fromkeys(SECRETS))
    with pytest.raises(SettingsRefused) as refused:
        load(process)
    assert sorted(line.split(":")[0] for line in refused.value.lines) == [
        name.removeprefix("app_") for name in sorted(secrets)
    ]
    assert all("SSM" in line for line in refused.value.lines)
    assert all(f"/app_{line.split(':')[0]}," in line for line in refused.value.lines)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMTP_HOST", None),
        ("SMTP_HOST", ""),
        ("SMTP_HOST", "mail example.com"),
        ("SMTP_PORT", "0"),
        ("SMTP_PORT", "65536"),
        ("SMTP_PORT", "smtp"),
        ("SMTP_TLS", "yes"),
        ("SMTP_TIMEOUT_SECONDS", "0"),
        ("MAIL_FROM", "nobody"),
        ("MAIL_FROM", "a@example.com\r\nBcc: b@example.com"),
        ("LOG_LEVEL", "loud"),
        ("COLOUR", "red"),
        ("RELEASE", ""),
        ("DATABASE_HOST", None),
        ("DATABASE_TIMEOUT_SECONDS", "-1"),
        ("MAX_ATTEMPTS", "0"),
        ("RETRY_PAUSE_SECONDS", "0"),
        ("LEASE_SECONDS", "0"),
        ("RELAY_INTERVAL_SECONDS", "0"),
        ("WORKER_CONCURRENCY", "1000"),
    ],
)
def test_one_line_names_the_setting_and_how_to_set_it(
    environment: Environment, name: str, value: str | None
) -> None:
    environment(**{name: value})
    with pytest.raises(SettingsRefused) as refused:
        load(WorkerSettings)
    (line,) = refused.value.lines
    assert line.startswith(f"APP_{name}: ")
    assert f"app_stack_{name.lower()}" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "secret",
    ["changeme", "Change-Me-123!", "password", "Password1234", "your-password", "SuperSecret!!",
     "placeholder", "steadfast", "short", "", "            "],
)  # fmt: skip
def test_a_placeholder_is_no_secret(environment: Environment, secret: str) -> None:
    environment(app_redis_password=secret)
    with pytest.raises(SettingsRefused) as refused:
        load(FlowerSettings)
    assert refused.value.lines[0].startswith("redis_password: ")


def test_a_refusal_repeats_no_secret(environment: Environment) -> None:
    environment(app_database_password="hunter2", SMTP_PORT="x")
    with pytest.raises(SettingsRefused) as refused:
        load(WorkerSettings)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"LEASE_SECONDS": "5"}, "lease_seconds must be at least"),
        ({"TASK_TIMEOUT_SECONDS": "20"}, "task_timeout_seconds must be longer"),
        ({"SMTP_USERNAME": "mailer"}, "smtp_password must not be empty"),
    ],
)
def test_settings_must_fit_together(environment: Environment, changes: dict[str, str], words: str) -> None:
    environment(**changes)
    with pytest.raises(SettingsRefused, match=words):
        load(WorkerSettings)


def test_the_brokers_address_survives_any_password(environment: Environment) -> None:
    environment()
    assert load(FlowerSettings).redis_url == "redis://app:r3dis%2FPa55%2Bof%40the%3Atest@redis:6379/0"


def test_settings_do_not_show_secrets(environment: Environment) -> None:
    environment()
    shown = repr(load(WorkerSettings)) + str(load(WorkerSettings))
    assert "Pa55" not in shown


@pytest.mark.parametrize("module", ["app.api", "app.worker", "app.relay", "app.db.migrate", "app.flower"])
def test_a_process_without_settings_ends_before_anything_else(module: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", module], env={"APP_SECRETS_DIR": "/nowhere"}, capture_output=True, text=True
    )
    assert ended.returncode == 78
    lines = ended.stderr.splitlines()
    assert all('"event": "settings.refused"' in line for line in lines), ended.stderr
    assert any("APP_RELEASE: is missing" in line for line in lines)
    assert ended.stdout == ""
