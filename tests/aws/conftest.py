"""One environment in AWS, at which all files look: made once, and removed by test_teardown.py, the last."""

import json
from collections.abc import Iterator

import pytest

from tests.aws.by_hand import BY_HAND
from tests.aws.cloud import (
    DROPPED_ALARM,
    FOREIGN_ALARMS,
    FOREIGN_BUCKET,
    IMAGES,
    PATH,
    REGION,
    Cloud,
    Step,
    account,
)
from tests.aws.operator import ROOT

THRESHOLDS = {"queue-depth": 9}
ROLES = ("aws_environment", "aws_monitoring")
POLICIES = [ROOT / "roles" / role / "files" / "operator-policy.json" for role in ROLES]


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The account in which the environment is."""
    with account(tmp_path_factory.mktemp("cloud")) as found:
        yield found


@pytest.fixture(scope="session")
def foreign(cloud: Cloud) -> dict[str, str]:
    """What somebody else has in the account: a VPC with an instance, a parameter, a bucket, alarms."""
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
    cloud.client("s3").create_bucket(Bucket=FOREIGN_BUCKET, CreateBucketConfiguration=where)
    for name, (topic, description) in FOREIGN_ALARMS.items():
        cloud.put_alarm(name, topic, description)
    return {"vpc": vpc, "subnet": subnet, "instance": instance["InstanceId"]}


@pytest.fixture(scope="session")
def operator(cloud: Cloud) -> dict[str, str]:
    """The keys of a user who may do what both operator-policy.json list.

    moto compares actions, and knows neither resources nor conditions of a statement: those are left out. The
    right to look whether a bucket is there is s3:ListBucket in IAM, and has the request's own name in moto;
    CloudWatch is called there as requests to it are signed.
    """
    documents = [json.loads(path.read_text().replace('"cloudwatch:', '"monitoring:')) for path in POLICIES]
    statements = [statement | {"Resource": "*"} for found in documents for statement in found["Statement"]]
    statements.append({"Effect": "Allow", "Action": "s3:HeadBucket", "Resource": "*"})
    iam = cloud.client("iam")
    iam.create_user(UserName="operator")
    document = json.dumps(documents[0] | {"Statement": statements})
    iam.put_user_policy(UserName="operator", PolicyName="operator", PolicyDocument=document)
    key = iam.create_access_key(UserName="operator")["AccessKey"]
    return {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}


# What happens to the environment, in this order: whatever a test asks for, all before it has happened.


@pytest.fixture(scope="session")
def first(cloud: Cloud, foreign: dict[str, str], operator: dict[str, str]) -> Step:
    """The first run: with no more than an operator's rights, and saying all that Ansible can say."""
    cloud.put_alarm(*DROPPED_ALARM)
    return cloud.step(cloud.with_rights, operator, cloud.provision, "-vvv")


@pytest.fixture(scope="session")
def second(cloud: Cloud, first: Step) -> Step:
    """A run after an operator has changed a password by hand."""
    cloud.client("ssm").put_parameter(Name=f"{PATH}redis/password", Value="changed-by-hand", Overwrite=True)
    return cloud.step(cloud.provision)


@pytest.fixture(scope="session")
def drifted(cloud: Cloud, second: Step, operator: dict[str, str]) -> Step:
    """A look after somebody has changed things by hand, with no more than an operator's rights."""
    assert second.run.status == 0, second.run.output
    for change in BY_HAND.values():
        change(cloud)
    return cloud.step(cloud.with_rights, operator, cloud.look)


@pytest.fixture(scope="session")
def grown(cloud: Cloud, drifted: Step, operator: dict[str, str]) -> Step:
    """A run that mends these, makes a second host and opens port 22."""
    more = {"aws_environment_instance_count": 2, "aws_environment_ssh_port_enabled": True}
    return cloud.step(cloud.with_rights, operator, cloud.provision, **more)


@pytest.fixture(scope="session")
def shrunk(cloud: Cloud, grown: Step, operator: dict[str, str]) -> Step:
    """A run that takes both back, and gives an alarm another threshold."""
    less = {"aws_monitoring_thresholds": THRESHOLDS}
    return cloud.step(cloud.with_rights, operator, cloud.provision, **less)


@pytest.fixture(scope="session")
def mended(cloud: Cloud, shrunk: Step) -> Step:
    """A look straight after that."""
    assert shrunk.run.status == 0, shrunk.run.output
    return cloud.step(cloud.look, aws_monitoring_thresholds=THRESHOLDS)
