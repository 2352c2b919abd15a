"""The role aws_monitoring: what provisioning made, and what becomes of it as the environment changes."""

import json

from tests.aws.cloud import DROPPED_ALARM, EMPTY_REGION, FOREIGN_ALARMS, PREFIX, TAGS, Cloud, Step


def test_where_nothing_is_check_mode_announces_and_makes_nothing(cloud: Cloud) -> None:
    run = cloud.provision("--check", "--tags", "aws_monitoring", app_stack_aws_region=EMPTY_REGION)
    assert run.status == 0, run.output
    assert len(run.changes("aws_monitoring")) > 0
    assert cloud.alarms(EMPTY_REGION) == {}


def test_alarms_mail_when_they_ring_and_when_it_is_over(cloud: Cloud, first: Step) -> None:
    (subscription,) = cloud.client("sns").list_subscriptions()["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "operations@steadfast.test")
    for alarm in first.after.alarms.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [subscription["TopicArn"]]
        assert alarm["ActionsEnabled"]


def test_each_instance_has_its_alarm_and_one_that_is_gone_has_none(
    cloud: Cloud, first: Step, grown: Step, shrunk: Step
) -> None:
    (old,) = set(first.after.alarms) - set(shrunk.after.alarms)
    (new,) = set(shrunk.after.alarms) - set(first.after.alarms)
    assert set(grown.after.alarms) == set(first.after.alarms) | {new}
    (stays,) = cloud.instances()
    assert new == f"instance-check-{stays['InstanceId']}"
    for name in (old, new):
        instance = name.removeprefix("instance-check-")
        assert grown.after.alarms[name]["Dimensions"] == [{"Name": "InstanceId", "Value": instance}]


def test_of_the_alarms_that_are_not_wanted_only_its_own_go(cloud: Cloud, first: Step) -> None:
    assert cloud.foreign_alarms() == set(FOREIGN_ALARMS)
    dropped = DROPPED_ALARM[0].removeprefix(f"{PREFIX}-")
    assert dropped in first.before.alarms
    assert dropped not in first.after.alarms


def test_a_threshold_can_be_another(first: Step, shrunk: Step) -> None:
    assert first.after.alarms["queue-depth"]["Threshold"] == 500
    assert shrunk.after.alarms["queue-depth"]["Threshold"] == 9


def test_the_database_is_watched_by_its_name(first: Step) -> None:
    dimensions = [{"Name": "DBInstanceIdentifier", "Value": PREFIX}]
    for name in ("database-cpu", "database-memory", "database-connections", "database-storage"):
        assert first.after.alarms[name]["Dimensions"] == dimensions


def test_log_groups_bear_the_tags_of_the_environment(cloud: Cloud, first: Step) -> None:
    for name in first.after.log_days:
        assert cloud.client("logs").list_tags_log_group(logGroupName=name)["tags"] == TAGS, name


def test_the_dashboard_is_there(cloud: Cloud, first: Step) -> None:
    body = cloud.client("cloudwatch").get_dashboard(DashboardName=PREFIX)["DashboardBody"]
    titles = [widget["properties"]["title"] for widget in json.loads(body)["widgets"]]
    assert "Tasks a minute" in titles
    assert "Database: connections" in titles
