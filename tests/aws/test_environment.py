"""From an empty account to an environment, and again; first with no more than an operator's rights."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.aws.cloud import ACCOUNT, BUCKET, IMAGES, PATH, PREFIX, REGION, TAGS, Cloud, Step
from tests.aws.conftest import POLICIES

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


def database(cloud: Cloud) -> dict[str, Any]:
    """The environment's database."""
    (found,) = cloud.client("rds").describe_db_instances(DBInstanceIdentifier=PREFIX)["DBInstances"]
    return dict(found)


def test_one_command_makes_it_and_says_what_comes_next(cloud: Cloud, first: Step) -> None:
    assert first.run.status == 0, first.run.output
    for word in ("Environment production", REGION, "_domainkey.steadfast.test CNAME"):
        assert word in first.run.told
    assert (cloud.folder / "inventory" / "rds-ca.pem").read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_the_first_lines_name_the_environment_and_its_hosts(first: Step) -> None:
    assert f"production: {PREFIX} in {REGION}, hosts: 1 of t4g.micro" in first.run.begun


def test_the_last_lines_say_where_it_is_and_what_comes_next(cloud: Cloud, shrunk: Step) -> None:
    (address,) = cloud.client("ec2").describe_addresses()["Addresses"]
    told = shrunk.run.told.partition("PLAY RECAP")[0].rstrip(" *")
    assert f"'Hosts: {address['PublicIp']}'" in told
    assert told.endswith("'Next: ansible-playbook site.yml'")


def test_passwords_reach_neither_screen_nor_disk(cloud: Cloud, first: Step) -> None:
    # Whatever Ansible is asked to say.
    assert "task path: " in first.run.output
    stored = first.after.parameters
    for name in SECRETS:
        assert stored[name] not in first.run.output, name
    # A module that is put into a file has its arguments there.
    assert "AnsiballZ_" not in first.run.output
    files = [path for path in cloud.folder.rglob("*") if path.is_file()]
    assert [path for path in files if any(stored[name] in path.read_text() for name in SECRETS)] == []


def test_every_parameter_is_there_under_the_key_of_the_environment(cloud: Cloud, first: Step) -> None:
    stored = first.after.parameters
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


def test_the_host_is_closed_and_encrypted(cloud: Cloud, first: Step) -> None:
    (host,) = cloud.instances()
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


def test_ports_are_open_to_whom_they_are_for(cloud: Cloud, first: Step) -> None:
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


def test_only_public_subnets_lead_out(cloud: Cloud, first: Step) -> None:
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


def test_the_database_is_private_encrypted_kept_and_protected(cloud: Cloud, first: Step) -> None:
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


def test_a_host_may_do_exactly_this(cloud: Cloud, first: Step) -> None:
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
            "Sid": "LogGroupsByName",
            "Effect": "Allow",
            "Action": "logs:DescribeLogGroups",
            "Resource": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:*",
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


def test_the_mail_user_may_only_send_as_the_sender(cloud: Cloud, first: Step) -> None:
    iam = cloud.client("iam")
    document = iam.get_user_policy(UserName=f"{PREFIX}-mail", PolicyName="send")["PolicyDocument"]
    own = f"arn:aws:ses:{REGION}:{ACCOUNT}"
    assert document["Statement"] == [
        {
            "Sid": "SendAsTheSender",
            "Effect": "Allow",
            "Action": "ses:SendRawEmail",
            "Resource": [f"{own}:identity/*", f"{own}:configuration-set/*"],
            "Condition": {"StringEquals": {"ses:FromAddress": "tasks@steadfast.test"}},
        }
    ]
    (key,) = iam.list_access_keys(UserName=f"{PREFIX}-mail")["AccessKeyMetadata"]
    stored = cloud.parameters()
    assert stored["smtp/username"] == key["AccessKeyId"]
    # 0x04 and a SHA-256.
    assert re.fullmatch(r"B[A-Za-z0-9+/]{43}", stored["smtp/password"])
    options = cloud.client("sesv2").get_configuration_set(ConfigurationSetName=PREFIX)["SuppressionOptions"]
    assert sorted(options["SuppressedReasons"]) == ["BOUNCE", "COMPLAINT"]


def test_no_line_is_kept_for_ever(first: Step) -> None:
    # What PostgreSQL says of a refused row may tell of people, too.
    services = ("api", "worker", "nginx", "redis", "flower", "migrate", "host")
    groups = [f"/steadfast/production/{service}" for service in services]
    groups += [f"/aws/rds/instance/{PREFIX}/{log}" for log in ("postgresql", "upgrade")]
    assert first.after.log_days == dict.fromkeys(groups, 30)


def test_everything_bears_the_tags_of_the_environment(cloud: Cloud, first: Step) -> None:
    # Of IAM, SES, alarms and RDS' groups moto's list of what has tags says nothing.
    kinds = {
        "cloudformation:stack", "ec2:elastic-ip", "ec2:instance", "ec2:internet-gateway", "ec2:route-table",
        "ec2:security-group", "ec2:subnet", "ec2:volume", "ec2:vpc", "kms:key", "logs:log-group", "rds:db",
        f"s3:{BUCKET}", f"sns:{PREFIX}-alarms", "ssm:parameter",
    }  # fmt: skip
    arns = [arn.split(":", 5) for arn in first.after.arns]
    found = {f"{service}:{re.split('[:/]', name)[0]}" for _, _, service, _, _, name in arns}
    assert kinds - found == set()
    rds = cloud.client("rds")
    (subnets,) = rds.describe_db_subnet_groups(DBSubnetGroupName=PREFIX)["DBSubnetGroups"]
    (parameters,) = rds.describe_db_parameter_groups(DBParameterGroupName=PREFIX)["DBParameterGroups"]
    for arn in (subnets["DBSubnetGroupArn"], parameters["DBParameterGroupArn"]):
        tags = {tag["Key"]: tag["Value"] for tag in rds.list_tags_for_resource(ResourceName=arn)["TagList"]}
        assert tags.items() >= TAGS.items(), arn


def test_the_bucket_is_private_versioned_and_encrypted(cloud: Cloud, first: Step) -> None:
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


def test_a_second_run_changes_nothing(cloud: Cloud, second: Step) -> None:
    assert (second.run.status, second.run.changed) == (0, 0), second.run.output
    assert second.before.parameters["redis/password"] == "changed-by-hand"
    assert second.after == second.before
    assert len(cloud.instances()) == 1


def test_another_host_gets_an_address_and_port_22_is_opened_to_operators_when_asked(grown: Step) -> None:
    assert grown.run.status == 0, grown.run.output
    for kind in ("instance", "elastic-ip"):
        assert len([arn for arn in grown.after.arns if f":{kind}/" in arn]) == 2, kind


def test_with_a_host_less_the_oldest_goes_and_its_address_is_given_back(
    cloud: Cloud, grown: Step, shrunk: Step
) -> None:
    assert shrunk.run.status == 0, shrunk.run.output
    (stays,) = cloud.instances()
    (address,) = cloud.client("ec2").describe_addresses()["Addresses"]
    assert address["InstanceId"] == stays["InstanceId"]
    assert stays["InstanceId"] not in "".join(grown.before.arns)


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.parts[-3])
def test_an_operators_policy_is_as_short_as_iam_asks(path: Path) -> None:
    # Of a managed policy; blanks and line breaks do not count.
    assert len("".join(path.read_text().split())) <= 6144
