"""Alarms and dashboard as data: each looks at a metric that somebody puts, and says what to do."""

import ast
import json
import re
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.ansible.rendering import ROOT, read_yaml
from tests.ansible.test_cloudwatch_agent_config import SETTINGS, render

ROLE = ROOT / "roles" / "aws_monitoring"
INVENTORY = {
    "app_stack_environment": "production",
    "app_stack_aws_region": "eu-central-1",
    "app_stack_smtp_host": "email-smtp.eu-central-1.amazonaws.com",
    "app_stack_smoke_test_recipient": "operations@steadfast.internal",
}
FOUND = {
    "__aws_monitoring_instances": {"instances": [{"instance_id": "i-2"}, {"instance_id": "i-1"}]},
    "__aws_monitoring_databases": {"instances": [{"db_instance_identifier": "steadfast-production"}]},
}
# AWS's own metrics of these namespaces, as far as they are used here, from the services' user guides.
DOCUMENTED = {
    "instance": ("InstanceId", {"CPUUtilization", "NetworkIn", "NetworkOut", "StatusCheckFailed"}),
    "database": (
        "DBInstanceIdentifier",
        {"CPUUtilization", "DatabaseConnections", "FreeableMemory", "FreeStorageSpace"},
    ),
    "mail": ("", {"Reputation.BounceRate", "Reputation.ComplaintRate"}),
}


def value(expression: Any, **given: Any) -> Any:
    """What a template of the role comes to in production, with two instances and a database."""
    variables = {
        **read_yaml(ROLE / "defaults" / "main.yml"),
        **read_yaml(ROLE / "vars" / "main.yml"),
        "role_path": str(ROLE),
        "ansible_search_path": [str(ROLE)],
        **INVENTORY,
        **FOUND,
        **given,
    }
    templar = Templar(loader=DataLoader(), variables=variables)
    return templar.template(trust_as_template(expression) if isinstance(expression, str) else expression)


# What an operator can type as it stands there.
COMMAND = re.compile(r"`(make|curl|aws|docker|df|openssl|journalctl|systemctl|SELECT) [^`]+`")

ALARMS: list[dict[str, Any]] = value("{{ __aws_monitoring_alarms }}")
FILTERS: list[dict[str, str]] = value("{{ __aws_monitoring_filters }}")
NAMES = [alarm["name"] for alarm in ALARMS]


def of_the_program() -> set[str]:
    """What roles/app_metrics/files/app_metrics.py puts: every word in it that is a metric's name."""
    tree = ast.parse((ROOT / "roles/app_metrics/files/app_metrics.py").read_text())
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {word for word in words if isinstance(word, str) and re.fullmatch(r"[A-Z][A-Za-z0-9]+", word)}


def of_the_agent(mode: str) -> set[str]:
    """What the agents add up over their hosts, in the names that they give it: part_measurement."""
    metrics = json.loads(render("amazon-cloudwatch-agent.json.j2", SETTINGS[mode]))["metrics"]
    assert [] in metrics["aggregation_dimensions"], "or nothing is there without a dimension"
    return {
        f"{part}_{measurement}"
        for part, settings in metrics["metrics_collected"].items()
        if isinstance(settings, dict)
        for measurement in settings["measurement"]
    }


@pytest.fixture(params=["ec2", "onPremise"])
def of_the_system(request: pytest.FixtureRequest) -> set[str]:
    """All that is there without a dimension."""
    return of_the_program() | of_the_agent(request.param) | {one["metric"] for one in FILTERS}


def test_every_alarm_has_its_paragraph_and_every_paragraph_its_alarm() -> None:
    text = (ROOT / "instructions.md").read_text().split("\n## Alarms\n")[1].split("\n## ")[0]
    paragraphs = dict(re.findall(r"^### (.+)\n\n((?:.+\n)+)", text, re.MULTILINE))
    assert list(paragraphs) == NAMES, "in the list's order"
    for name, paragraph in paragraphs.items():
        assert COMMAND.search(paragraph), f"{name}: no command"
    (task,) = (
        task
        for task in read_yaml(ROLE / "tasks" / "alarms.yml")[0]["block"]
        if task["name"] == "alarms | Have each alarm"
    )
    settings = task["amazon.aws.cloudwatch_metric_alarm"]
    assert settings["description"].endswith("instructions.md#{{ item.0.name }}")


def test_alarms_are_about_metrics_that_are_there(of_the_system: set[str]) -> None:
    for alarm in ALARMS:
        source, name = alarm["metric"]["source"], alarm["metric"]["name"]
        assert name in (of_the_system if source == "system" else DOCUMENTED[source][1]), alarm["name"]


