"""The role aws_monitoring against moto: from an empty account to everything, twice, and back to nothing."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

ROOT = Path(__file__).parents[2]
REGION = "eu-central-1"
TAGS = {"Application": "steadfast", "Environment": "production", "ManagedBy": "ansible"}
PREFIX = "steadfast-production-"
SERVICES = {"api", "worker", "nginx", "redis", "flower", "migrate", "host"}
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    app_stack_environment: production
    app_stack_aws_region: {region}
    app_stack_aws_connection: {{endpoint_url: "{url}", access_key: any, secret_key: any-word-will-do}}
    app_stack_smoke_test_recipient: operations@steadfast.internal
    app_stack_smtp_host: email-smtp.{region}.amazonaws.com
  tasks:
    - ansible.builtin.include_role: {{name: aws_monitoring, tasks_from: "{{{{ door | default('main') }}}}"}}
"""


@dataclass
class Account:
    """An account of moto's, the role's play for it, and what was found after each run."""

    url: str
    play: Path
    said: dict[str, str] = field(default_factory=dict)
    alarms: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    instances: list[str] = field(default_factory=list)

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )

    def run(self, moment: str, *arguments: str) -> None:
        environment = {n: v for n, v in os.environ.items() if not n.startswith(("ANSIBLE_", "AWS_"))}
        environment |= {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "LC_ALL": "C.UTF-8",
        }
        program = Path(sys.executable).parent / "ansible-playbook"
        done = subprocess.run(
            [program, "-i", self.play.with_name("hosts.yml"), *arguments, self.play],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        self.said[moment] = done.stdout
        found = self.client("cloudwatch").describe_alarms(AlarmNamePrefix=PREFIX)["MetricAlarms"]
        self.alarms[moment] = {alarm["AlarmName"].removeprefix(PREFIX): alarm for alarm in found}

    def changed(self, moment: str) -> int:
        found = re.search(r"^localhost .* changed=(\d+) ", self.said[moment], re.MULTILINE)
        assert found
        return int(found[1])


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Its address; it is away again at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url, ends = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while True:
            with suppress(httpx.HTTPError):
                httpx.get(f"{url}/moto-api/", trust_env=False)
                break
            assert server.poll() is None and time.monotonic() < ends, "moto did not start"  # noqa: PT018
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="module")
def account(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Account:
    """Everything that the tests ask about has happened."""
    play = tmp_path_factory.mktemp("play") / "play.yml"
    # So that localhost is Ansible's own, with the Python that runs these tests.
    play.with_name("hosts.yml").write_text("stack:\n  hosts:\n")
    play.write_text(PLAY.format(region=REGION, url=moto))
    found = Account(moto, play)
    found.run("check mode, nothing there", "--check")
    tags = [{"Key": key, "Value": text} for key, text in TAGS.items()]
    ec2 = found.client("ec2")
    started = ec2.run_instances(
        ImageId="ami-12c6146b", MinCount=2, MaxCount=2,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"]  # fmt: skip
    found.instances = [instance["InstanceId"] for instance in started]
    found.client("rds").create_db_instance(
        DBInstanceIdentifier="steadfast-production", DBInstanceClass="db.t4g.micro", Engine="postgres",
        AllocatedStorage=20, MasterUsername="postgres", MasterUserPassword="made-up-word",
    )  # fmt: skip
    found.run("first")
    found.run("second")
    found.run("check mode", "--check")
    ec2.terminate_instances(InstanceIds=found.instances[:1])
    found.run("third", "-e", json.dumps({"aws_monitoring_thresholds": {"queue-depth": 9}}))
    return found


def test_in_an_empty_account_check_mode_announces_and_makes_nothing(account: Account) -> None:
    assert account.changed("check mode, nothing there") > 0
    assert account.alarms["check mode, nothing there"] == {}


def test_the_second_run_changes_nothing_and_check_mode_announces_nothing(account: Account) -> None:
    assert account.changed("first") > 0
    assert account.changed("second") == 0
    assert account.changed("check mode") == 0


def test_each_log_group_is_kept_for_so_long_and_tagged(account: Account) -> None:
    logs = account.client("logs")
    groups = {group["logGroupName"]: group for group in logs.describe_log_groups()["logGroups"]}
    assert set(groups) == {f"/steadfast/production/{service}" for service in SERVICES}
    for name, group in groups.items():
        assert group["retentionInDays"] == 30
        assert logs.list_tags_log_group(logGroupName=name)["tags"] == TAGS


def test_alarms_mail_when_they_ring_and_when_it_is_over(account: Account) -> None:
    (subscription,) = account.client("sns").list_subscriptions()["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "operations@steadfast.internal")
    for alarm in account.alarms["first"].values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [subscription["TopicArn"]]
        assert alarm["ActionsEnabled"]


def test_each_instance_has_its_alarm_and_one_that_is_gone_has_none(account: Account) -> None:
    gone, stays = (f"instance-check-{instance}" for instance in account.instances)
    alarms = account.alarms["first"]
    assert alarms[gone]["Dimensions"] == [{"Name": "InstanceId", "Value": account.instances[0]}]
    assert set(alarms) - set(account.alarms["third"]) == {gone}
    assert stays in account.alarms["third"]


def test_a_threshold_can_be_another(account: Account) -> None:
    assert account.alarms["second"]["queue-depth"]["Threshold"] == 500
    assert account.alarms["third"]["queue-depth"]["Threshold"] == 9


def test_the_database_is_watched_by_its_name(account: Account) -> None:
    dimensions = [{"Name": "DBInstanceIdentifier", "Value": "steadfast-production"}]
    for name in ("database-cpu", "database-memory", "database-connections", "database-storage"):
        assert account.alarms["first"][name]["Dimensions"] == dimensions


def test_the_dashboard_is_there(account: Account) -> None:
    body = account.client("cloudwatch").get_dashboard(DashboardName="steadfast-production")["DashboardBody"]
    titles = [widget["properties"]["title"] for widget in json.loads(body)["widgets"]]
    assert "Tasks a minute" in titles
    assert "Database: connections" in titles


def test_nothing_of_it_is_left_when_it_is_removed(account: Account) -> None:
    account.run("removed", "-e", "door=remove")
    assert account.alarms["removed"] == {}
    assert account.client("logs").describe_log_groups()["logGroups"] == []
    assert account.client("sns").list_topics()["Topics"] == []
    assert account.client("cloudwatch").list_dashboards()["DashboardEntries"] == []
