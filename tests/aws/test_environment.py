"""From an empty account to an environment, again, and back; first with no more than an operator's rights."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from tests.aws.cloud import ACCOUNT, IMAGES, PREFIX, REGION, ROOT, TAGS, Cloud, Run

# What an operator is given, role by role.
POLICIES = {
    role: json.loads((ROOT / "roles" / role / "files" / "operator-policy.json").read_text())
    for role in ("aws_environment", "aws_monitoring")
}
# Of a managed policy, without its white space.
POLICY_MAX_CHARACTERS = 6144
PATH = "/steadfast/production/"
BUCKET = f"{PREFIX}-backups-{ACCOUNT}"
SECRETS = {
    "database/master_password", "database/migrator_password", "database/app_password", "redis/password",
    "flower/password", "operator/token", "smtp/password",
}  # fmt: skip
PLAIN = {
    "database/name": "steadfast",
    "database/port": "5432",
    "database/master_username": "postgres",
    "database/migrator_username": "migrator",
    "database/app_username": "app",
}


def by_name(cloud: Cloud) -> dict[str, str]:
    """Every parameter of the environment and its value."""
    pages = cloud.client("ssm").get_paginator("get_parameters_by_path")
    found = pages.paginate(Path=PATH, Recursive=True, WithDecryption=True)
    return {
        entry["Name"].removeprefix(PATH): entry["Value"] for page in found for entry in page["Parameters"]
    }


def instances(cloud: Cloud) -> list[dict[str, Any]]:
    """The environment's instances that are not terminated."""
    filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in (TAGS | {"Role": "stack"}).items()]
    filters.append({"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]})
    found = cloud.client("ec2").describe_instances(Filters=filters)
    return [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]


def database(cloud: Cloud) -> dict[str, Any]:
    """The environment's database."""
    (found,) = cloud.client("rds").describe_db_instances(DBInstanceIdentifier=PREFIX)["DBInstances"]
    return dict(found)


@pytest.fixture(scope="module")
def foreign(cloud: Cloud) -> dict[str, str]:
    """What somebody else has in the account: a VPC with an instance, a parameter, a bucket."""
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.42.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.42.0.0/24")["Subnet"]["SubnetId"]
    tags = [{"Key": "Application", "Value": "steadfast"}, {"Key": "Environment", "Value": "staging"}]
    image = IMAGES["debian-13-amd64-20251201-3"][0]
    (instance,) = ec2.run_instances(
        ImageId=image,
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"]
    cloud.client("ssm").put_parameter(
        Name="/steadfast/staging/redis/password", Value="theirs", Type="SecureString"
    )
    where = {"LocationConstraint": REGION}
    cloud.client("s3").create_bucket(Bucket="steadfast-staging-backups", CreateBucketConfiguration=where)
    return {"vpc": vpc, "subnet": subnet, "instance": instance["InstanceId"]}


@contextmanager
def only_what_an_operator_may(cloud: Cloud) -> Iterator[dict[str, Any]]:
    """The connection of a user who may do what operator-policy.json lists; moto lets nobody do more then.

    moto compares actions, and knows neither resources nor conditions of a statement: those are left out. The
    right to look whether a bucket is there is s3:ListBucket in IAM, and has the request's own name in moto;
    what IAM calls cloudwatch is monitoring there.
    """
    iam = cloud.client("iam")
    iam.create_user(UserName="operator")
    for role, policy in POLICIES.items():
        statements = [statement | {"Resource": "*"} for statement in policy["Statement"]]
        statements.append({"Effect": "Allow", "Action": "s3:HeadBucket", "Resource": "*"})
        document = json.dumps(policy | {"Statement": statements}).replace('"cloudwatch:', '"monitoring:')
        arn = iam.create_policy(PolicyName=role, PolicyDocument=document)["Policy"]["Arn"]
        iam.attach_user_policy(UserName="operator", PolicyArn=arn)
    key = iam.create_access_key(UserName="operator")["AccessKey"]
    # How many requests are let through before it looks.
    requests.post(f"{cloud.url}/moto-api/reset-auth", data=b"0", timeout=10)
    try:
        yield {
            "endpoint_url": cloud.url,
            "access_key": key["AccessKeyId"],
            "secret_key": key["SecretAccessKey"],
        }
    finally:
        requests.post(f"{cloud.url}/moto-api/reset-auth", data=b"inf", timeout=10)


@pytest.mark.parametrize("role", POLICIES)
def test_aws_takes_a_policy_of_that_size(role: str) -> None:
    assert len(json.dumps(POLICIES[role], separators=(",", ":"))) <= POLICY_MAX_CHARACTERS


@pytest.fixture(scope="module")
def first(cloud: Cloud, foreign: dict[str, str]) -> Run:
    """The first run, in an account that has nothing of this environment."""
    with only_what_an_operator_may(cloud) as connection:
        return cloud.provision(app_stack_aws_connection=connection)


def test_one_command_makes_it_and_says_what_comes_next(cloud: Cloud, first: Run) -> None:
    assert first.status == 0, first.output
    (address,) = cloud.client("ec2").describe_addresses()["Addresses"]
    for word in ("Environment production", REGION, address["PublicIp"], "_domainkey.steadfast.test CNAME"):
        assert word in first.told
    assert first.told.partition("PLAY RECAP")[0].rstrip(" *").endswith("'Next: ansible-playbook site.yml'")
    assert (cloud.folder / "inventory" / "rds-ca.pem").read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_passwords_reach_neither_screen_nor_disk(cloud: Cloud, first: Run) -> None:
    stored = by_name(cloud)
    for name in SECRETS:
        assert stored[name] not in first.output, name
    files = [path for path in cloud.folder.rglob("*") if path.is_file()]
    assert [path for path in files if any(stored[name] in path.read_text() for name in SECRETS)] == []


def test_every_parameter_is_there_under_the_key_of_the_environment(cloud: Cloud, first: Run) -> None:
    stored = by_name(cloud)
    assert set(stored) == SECRETS | set(PLAIN) | {"database/host", "smtp/username"}
    assert {name: stored[name] for name in PLAIN} == PLAIN
    assert stored["database/host"] == database(cloud)["Endpoint"]["Address"]
    described = cloud.client("ssm").get_paginator("describe_parameters").paginate()
    ours = [p for page in described for p in page["Parameters"] if p["Name"].startswith(PATH)]
    kinds = {p["Name"].removeprefix(PATH): (p["Type"], p.get("KeyId")) for p in ours}
    assert {kinds[name] for name in SECRETS} == {("SecureString", f"alias/{PREFIX}")}
    made = [stored[name] for name in SECRETS - {"smtp/password"}]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[A-Za-z0-9]{40}", value) for value in made)


def test_the_host_is_closed_and_encrypted(cloud: Cloud, first: Run) -> None:
    (host,) = instances(cloud)
    assert host["ImageId"] == IMAGES["debian-13-arm64-20251101-2"][0]
    assert host["InstanceType"] == "t4g.micro"
    assert host["MetadataOptions"]["HttpTokens"] == "required"
    assert host["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert host["IamInstanceProfile"]["Arn"].endswith(f"/{PREFIX}")
    (volume,) = cloud.client("ec2").describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [host["InstanceId"]]}]
    )["Volumes"]
    assert volume["Encrypted"]
    assert volume["KmsKeyId"] == key_arn(cloud)
    told = cloud.client("ec2").describe_instance_attribute(
        InstanceId=host["InstanceId"], Attribute="userData"
    )
    orders = base64.b64decode(told["UserData"]["Value"]).decode()
    assert orders.startswith("#cloud-config\n")
    assert f"region={REGION} " in orders


def key_arn(cloud: Cloud) -> str:
    """The environment's key."""
    return str(cloud.client("kms").describe_key(KeyId=f"alias/{PREFIX}")["KeyMetadata"]["Arn"])


def test_ports_are_open_to_whom_they_are_for(cloud: Cloud, first: Run) -> None:
    filters = [{"Name": "tag:Environment", "Values": ["production"]}]
    groups = cloud.client("ec2").describe_security_groups(Filters=filters)["SecurityGroups"]
    found = {group["GroupName"]: group for group in groups}
    assert set(found) == {f"{PREFIX}-host", f"{PREFIX}-database"}
    opened = {
        (rule["FromPort"], rule["ToPort"], source["CidrIp"])
        for rule in found[f"{PREFIX}-host"]["IpPermissions"]
        for source in rule["IpRanges"]
    }
    operators = {
        (port, port, cidr) for port in (8000, 8501, 5555) for cidr in ("198.51.100.7/32", "192.0.2.0/24")
    }
    assert opened == operators | {(80, 80, "0.0.0.0/0"), (443, 443, "0.0.0.0/0")}
    (rule,) = found[f"{PREFIX}-database"]["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"], rule["IpRanges"]) == (5432, 5432, [])
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [found[f"{PREFIX}-host"]["GroupId"]]
    assert found[f"{PREFIX}-database"]["IpPermissionsEgress"] == []


