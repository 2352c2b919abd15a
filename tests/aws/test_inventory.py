"""inventory/production against a stand-in for EC2: which hosts it finds, and how ssh reaches them."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.aws.endpoint import CREDENTIALS, KEYS, moto
from tests.aws.operator import ROOT, Run, run
from tests.host import conftest

PRODUCTION = ROOT / "inventory" / "production"
REGION = yaml.safe_load((PRODUCTION / "group_vars/all/app_stack.yml").read_text())["app_stack_aws_region"]
TAGS = {
    "Application": "steadfast",
    "Environment": "production",
    "Role": "stack",
    "Name": "steadfast-production",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto() as found:
        yield found


@pytest.fixture(scope="module")
def hosts(url: str) -> dict[str, str]:
    """What was started -> its id: two that belong to the stack, and some that do not."""
    ec2 = boto3.client("ec2", endpoint_url=url, region_name=REGION, **KEYS)
    elsewhere = boto3.client("ec2", endpoint_url=url, region_name="us-west-2", **KEYS)
    found = {}
    for name, client, tags in [
        ("first", ec2, {}),
        ("second", ec2, {}),
        ("stopped", ec2, {}),
        ("another application", ec2, {"Application": "another"}),
        ("another environment", ec2, {"Environment": "staging"}),
        ("another role", ec2, {"Role": "bastion"}),
        ("another region", elsewhere, {}),
    ]:
        wanted = [{"Key": key, "Value": value} for key, value in (TAGS | tags).items()]
        answer = client.run_instances(
            ImageId="ami-12c6146b",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": wanted}],
        )
        found[name] = answer["Instances"][0]["InstanceId"]
    ec2.stop_instances(InstanceIds=[found["stopped"]])
    return found


@pytest.fixture(scope="module")
def listed(url: str, hosts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`ansible-inventory --list`."""
    home = tmp_path_factory.mktemp("home")
    return run(
        "ansible-inventory", "-i", PRODUCTION, "--list", home=home, AWS_ENDPOINT_URL=url, **CREDENTIALS
    )


def variables(listed: Run, host: str) -> dict[str, Any]:
    """A host's variables; what a service said is marked as no template, which is taken off here."""
    found = json.loads(listed.output[listed.output.index("{") :])["_meta"]["hostvars"][host]
    return {
        name: value["__ansible_unsafe"] if isinstance(value, dict) and "__ansible_unsafe" in value else value
        for name, value in found.items()
    }


def test_the_stack_is_the_running_instances_with_all_three_tags(listed: Run, hosts: dict[str, str]) -> None:
    assert listed.status == 0, listed.output
    found = json.loads(listed.output[listed.output.index("{") :])
    # Two of one name stay two hosts.
    assert sorted(found["stack"]["hosts"]) == sorted(
        f"steadfast-production-{hosts[name]}" for name in ("first", "second")
    )


def test_it_says_nothing_but_the_answer(listed: Run) -> None:
    assert "WARNING" not in listed.output
    assert listed.output.startswith("{")


