"""The CloudWatch agent's configuration is one that the vendor's schema takes, in every mode."""

import json
import tomllib
from typing import Any

import jsonschema
import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.ansible.rendering import ROOT, read_yaml

ROLE = ROOT / "roles" / "cloudwatch_agent"
SCHEMA = json.loads((ROOT / "molecule/sandbox/agent/amazon-cloudwatch-agent-schema.json").read_text())
SETTINGS: dict[str, dict[str, Any]] = {
    "ec2": {"cloudwatch_agent_namespace": "steadfast/production"},
    "ec2, another region": {
        "cloudwatch_agent_namespace": "steadfast/production",
        "cloudwatch_agent_region": "us-east-1",
    },
    "onPremise": {
        "cloudwatch_agent_namespace": 'odd "name"/test',
        "cloudwatch_agent_mode": "onPremise",
        "cloudwatch_agent_region": "eu-central-1",
        "cloudwatch_agent_credentials_path": '/etc/odd "path"/credentials',
        "cloudwatch_agent_endpoint_url": "http://aws.sandbox.internal:5000",
        "cloudwatch_agent_log_retention_days": 7,
    },
}


def render(template: str, settings: dict[str, Any]) -> str:
    """A template of the role as it would stand on the host."""
    variables = {
        **read_yaml(ROLE / "defaults/main.yml"),
        **read_yaml(ROLE / "vars/main.yml"),
        "ansible_managed": "Ansible managed",
        **settings,
    }
    text = trust_as_template((ROLE / "templates" / template).read_text())
    return str(Templar(loader=DataLoader(), variables=variables).template(text, convert_data=False))


@pytest.fixture(params=list(SETTINGS))
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What an inventory sets, by mode."""
    return SETTINGS[request.param]


@pytest.fixture
def configuration(settings: dict[str, Any]) -> dict[str, Any]:
    """The configuration as it would stand on the host, parsed."""
    return dict(json.loads(render("amazon-cloudwatch-agent.json.j2", settings)))


def test_the_vendors_schema_takes_the_configuration(configuration: dict[str, Any]) -> None:
    jsonschema.Draft4Validator(SCHEMA).validate(configuration)


def test_the_schema_is_one_that_refuses(configuration: dict[str, Any]) -> None:
    configuration["metrics"]["name_space"] = "misspelt"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate(configuration)


def test_everything_goes_under_the_names_of_the_environment(
    configuration: dict[str, Any], settings: dict[str, Any]
) -> None:
    assert configuration["metrics"]["namespace"] == settings["cloudwatch_agent_namespace"]
    collected = configuration["logs"]["logs_collected"]
    for log in collected["journald"]["collect_list"] + collected["files"]["collect_list"]:
        assert log["log_group_name"] == f"/{settings['cloudwatch_agent_namespace']}/host"
        assert log["retention_in_days"] == settings.get("cloudwatch_agent_log_retention_days", 30)


def test_metrics_are_summed_up_by_a_dimension_that_they_have(
    configuration: dict[str, Any], settings: dict[str, Any]
) -> None:
    metrics = configuration["metrics"]
    if settings.get("cloudwatch_agent_mode", "ec2") == "ec2":
        assert metrics["append_dimensions"] == {"InstanceId": "${aws:InstanceId}"}
        assert metrics["aggregation_dimensions"] == [["InstanceId"], []]
    else:
        # The metadata service that would fill InstanceId is not there; the agent adds `host` by itself.
        assert "append_dimensions" not in metrics
        assert metrics["aggregation_dimensions"] == [["host"], []]


def test_streams_of_a_host_cannot_meet_another_hosts(configuration: dict[str, Any]) -> None:
    collected = configuration["logs"]["logs_collected"]
    streams = [log["log_stream_name"] for kind in collected.values() for log in kind["collect_list"]]
    assert len(set(streams)) == len(streams)
    assert all(stream.startswith(("{instance_id}/", "{hostname}/")) for stream in streams)


def test_credentials_stand_in_the_common_configuration_only_where_they_are_set(
    settings: dict[str, Any],
) -> None:
    common = tomllib.loads(render("common-config.toml.j2", settings))
    path = settings.get("cloudwatch_agent_credentials_path")
    assert common == ({"credentials": {"shared_credential_file": path}} if path else {})


def test_the_hosts_lines_are_kept_as_long_as_the_others() -> None:
    # Provisioning gives all groups the application's days; two that differ would undo each other's for ever.
    given = {**SETTINGS["ec2"], "app_stack_log_retention_days": 90}
    logs = json.loads(render("amazon-cloudwatch-agent.json.j2", given))["logs"]["logs_collected"]
    assert logs["journald"]["collect_list"][0]["retention_in_days"] == 90
    assert logs["files"]["collect_list"][0]["retention_in_days"] == 90
