"""What somebody does by hand to an environment in AWS, by the task that would undo it."""

import json
from collections.abc import Callable

from tests.aws.cloud import BUCKET, PREFIX, Cloud

DATABASE_LINES = f"/aws/rds/instance/{PREFIX}/postgresql"


def open_a_port(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    filters = [{"Name": "group-name", "Values": [f"{PREFIX}-host"]}]
    (group,) = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"], IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )


def stop_turning_the_key(cloud: Cloud) -> None:
    kms = cloud.client("kms")
    kms.disable_key_rotation(KeyId=kms.describe_key(KeyId=f"alias/{PREFIX}")["KeyMetadata"]["KeyId"])


def publish_the_backups(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.delete_public_access_block(Bucket=BUCKET)
    s3.delete_bucket_policy(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    s3.delete_bucket_lifecycle(Bucket=BUCKET)


def widen_the_hosts_role(cloud: Cloud) -> None:
    policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    cloud.client("iam").put_role_policy(RoleName=PREFIX, PolicyName="host", PolicyDocument=policy)


def rename_the_database_subnets(cloud: Cloud) -> None:
    rds = cloud.client("rds")
    (group,) = rds.describe_db_subnet_groups(DBSubnetGroupName=PREFIX)["DBSubnetGroups"]
    rds.add_tags_to_resource(
        ResourceName=group["DBSubnetGroupArn"], Tags=[{"Key": "Environment", "Value": "staging"}]
    )


def keep_fewer_lines(cloud: Cloud) -> None:
    cloud.client("logs").put_retention_policy(logGroupName=DATABASE_LINES, retentionInDays=1)


def keep_fewer_backups(cloud: Cloud) -> None:
    cloud.client("rds").modify_db_instance(
        DBInstanceIdentifier=PREFIX, BackupRetentionPeriod=1, ApplyImmediately=True
    )


def give_credentials_to_whoever_asks(cloud: Cloud) -> None:
    (host,) = cloud.instances()
    # moto forgets what it is not told anew.
    same = {"HttpEndpoint": "enabled", "HttpProtocolIpv6": "disabled", "InstanceMetadataTags": "disabled"}
    cloud.client("ec2").modify_instance_metadata_options(
        InstanceId=host["InstanceId"], HttpTokens="optional", HttpPutResponseHopLimit=2, **same
    )


def ring_later(cloud: Cloud) -> None:
    cloudwatch = cloud.client("cloudwatch")
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[f"{PREFIX}-queue-depth"])["MetricAlarms"]
    only_told = ("State", "AlarmArn", "AlarmConfigurationUpdatedTimestamp")
    settings = {name: value for name, value in alarm.items() if not name.startswith(only_told)}
    cloudwatch.put_metric_alarm(**settings | {"Threshold": 1_000_000})


def draw_nothing(cloud: Cloud) -> None:
    cloudformation = cloud.client("cloudformation")
    stored = cloudformation.get_template(StackName=f"{PREFIX}-dashboard")["TemplateBody"]
    stored["Resources"]["Dashboard"]["Properties"]["DashboardBody"] = '{"widgets": []}'
    cloudformation.update_stack(StackName=f"{PREFIX}-dashboard", TemplateBody=json.dumps(stored))


BY_HAND: dict[str, Callable[[Cloud], None]] = {
    "aws_environment : security_groups | Open the hosts to whom they are for": open_a_port,
    "aws_environment : keys | Make the key that database, disks, parameters and backups are encrypted with": (
        stop_turning_the_key
    ),
    "aws_environment : storage | See what differs, where nothing may be changed": publish_the_backups,
    "aws_environment : permissions | Allow it what a host does, and no more": widen_the_hosts_role,
    "aws_environment : database | Name the subnets it may be in": rename_the_database_subnets,
    "aws_environment : database | Let its lines go when they are old => postgresql": keep_fewer_lines,
    "aws_environment : database | Make it, or mend what differs": keep_fewer_backups,
    "aws_environment : hosts | Make as many as there shall be": give_credentials_to_whoever_asks,
    "aws_monitoring : alarms | Have each alarm => queue-depth": ring_later,
    "aws_monitoring : dashboard | Announce what differs, where nothing may be changed": draw_nothing,
}