def test_only_public_subnets_lead_out(cloud: Cloud, first: Run) -> None:
    ec2 = cloud.client("ec2")
    filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in TAGS.items()]
    subnets = {
        next(tag["Value"] for tag in subnet["Tags"] if tag["Key"] == "Name"): subnet
        for subnet in ec2.describe_subnets(Filters=filters)["Subnets"]
    }
    assert {name.removeprefix(f"{PREFIX}-") for name in subnets} == {
        "public-1",
        "public-2",
        "private-1",
        "private-2",
    }
    for kind in ("public", "private"):
        pair = [subnets[f"{PREFIX}-{kind}-{number}"] for number in (1, 2)]
        assert len({subnet["AvailabilityZone"] for subnet in pair}) == 2
        for subnet in pair:
            (table,) = ec2.describe_route_tables(
                Filters=[{"Name": "association.subnet-id", "Values": [subnet["SubnetId"]]}]
            )["RouteTables"]
            out = [route for route in table["Routes"] if route.get("DestinationCidrBlock") == "0.0.0.0/0"]
            assert [route["GatewayId"][:4] for route in out] == (["igw-"] if kind == "public" else [])
    used = {subnet["SubnetIdentifier"] for subnet in database(cloud)["DBSubnetGroup"]["Subnets"]}
    assert used == {subnets[f"{PREFIX}-private-{number}"]["SubnetId"] for number in (1, 2)}


