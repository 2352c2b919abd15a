"""The role aws_monitoring: what provisioning made, and what becomes of it as the environment changes."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.aws.cloud import EMPTY_REGION, PREFIX, TAGS, Cloud, Step
from tests.aws.operator import Run

SERVICES = {"api", "worker", "nginx", "redis", "flower", "migrate", "host"}
ALARMS = "aws_monitoring_topic,aws_monitoring_find,aws_monitoring_alarms"


def alarms(cloud: Cloud, region: str = "") -> dict[str, dict[str, Any]]:
    """Every alarm by its name, without the environment's."""
    client = cloud.client("cloudwatch", **({"region_name": region} if region else {}))
    found = client.describe_alarms(AlarmNamePrefix=f"{PREFIX}-")["MetricAlarms"]
    return {alarm["AlarmName"].removeprefix(f"{PREFIX}-"): alarm for alarm in found}


@dataclass
class Account:
    """The environment's account, and the alarms that were found after each run."""

    cloud: Cloud
    runs: dict[str, Run] = field(default_factory=dict)
    alarms: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    instances: list[str] = field(default_factory=list)

    def client(self, service: str) -> Any:
        return self.cloud.client(service)

    def run(self, moment: str, **settings: Any) -> None:
        run = self.cloud.provision("--tags", ALARMS, **settings)
        assert run.status == 0, run.output
        self.alarms[moment] = alarms(self.cloud)

    def changed(self, moment: str) -> int:
        assert self.runs[moment].status == 0, self.runs[moment].output
        return len(self.runs[moment].changes("aws_monitoring"))


@pytest.fixture(scope="module")
def account(cloud: Cloud, first: Step, second: Step, checked: Step) -> Account:
    """Everything that the tests ask about has happened."""
    found = Account(cloud, {"first": first.run, "second": second.run, "check mode": checked.run})
    found.alarms["provisioned"] = alarms(cloud)
    tags = [{"Key": key, "Value": text} for key, text in TAGS.items()]
    ec2 = cloud.client("ec2")
    (stays,) = cloud.instances()
    (another,) = ec2.run_instances(
        ImageId=stays["ImageId"], MinCount=1, MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"]  # fmt: skip
    found.instances = [another["InstanceId"], stays["InstanceId"]]
    try:
        found.run("two instances")
    finally:
        ec2.terminate_instances(InstanceIds=found.instances[:1])
    found.run("one is gone", aws_monitoring_thresholds={"queue-depth": 9})
    return found


def test_where_nothing_is_check_mode_announces_and_makes_nothing(cloud: Cloud) -> None:
    run = cloud.provision("--check", "--tags", "aws_monitoring", app_stack_aws_region=EMPTY_REGION)
    assert run.status == 0, run.output
    assert len(run.changes("aws_monitoring")) > 0
    assert alarms(cloud, EMPTY_REGION) == {}


def test_the_second_run_changes_nothing_and_check_mode_announces_what_differs(account: Account) -> None:
    assert account.changed("first") > 0
    assert account.changed("second") == 0
    assert account.runs["check mode"].changes("aws_monitoring") == [
        "aws_monitoring : logs | Have the log groups with their retention"
    ]


def test_each_log_group_is_kept_for_so_long_whatever_was_checked_and_tagged(account: Account) -> None:
    logs = account.client("logs")
    found = logs.describe_log_groups(logGroupNamePrefix="/steadfast/")["logGroups"]
    groups = {group["logGroupName"]: group for group in found}
    assert set(groups) == {f"/steadfast/production/{service}" for service in SERVICES}
    for name, group in groups.items():
        assert group["retentionInDays"] == 30
        assert logs.list_tags_log_group(logGroupName=name)["tags"] == TAGS


def test_alarms_mail_when_they_ring_and_when_it_is_over(account: Account) -> None:
    (subscription,) = account.client("sns").list_subscriptions()["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "operations@steadfast.test")
    for alarm in account.alarms["provisioned"].values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [subscription["TopicArn"]]
        assert alarm["ActionsEnabled"]


def test_each_instance_has_its_alarm_and_one_that_is_gone_has_none(account: Account) -> None:
    gone, stays = (f"instance-check-{instance}" for instance in account.instances)
    before, after = account.alarms["two instances"], account.alarms["one is gone"]
    assert before[gone]["Dimensions"] == [{"Name": "InstanceId", "Value": account.instances[0]}]
    assert before[stays]["Dimensions"] == [{"Name": "InstanceId", "Value": account.instances[1]}]
    assert set(before) - set(after) == {gone}
    assert stays in after


def test_a_threshold_can_be_another(account: Account) -> None:
    assert account.alarms["two instances"]["queue-depth"]["Threshold"] == 500
    assert account.alarms["one is gone"]["queue-depth"]["Threshold"] == 9


def test_the_database_is_watched_by_its_name(account: Account) -> None:
    dimensions = [{"Name": "DBInstanceIdentifier", "Value": "steadfast-production"}]
    for name in ("database-cpu", "database-memory", "database-connections", "database-storage"):
        assert account.alarms["provisioned"][name]["Dimensions"] == dimensions


def test_the_dashboard_is_there(account: Account) -> None:
    body = account.client("cloudwatch").get_dashboard(DashboardName="steadfast-production")["DashboardBody"]
    titles = [widget["properties"]["title"] for widget in json.loads(body)["widgets"]]
    assert "Tasks a minute" in titles
    assert "Database: connections" in titles
