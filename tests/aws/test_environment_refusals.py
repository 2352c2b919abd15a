"""What can be wrong when an environment is made: each says soon what it is and what to do.

In order: the last tests go on with what the earlier ones left in the account.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.aws.cloud import CREDENTIALS, EMPTY_REGION, PREFIX, REGION, Cloud, account
from tests.aws.endpoint import free_port
from tests.aws.operator import Run
from tests.aws.stand_in import refusing

AGAIN = "Then repeat the command"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """An account of these tests' own, in which nothing is."""
    with account(tmp_path_factory.mktemp("refusing")) as found:
        yield found


def assert_explained(run: Run, *words: str) -> None:
    """It failed, said this at its end, and what to do next."""
    assert run.status != 0, run.output
    for word in (*words, AGAIN):
        assert word in run.told, run.told
    assert "Traceback" not in run.output


def vpcs(cloud: Cloud) -> list[str]:
    """The environment's VPCs."""
    filters = [{"Name": "tag:Name", "Values": [PREFIX]}]
    return [vpc["VpcId"] for vpc in cloud.client("ec2").describe_vpcs(Filters=filters)["Vpcs"]]


def keys_of(cloud: Cloud, name: str, may: list[str]) -> dict[str, str]:
    """The keys of a new user who may do these."""
    iam = cloud.client("iam")
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": may, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}


@pytest.mark.parametrize(
    "settings",
    [
        {
            "app_stack_aws_region": "eu-central-1a",
            "aws_environment_admin_cidrs": [],
            "aws_environment_ssh_public_key_path": "/nowhere.pub",
            "app_stack_mail_from": "tasks@example.com",
        },
        {
            "app_stack_smoke_test_recipient": "operations@example.com",
            "aws_monitoring_thresholds": {"que-depth": 1},
        },
    ],
    ids=" ".join,
)
def test_settings_that_cannot_work_are_all_refused_by_name(cloud: Cloud, settings: dict[str, Any]) -> None:
    run = cloud.provision(**settings)
    assert run.status != 0
    for name in settings:
        assert name in run.told, run.told
    assert "nothing was changed" in run.told
    assert run.was_quick, (run.work_seconds, run.seconds)


def test_without_credentials_it_says_where_they_come_from(cloud: Cloud) -> None:
    run = cloud.provision(app_stack_aws_connection={"endpoint_url": cloud.url})
    assert_explained(run, "There are no AWS credentials here", "AWS_PROFILE")
    assert run.was_quick, (run.work_seconds, run.seconds)


def test_expired_credentials_are_called_so(cloud: Cloud) -> None:
    with refusing(cloud.url, "GetCallerIdentity", "ExpiredToken") as url:
        run = cloud.provision(app_stack_aws_connection={"endpoint_url": url} | CREDENTIALS)
    assert_explained(run, "The AWS credentials have expired", "aws sso login")
    assert run.was_quick, (run.work_seconds, run.seconds)


def test_credentials_that_the_region_does_not_take_are_called_so(cloud: Cloud) -> None:
    with refusing(cloud.url, "GetCallerIdentity", "InvalidClientTokenId") as url:
        run = cloud.provision(app_stack_aws_connection={"endpoint_url": url} | CREDENTIALS)
    assert_explained(run, f"does not take these credentials in {REGION}", "aws sts get-caller-identity")
    assert run.was_quick, (run.work_seconds, run.seconds)


def test_a_region_where_nobody_answers_is_named(cloud: Cloud) -> None:
    # A region that there is not has no address; here it is a port that nobody has.
    nowhere = {"endpoint_url": f"http://127.0.0.1:{free_port()}"} | CREDENTIALS
    run = cloud.provision(app_stack_aws_region="eu-nowhere-1", app_stack_aws_connection=nowhere)
    assert_explained(run, "AWS does not answer in eu-nowhere-1", "app_stack_aws_region")
    assert run.was_quick, (run.work_seconds, run.seconds)


def test_a_mail_server_without_its_password_is_refused(cloud: Cloud) -> None:
    run = cloud.provision(aws_environment_ses_enabled=False)
    assert_explained(run, "STEADFAST_SMTP_PASSWORD")
    assert run.was_quick, (run.work_seconds, run.seconds)
    assert vpcs(cloud) == []


def test_a_denied_action_is_named_with_the_way_to_allow_it(cloud: Cloud) -> None:
    may = ["ec2:Describe*", "iam:Get*", "iam:List*", "s3:ListAllMyBuckets", "ssm:*"]
    # The service CloudWatch is called so in moto.
    may += ["sns:ListTopics", "monitoring:DescribeAlarms", "cloudformation:DescribeStacks"]
    theirs = keys_of(cloud, "looker", may)
    run = cloud.with_rights(theirs, cloud.provision)
    assert_explained(run, "network | Make the VPC", "may not do that", "operator-policy.json")
    assert run.was_quick, (run.work_seconds, run.seconds)
    assert vpcs(cloud) == []


