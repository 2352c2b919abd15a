"""The inventory that finds hosts by their tags, as instructions.md has it, against the stand-in for EC2."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

ROOT = Path(__file__).parents[2]
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
AWS_URL = os.environ.get("E2E_AWS_URL", "http://127.0.0.1:5000")


@pytest.fixture
def ec2() -> Any:
    return boto3.client(
        "ec2",
        endpoint_url=AWS_URL,
        region_name="eu-central-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


@pytest.fixture
def instance(ec2: Any) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Starts an instance with this tag Application."""
    started: list[str] = []

    def start(application: str) -> dict[str, Any]:
        tags = [{"Key": "Application", "Value": application}]
        answer = ec2.run_instances(
            ImageId="ami-12c6146b",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        started.append(answer["Instances"][0]["InstanceId"])
        found = ec2.describe_instances(InstanceIds=started[-1:])
        return dict(found["Reservations"][0]["Instances"][0])

    yield start
    ec2.terminate_instances(InstanceIds=started)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Production's, with aws_ec2.yml beside its hosts.yml."""
    for name in ("hosts.yml", "group_vars"):
        (tmp_path / name).symlink_to(ROOT / "inventory" / "production" / name)
    recipe = (ROOT / "instructions.md").read_text().split("```yaml\nplugin: amazon.aws.aws_ec2\n", 1)[1]
    (tmp_path / "aws_ec2.yml").write_text("plugin: amazon.aws.aws_ec2\n" + recipe.split("```", 1)[0])
    return tmp_path


def test_the_stack_is_the_running_instances_with_the_tag(
    ec2: Any, instance: Callable[[str], dict[str, Any]], inventory: Path
) -> None:
    running, stopped = instance("steadfast"), instance("steadfast")
    instance("another")
    ec2.stop_instances(InstanceIds=[stopped["InstanceId"]])

    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-inventory", "-i", inventory, "--list"],
        cwd=ROOT,
        env=os.environ | CREDENTIALS | {"AWS_ENDPOINT_URL": AWS_URL},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["stack"]["hosts"] == [running["PublicDnsName"]], done.stderr
    # What the service says is marked as no template.
    host = {
        name: value["__ansible_unsafe"] if isinstance(value, dict) and "__ansible_unsafe" in value else value
        for name, value in found["_meta"]["hostvars"][running["PublicDnsName"]].items()
    }
    assert (host["ansible_host"], host["ansible_user"]) == (running["PublicIpAddress"], "admin")
    assert host["app_stack_environment"] == "production"