def test_ssh_goes_through_session_manager(listed: Run, hosts: dict[str, str]) -> None:
    found = variables(listed, f"steadfast-production-{hosts['first']}")
    assert found["ansible_user"] == "admin"
    assert found["ansible_host"] == found["aws_public_ip_address"]
    assert found["app_stack_environment"] == "production"
    options = shlex.split(found["ansible_ssh_common_args"])[1::2]
    assert f"HostKeyAlias={hosts['first']}" in options
    (command,) = [option for option in options if option.startswith("ProxyCommand=")]
    assert command == (
        f"ProxyCommand=aws ssm start-session --region {REGION} --target {hosts['first']}"
        " --document-name AWS-StartSSHSession --parameters portNumber=%p"
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with stand-ins for AWS' programs; `aws` notes what it is asked and reaches nobody."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("aws", "session-manager-plugin"):
        (folder / name).write_text('#!/bin/sh\necho "$@" >>"$(dirname "$0")/asked"\nexit 1\n')
        (folder / name).chmod(0o755)
    return folder


def test_ansible_asks_session_manager_for_the_way(
    url: str, hosts: dict[str, str], tmp_path: Path, programs: Path
) -> None:
    path = f"{programs}:/usr/bin:/bin"
    command = (
        "-i",
        PRODUCTION,
        "stack",
        "--limit",
        f"*{hosts['second']}",
        "--module-name",
        "ansible.builtin.raw",
    )
    tried = run(
        "ansible", *command, "--args", "uptime", path=path, home=tmp_path, AWS_ENDPOINT_URL=url, **CREDENTIALS
    )
    assert "UNREACHABLE" in tried.output
    assert (programs / "asked").read_text() == (
        f"ssm start-session --region {REGION} --target {hosts['second']}"
        " --document-name AWS-StartSSHSession --parameters portNumber=22\n"
    )


def test_make_verify_goes_the_same_way(
    url: str, hosts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it asks is tests/host, whose conftest this is.
    assert conftest.plain({"a": [{"__ansible_unsafe": "b"}]}) == {"a": ["b"]}
    monkeypatch.chdir(ROOT)
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": url}.items():
        monkeypatch.setenv(name, value)
    found = AnsibleRunner(str(PRODUCTION)).get_host(f"steadfast-production-{hosts['first']}")
    assert f"--target {hosts['first']} " in found.backend.ssh_extra_args


def check(url: str, home: Path, path: str, **environment: str) -> Run:
    """playbooks/check-inventory.yml, with which every playbook begins."""
    given = {"AWS_ENDPOINT_URL": url} if url else {}
    playbook = "playbooks/check-inventory.yml"
    return run("ansible-playbook", "-i", PRODUCTION, playbook, path=path, home=home, **given, **environment)


def test_the_first_line_names_the_environment_and_its_hosts(
    url: str, hosts: dict[str, str], listed: Run, tmp_path: Path, programs: Path
) -> None:
    done = check(url, tmp_path, str(programs), **CREDENTIALS)
    assert done.status == 0, done.output
    names = [f"steadfast-production-{hosts[name]}" for name in ("first", "second")]
    said = [f"{name} ({variables(listed, name)['ansible_host']})" for name in names]
    assert any(f"[Go to production: {a}, {b}]" in done.output for a, b in (said, said[::-1])), done.output


def test_programs_that_the_way_needs_are_asked_for_by_name(
    url: str, hosts: dict[str, str], tmp_path: Path, programs: Path
) -> None:
    assert hosts
    (programs / "session-manager-plugin").unlink()
    done = check(url, tmp_path, str(programs), **CREDENTIALS)
    assert done.status != 0
    assert "this machine lacks: session-manager-plugin." in done.words
    assert "take `ansible_ssh_common_args` out" in done.words


def test_without_credentials_it_says_how_to_go_on(tmp_path: Path) -> None:
    done = run("ansible-playbook", "-i", PRODUCTION, "site.yml", home=tmp_path)
    assert done.status != 0
    assert "aws sts get-caller-identity" in done.words
    assert "playbooks/provision-aws.yml" in done.words
    assert done.was_quick, (done.work_seconds, done.seconds)
    assert done.output.count("WARNING") <= 4, done.output
    assert "Traceback" not in done.output


def test_hosts_of_hosts_yml_do_without_aws(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("stack: {hosts: {app-1: {ansible_host: 203.0.113.10}}}\n")
    (tmp_path / "group_vars").symlink_to(PRODUCTION / "group_vars")
    done = run("ansible-playbook", "-i", tmp_path, "playbooks/check-inventory.yml", home=tmp_path)
    assert done.status == 0, done.output
    assert "[Go to production: app-1 (203.0.113.10)]" in done.output
    assert "WARNING" not in done.output
