"""One name end to end, both ways: app_stack_smtp_host -> APP_SMTP_HOST -> smtp_host in app/settings.py."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from app import settings as app_settings
from tests.ansible.conftest import Deploy
from tests.ansible.rendering import ROOT, Deployment, read_yaml
from tests.ansible.test_argument_specs import options

# Settings of the role that no container of the application reads.
OF_THE_STACK = {
    "project_name", "directory", "aws_region", "aws_connection",
    "domain_name", "certificate_path", "certificate_key_path", "plain_http_allowed",
    "log_driver", "log_retention_days", "log_endpoint_url",
    "image", "nginx_image", "redis_image", "postgres_image",
    "client_posts_per_minute", "request_body_max_bytes",
    "kept_releases", "roll_back_to", "roll_back_past_contraction",
}  # fmt: skip
# What the template derives: no operator sets these.
DERIVED = {
    "colour", "database_host", "database_port", "database_name", "database_username", "migrator_username",
    "redis_host", "redis_port", "redis_username",
}  # fmt: skip
# A path on the controller, in the containers always the same one; and what SSM may say instead.
OTHER_VALUE = {"database_ca_path", "smtp_username"}
PROCESSES: dict[str, type[app_settings.Settings]] = {
    "api": app_settings.ApiSettings,
    "worker": app_settings.WorkerSettings,
    "flower": app_settings.FlowerSettings,
    "migrate": app_settings.MigrateSettings,
}
SECRETS = {"database_password", "redis_password", "smtp_password", "migrator_password", "operator_token"}


def of_operators() -> set[str]:
    """The settings that an operator may set and the application reads."""
    return {name.removeprefix("app_stack_") for name in options("app_stack")} - OF_THE_STACK


def in_role() -> dict[str, Any]:
    """__app_stack_settings_of_a_release, as it stands."""
    variables = read_yaml(ROOT / "roles" / "app_stack" / "vars" / "main.yml")
    return dict(variables["__app_stack_settings_of_a_release"])


def environment(deployment: Deployment) -> dict[str, str | None]:
    """The environment that Compose makes of the file: in single quotes letters mean themselves."""
    text = deployment.files[f"./env/{deployment.value('{{ __app_stack_target.colour }}')}.env"]
    return dict(dotenv_values(stream=StringIO(text), interpolate=False))


def fields() -> dict[str, Any]:
    """What any process of the application reads, by name."""
    return {name: field for process in PROCESSES.values() for name, field in process.model_fields.items()}


def test_every_setting_of_an_operator_reaches_the_environment() -> None:
    declared = {name.removeprefix("app_stack_") for name in options("app_stack")}
    assert OF_THE_STACK - declared == set()
    assert set(in_role()) == of_operators() | (DERIVED - {"colour"})
    for name in of_operators() - OTHER_VALUE:
        assert in_role()[name] == f"{{{{ app_stack_{name} }}}}"


@pytest.mark.parametrize(
    ("setting", "parameter", "expected"),
    [("", None, ""), ("", "AKIAMADEUP", "AKIAMADEUP"), ("set", "AKIAMADEUP", "set"), ("set", None, "set")],
)
def test_who_logs_in_to_the_mail_server_may_stand_in_ssm(
    deploy: Deploy, setting: str, parameter: str | None, expected: str
) -> None:
    run = deploy(app_stack_smtp_username=setting, parameters={"smtp/username": parameter})
    assert environment(run)["APP_SMTP_USERNAME"] == expected


def test_every_setting_of_the_environment_is_read_by_the_application(first: Deployment) -> None:
    assert set(environment(first)) == {f"APP_{name.upper()}" for name in of_operators() | DERIVED}
    assert set(fields()) == of_operators() | DERIVED | SECRETS


def test_every_secret_that_the_application_reads_is_a_file(first: Deployment) -> None:
    assert set(first.compose["secrets"]) == {f"blue_app_{name}" for name in SECRETS}
    assert {f"./secrets/blue/app_{name}" for name in SECRETS} <= set(first.secret_files)


def test_the_application_has_no_other_defaults() -> None:
    declared = options("app_stack")
    for name, field in fields().items():
        if not field.is_required() and f"app_stack_{name}" in declared:
            assert field.default == declared[f"app_stack_{name}"]["default"], name


@pytest.mark.parametrize("service", PROCESSES)
def test_what_is_deployed_is_accepted(
    first: Deployment, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = first.services.get(service) or first.services[f"{service}_blue"]
    for secret in found["secrets"]:
        path = first.compose["secrets"][secret["source"]]["file"]
        (tmp_path / secret["target"]).write_text(first.secret_files[path]["content"])
    for variable, value in environment(first).items():
        monkeypatch.setenv(variable, value or "")
    monkeypatch.setenv("APP_SECRETS_DIR", str(tmp_path))
    loaded = app_settings.load(PROCESSES[service])
    assert loaded.release == first.value("{{ app_stack_release }}")
    assert loaded.environment == first.environment


def test_paths_in_the_environment_are_mounted(first: Deployment) -> None:
    path = environment(first)["APP_DATABASE_CA_PATH"]
    for name in ("api_blue", "worker_blue", "migrate"):
        assert f"./config/app:{Path(str(path)).parent}:ro" in first.services[name]["volumes"]
    assert f"./config/app/{Path(str(path)).name}" in first.files


@pytest.mark.parametrize(
    "value",
    [
        "a$b",
        "${HOME}",
        "back\\slash",
        "x # y",
        " two  spaces ",
        '"double"',
        "it's",
        "%s",
        "{{ braces }}",
        "=",
    ],
)
def test_any_value_arrives_as_it_was_set(deploy: Deploy, value: str) -> None:
    run = deploy(app_stack_smtp_username=value)
    assert environment(run)["APP_SMTP_USERNAME"] == value