def test_graphs_are_about_metrics_that_are_there(of_the_system: set[str]) -> None:
    for graph in value("{{ __aws_monitoring_graphs }}"):
        known = of_the_system if graph["source"] == "system" else DOCUMENTED[graph["source"]][1]
        assert set(graph["metrics"]) - known == set(), graph["title"]


def test_everything_that_aws_does_not_put_goes_to_one_namespace() -> None:
    namespace = value("{{ __aws_monitoring_namespace }}")
    assert namespace == "steadfast/production"
    program = read_yaml(ROOT / "roles/app_metrics/defaults/main.yml")["app_metrics_namespace"]
    agent = read_yaml(ROOT / "inventory/production/group_vars/all/cloudwatch_agent.yml")
    assert value(program) == value(agent["cloudwatch_agent_namespace"]) == namespace


def test_no_alarm_looks_back_further_than_cloudwatch_does() -> None:
    # PutMetricAlarm, Period: a week, and a day in periods of less than an hour.
    for alarm in ALARMS:
        rings = alarm["rings"]
        most_seconds = 604_800 if rings["seconds"] >= 3600 else 86_400
        assert rings["periods"] * rings["seconds"] <= most_seconds, alarm["name"]
        assert rings["bad"] <= rings["periods"], alarm["name"]


def test_figures_that_each_host_puts_are_not_added_up() -> None:
    assert {alarm["metric"]["statistic"] for alarm in ALARMS} & {"Sum"} == set()


def test_filters_are_about_lines_that_are_written() -> None:
    written = "\n".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    nginx = (ROOT / "roles/app_stack/templates/nginx.conf.j2").read_text()
    for one in FILTERS:
        for event in re.findall(r'\$\.event = "([^"]+)"', one["pattern"]):
            assert f'log.info("{event}")' in written
        for field in re.findall(r"\$\.(status|path)\b", one["pattern"]):
            assert f'"{field}":' in nginx
    names = [one["name"] for one in FILTERS]
    # The module finds a filter by the beginning of its name.
    assert not [(a, b) for a in names for b in names if a != b and b.startswith(a)]


def test_what_is_about_instances_and_database_is_there_once_for_each() -> None:
    pairs = {(alarm["name"], about) for alarm, about in value("{{ __aws_monitoring_pairs }}")}
    assert {about for name, about in pairs if name == "instance-check"} == {"i-1", "i-2"}
    assert {about for name, about in pairs if name == "database-cpu"} == {"steadfast-production"}
    assert {name for name, _ in pairs} == set(NAMES)


def test_before_there_is_anything_only_the_system_is_watched() -> None:
    nothing: dict[str, Any] = {"instances": []}
    pairs = value(
        "{{ __aws_monitoring_pairs }}",
        __aws_monitoring_instances=nothing,
        __aws_monitoring_databases=nothing,
        app_stack_smtp_host="mail.steadfast.internal",
    )
    assert {alarm["metric"]["source"] for alarm, _ in pairs} == {"system"}


def test_the_dashboard_shows_each_instance_and_the_database() -> None:
    body = json.loads(value("{{ __aws_monitoring_template.Resources.Dashboard.Properties.DashboardBody }}"))
    shown = [metric for widget in body["widgets"] for metric in widget["properties"]["metrics"]]
    assert ["steadfast/production", "QueueDepth"] in shown
    assert ["AWS/EC2", "NetworkIn", "InstanceId", "i-1"] in shown
    assert ["AWS/EC2", "NetworkIn", "InstanceId", "i-2"] in shown
    assert ["AWS/RDS", "FreeStorageSpace", "DBInstanceIdentifier", "steadfast-production"] in shown
    assert {len(metric) for metric in shown} == {2, 4}


def refusals(**given: Any) -> list[str]:
    """What the role's preflight would stop with."""
    (task,) = read_yaml(ROLE / "tasks" / "preflight.yml")
    return [
        str(value(item["otherwise"], **given)) for item in task["loop"] if not value(item["that"], **given)
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, None),
        ({"aws_monitoring_thresholds": {"queue-depth": 9}}, None),
        ({"aws_monitoring_thresholds": {"queue_depth": 9}}, "names no alarm with queue_depth. Their names"),
        ({"aws_monitoring_recipient": "operations@example.com"}, "must be an address of yours"),
        ({"aws_monitoring_recipient": "nobody"}, "it is 'nobody'"),
    ],
)
def test_what_cannot_work_is_refused_in_words(given: dict[str, Any], words: str | None) -> None:
    found = refusals(**given)
    assert len(found) == (words is not None), found
    assert words is None or words in found[0]
