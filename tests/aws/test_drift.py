"""Drift in AWS: none after provisioning, then each thing that somebody changed, until that is done again.

The hosts' half of playbooks/check-drift.yml is seen in molecule/aws/drift.yml; here tags leave it out.
"""

from collections.abc import Callable

import pytest

from tests.aws.cloud import EMPTY_REGION, PREFIX, Cloud, Step
from tests.aws.operator import Run


def look(cloud: Cloud, **settings: object) -> Run:
    """A check of AWS alone, as an operator would start it."""
    return cloud.play(
        "playbooks/check-drift.yml", "--check", "--diff", "--tags", "aws_environment", **settings
    )


def open_a_port(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    filters = [{"Name": "group-name", "Values": [f"{PREFIX}-host"]}]
    (group,) = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"], IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )


def keep_fewer_backups(cloud: Cloud) -> None:
    cloud.client("rds").modify_db_instance(
        DBInstanceIdentifier=PREFIX, BackupRetentionPeriod=1, ApplyImmediately=True
    )


def stop_turning_the_key(cloud: Cloud) -> None:
    cloud.client("kms").disable_key_rotation(
        KeyId=cloud.client("kms").describe_key(KeyId=f"alias/{PREFIX}")["KeyMetadata"]["KeyId"]
    )


def widen_the_hosts_role(cloud: Cloud) -> None:
    policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    cloud.client("iam").put_role_policy(RoleName=PREFIX, PolicyName="host", PolicyDocument=policy)


def rename_the_database_subnets(cloud: Cloud) -> None:
    rds = cloud.client("rds")
    (group,) = rds.describe_db_subnet_groups(DBSubnetGroupName=PREFIX)["DBSubnetGroups"]
    rds.add_tags_to_resource(
        ResourceName=group["DBSubnetGroupArn"], Tags=[{"Key": "Environment", "Value": "staging"}]
    )


KEY = "keys | Make the key that database, disks, parameters and backups are encrypted with"
# What somebody does by hand, and the task that would undo it.
BY_HAND: dict[str, Callable[[Cloud], None]] = {
    "security_groups | Open the hosts to whom they are for": open_a_port,
    "database | Make it, or mend what differs": keep_fewer_backups,
    KEY: stop_turning_the_key,
    "permissions | Allow it what a host does, and no more": widen_the_hosts_role,
    "database | Name the subnets it may be in": rename_the_database_subnets,
}


@pytest.fixture(scope="module")
def runs(cloud: Cloud, second: Step) -> dict[str, Run]:
    """Every look and what comes between, in their order."""
    assert second.run.status == 0, second.run.output
    found = {"of nothing": look(cloud, app_stack_aws_region=EMPTY_REGION), "clean": look(cloud)}
    for change in BY_HAND.values():
        change(cloud)
    found["changed"] = look(cloud)
    cloud.provision("--tags", "aws_environment")
    found["mended"] = look(cloud)
    found["without AWS"] = look(
        cloud,
        app_stack_aws_connection={"endpoint_url": "http://127.0.0.1:9", "access_key": "a", "secret_key": "b"},
    )
    return found


def test_an_environment_that_nobody_made_here_is_not_looked_at(runs: dict[str, Run]) -> None:
    run = runs["of nothing"]
    assert run.status == 0, run.output
    assert "was made by provision-aws.yml for steadfast-production: AWS is not looked at" in " ".join(
        run.output.split()
    )
    provisioning = run.output.partition("PLAY [Make or mend the environment in AWS]")[2]
    assert "skipping: [localhost]" in provisioning
    assert "ok: [localhost]" not in provisioning
    assert "changed: [localhost]" not in provisioning


@pytest.mark.parametrize("when", ["clean", "mended"])
def test_what_was_just_provisioned_is_clean(runs: dict[str, Run], when: str) -> None:
    assert runs[when].status == 0, runs[when].output
    assert "Clean: none of " in runs[when].output


def test_each_change_by_hand_is_named(runs: dict[str, Run]) -> None:
    run = runs["changed"]
    said = run.output.rpartition("\nDRIFT ***")[2]
    missing = [task for task in BY_HAND if f"  aws_environment : {task}\n" not in said]
    assert missing == [], said
    assert f"Drifted: {len(BY_HAND)} differences" in said
    assert run.status == 3


def test_an_aws_that_does_not_answer_is_not_clean(runs: dict[str, Run]) -> None:
    run = runs["without AWS"]
    assert run.status == 2, run.output
    assert "Could not look at everything" in run.output