def test_the_database_is_private_encrypted_kept_and_protected(cloud: Cloud, first: Run) -> None:
    found = database(cloud)
    assert found["EngineVersion"].split(".")[0] == "17"
    assert found["PubliclyAccessible"] is False
    assert found["StorageEncrypted"] is True
    assert found["KmsKeyId"] == key_arn(cloud)
    assert found["DeletionProtection"] is True
    assert found["BackupRetentionPeriod"] == 7
    assert set(found["EnabledCloudwatchLogsExports"]) == {"postgresql", "upgrade"}
    assert [group["DBParameterGroupName"] for group in found["DBParameterGroups"]] == [PREFIX]
    told = cloud.client("rds").describe_db_parameters(DBParameterGroupName=PREFIX)["Parameters"]
    assert {p["ParameterName"]: p["ParameterValue"] for p in told}["rds.force_ssl"] == "1"


def test_a_host_may_do_exactly_this(cloud: Cloud, first: Run) -> None:
    iam = cloud.client("iam")
    assert iam.list_attached_role_policies(RoleName=PREFIX)["AttachedPolicies"] == []
    assert iam.list_role_policies(RoleName=PREFIX)["PolicyNames"] == ["host"]
    document = iam.get_role_policy(RoleName=PREFIX, PolicyName="host")["PolicyDocument"]
    assert document["Statement"] == [
        {
            "Sid": "ItsLogs",
            "Effect": "Allow",
            "Action": [
                "logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents",
                "logs:PutRetentionPolicy",
            ],
            "Resource": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/steadfast/production/*",
        },
        {
            "Sid": "ItsMetrics",
            "Effect": "Allow",
            "Action": "cloudwatch:PutMetricData",
            "Resource": "*",
            "Condition": {"StringEquals": {"cloudwatch:namespace": "steadfast/production"}},
        },
        {
            "Sid": "SessionManager",
            "Effect": "Allow",
            "Action": [
                "ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            "Resource": "*",
        },
        {
            "Sid": "BackupsThemselves",
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:GetObject"],
            "Resource": f"arn:aws:s3:::{BUCKET}/*",
        },
        {
            "Sid": "BackupsByName",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": f"arn:aws:s3:::{BUCKET}",
        },
        {
            "Sid": "BackupsEncrypted",
            "Effect": "Allow",
            "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
            "Resource": key_arn(cloud),
            "Condition": {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}},
        },
    ]  # fmt: skip


def test_the_mail_user_may_only_send_as_the_sender(cloud: Cloud, first: Run) -> None:
    iam = cloud.client("iam")
    document = iam.get_user_policy(UserName=f"{PREFIX}-mail", PolicyName="send")["PolicyDocument"]
    own = f"arn:aws:ses:{REGION}:{ACCOUNT}"
    assert document["Statement"] == [
        {
            "Sid": "SendAsTheSender",
            "Effect": "Allow",
            "Action": "ses:SendRawEmail",
            "Resource": [f"{own}:identity/steadfast.test", f"{own}:configuration-set/{PREFIX}"],
            "Condition": {"StringEquals": {"ses:FromAddress": "tasks@steadfast.test"}},
        }
    ]
    (key,) = iam.list_access_keys(UserName=f"{PREFIX}-mail")["AccessKeyMetadata"]
    stored = by_name(cloud)
    assert stored["smtp/username"] == key["AccessKeyId"]
    # 0x04 and a SHA-256.
    assert re.fullmatch(r"B[A-Za-z0-9+/]{43}", stored["smtp/password"])
    options = cloud.client("sesv2").get_configuration_set(ConfigurationSetName=PREFIX)["SuppressionOptions"]
    assert sorted(options["SuppressedReasons"]) == ["BOUNCE", "COMPLAINT"]


def test_the_bucket_is_private_versioned_and_encrypted(cloud: Cloud, first: Run) -> None:
    s3 = cloud.client("s3")
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert set(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": key_arn(cloud),
    }
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    (old,) = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert old["Expiration"]["Days"] == old["NoncurrentVersionExpiration"]["NoncurrentDays"] == 35


@pytest.fixture(scope="module")
def second(cloud: Cloud, first: Run) -> tuple[dict[str, str], Run]:
    """A run after an operator has changed a password by hand, and the parameters before it."""
    cloud.client("ssm").put_parameter(Name=f"{PATH}redis/password", Value="changed-by-hand", Overwrite=True)
    before = by_name(cloud)
    return before, cloud.provision()


def test_a_second_run_changes_nothing(cloud: Cloud, second: tuple[dict[str, str], Run]) -> None:
    before, run = second
    assert (run.status, run.changed) == (0, 0), run.output
    assert before["redis/password"] == "changed-by-hand"
    assert by_name(cloud) == before
    assert len(instances(cloud)) == 1


def test_check_mode_looks_and_changes_nothing(cloud: Cloud, second: tuple[dict[str, str], Run]) -> None:
    before = cloud.tagged(), by_name(cloud)
    # As if two settings had been changed: it says so, and does nothing.
    run = cloud.provision(
        "--check", aws_environment_instance_count=2, aws_environment_database_backup_days=14
    )
    assert (run.status, run.changed) == (0, 2), run.output
    assert (cloud.tagged(), by_name(cloud)) == before
    assert len(instances(cloud)) == 1
    assert database(cloud)["BackupRetentionPeriod"] == 7


def test_teardown_asks_for_the_name(cloud: Cloud, second: tuple[dict[str, str], Run]) -> None:
    before = cloud.tagged()
    assert before
    for name in ("", "staging"):
        run = cloud.teardown(aws_environment_teardown_confirm=name)
        assert run.status != 0
        assert "Nothing was removed" in run.told
    assert cloud.tagged() == before


def test_teardown_leaves_the_last_snapshot_and_its_key_then_nothing(
    cloud: Cloud, second: tuple[dict[str, str], Run], foreign: dict[str, str]
) -> None:
    # moto takes the policy's condition for met by everybody, so that nobody could put anything there.
    cloud.client("s3").delete_bucket_policy(Bucket=BUCKET)
    cloud.client("s3").put_object(Bucket=BUCKET, Key="dump", Body=b"a backup")
    run = cloud.teardown(aws_environment_teardown_confirm="production")
    assert run.status == 0, run.output
    (snapshot,) = cloud.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    assert snapshot["DBSnapshotIdentifier"].startswith(f"{PREFIX}-final-")
    assert snapshot["DBSnapshotIdentifier"] in run.output
    assert {arn.split(":")[2] for arn in cloud.tagged()} <= {"kms", "rds"}
    assert cloud.client("kms").describe_key(KeyId=f"alias/{PREFIX}")["KeyMetadata"]["KeyState"] == "Enabled"
    assert by_name(cloud) == {}
    assert_untouched(cloud, foreign)

    cloud.client("rds").delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])
    again = cloud.teardown(aws_environment_teardown_confirm="production")
    assert (again.status, again.changed) == (0, 1), again.output
    (key,) = cloud.tagged()
    assert cloud.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert_untouched(cloud, foreign)
    assert_nothing_is_left(cloud)


def test_a_new_environment_takes_the_old_key_back(cloud: Cloud) -> None:
    kms = cloud.client("kms")
    assert kms.describe_key(KeyId=f"alias/{PREFIX}")["KeyMetadata"]["KeyState"] == "PendingDeletion"
    run = cloud.provision("--tags", "keys")
    assert run.status == 0, run.output
    assert kms.describe_key(KeyId=f"alias/{PREFIX}")["KeyMetadata"]["KeyState"] == "Enabled"


def assert_untouched(cloud: Cloud, foreign: dict[str, str]) -> None:
    """What was there before, and is somebody else's."""
    ec2 = cloud.client("ec2")
    assert ec2.describe_subnets(SubnetIds=[foreign["subnet"]])["Subnets"][0]["VpcId"] == foreign["vpc"]
    (reservation,) = ec2.describe_instances(InstanceIds=[foreign["instance"]])["Reservations"]
    assert reservation["Instances"][0]["State"]["Name"] == "running"
    assert cloud.client("ssm").get_parameter(Name="/steadfast/staging/redis/password")["Parameter"]["Value"]
    cloud.client("s3").head_bucket(Bucket="steadfast-staging-backups")


def assert_nothing_is_left(cloud: Cloud) -> None:
    """Of what has no tags, or is not found by them."""
    iam, ec2 = cloud.client("iam"), cloud.client("ec2")
    assert iam.list_roles()["Roles"] == []
    assert iam.list_instance_profiles()["InstanceProfiles"] == []
    assert [user["UserName"] for user in iam.list_users()["Users"]] == ["operator"]
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert ec2.describe_addresses()["Addresses"] == []
    assert instances(cloud) == []
    assert cloud.client("sesv2").list_email_identities()["EmailIdentities"] == []
    assert cloud.client("sesv2").list_configuration_sets()["ConfigurationSets"] == []
    assert cloud.client("rds").describe_db_instances()["DBInstances"] == []
    assert [bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]] == [
        "steadfast-staging-backups"
    ]