def test_who_may_not_watch_hears_of_it_before_anything_is_made(cloud: Cloud) -> None:
    services = ("ec2", "iam", "kms", "logs", "rds", "s3", "ses", "ssm")
    theirs = keys_of(cloud, "maker", [f"{service}:*" for service in services])
    run = cloud.with_rights(theirs, cloud.provision)
    assert_explained(run, "access | Look for topics", "may not do that", "operator-policy.json")
    assert run.was_quick, (run.work_seconds, run.seconds)
    assert vpcs(cloud) == []


def test_a_denied_step_of_what_watches_is_explained_too(cloud: Cloud) -> None:
    theirs = keys_of(cloud, "reader", ["logs:DescribeLogGroups"])
    run = cloud.with_rights(theirs, cloud.provision, "--tags", "aws_monitoring")
    assert_explained(run, "logs | Have the log groups", "may not do that", "operator-policy.json")


def test_a_quota_that_is_used_up_is_called_so(cloud: Cloud) -> None:
    with refusing(cloud.url, "CreateVpc", "VpcLimitExceeded") as url:
        run = cloud.provision(app_stack_aws_connection={"endpoint_url": url} | CREDENTIALS)
    assert_explained(run, "A quota of the account is used up", "VpcLimitExceeded")
    assert run.was_quick, (run.work_seconds, run.seconds)


def test_a_name_that_is_taken_is_called_so(cloud: Cloud) -> None:
    # How S3 answers who asks for somebody else's bucket; moto lets every account have it.
    with refusing(cloud.url, "HeadBucket", "Forbidden") as url:
        theirs = {"endpoint_url": url} | CREDENTIALS
        run = cloud.provision("--tags", "access,keys,storage", app_stack_aws_connection=theirs)
    assert_explained(run, "name is taken", "aws_environment_backup_bucket")
    assert run.was_quick, (run.work_seconds, run.seconds)
    assert cloud.client("kms").describe_key(KeyId=f"alias/{PREFIX}")["KeyMetadata"]["KeyState"] == "Enabled"


def test_a_run_that_stopped_halfway_is_completed_by_the_next(cloud: Cloud) -> None:
    # The test before left keys; this one stops at the address.
    own = {"aws_environment_backup_bucket": "steadfast-of-our-own"}
    with refusing(cloud.url, "AllocateAddress", "AddressLimitExceeded") as url:
        stopped = cloud.provision(app_stack_aws_connection={"endpoint_url": url} | CREDENTIALS, **own)
    assert_explained(stopped, "A quota of the account is used up", "AddressLimitExceeded")
    assert len(vpcs(cloud)) == 1

    # Without what watches it, which no run has begun yet.
    run = cloud.provision("--tags", "aws_environment", **own)
    assert (run.status, run.changed) == (0, 1), run.output
    assert len(vpcs(cloud)) == 1
    ec2 = cloud.client("ec2")
    assert len(ec2.describe_instances()["Reservations"]) == 1
    assert len(ec2.describe_addresses()["Addresses"]) == 1


def test_a_region_beside_the_environments_is_refused(cloud: Cloud) -> None:
    run = cloud.provision(app_stack_aws_region=EMPTY_REGION)
    assert_explained(run, f"{PREFIX} is in {REGION}, and app_stack_aws_region is {EMPTY_REGION}")
    assert run.was_quick, (run.work_seconds, run.seconds)
    assert (
        cloud.client("ec2", region_name=EMPTY_REGION).describe_security_groups(
            Filters=[{"Name": "tag:Environment", "Values": ["production"]}]
        )["SecurityGroups"]
        == []
    )


def test_a_bucket_with_somebody_elses_files_is_not_taken(cloud: Cloud) -> None:
    where = {"LocationConstraint": REGION}
    cloud.client("s3").create_bucket(Bucket="photographs", CreateBucketConfiguration=where)
    run = cloud.provision(aws_environment_backup_bucket="photographs")
    assert_explained(run, "The bucket photographs is there and lacks this environment's tags")
    assert run.was_quick, (run.work_seconds, run.seconds)


def test_nothing_is_torn_down_in_a_region_where_nothing_is(cloud: Cloud) -> None:
    run = cloud.teardown(aws_environment_teardown_confirm="production", app_stack_aws_region=EMPTY_REGION)
    assert_explained(run, f"Nothing was removed: {EMPTY_REGION} has no network and no key of {PREFIX}")
    assert run.was_quick, (run.work_seconds, run.seconds)
    assert cloud.client("iam").get_role(RoleName=PREFIX)
    assert cloud.client("s3").head_bucket(Bucket="steadfast-of-our-own")
