"""From an environment back to nothing, with no more than an operator's rights.

The last of all files, as it removes what the others look at. In order:
each test goes on with what the one before left.
"""

from tests.aws.cloud import BUCKET, FOREIGN_ALARMS, FOREIGN_BUCKET, PREFIX, REGION, Cloud, Step

QUESTION = "type the environment's name:"


def test_teardown_asks_for_the_name(cloud: Cloud, first: Step) -> None:
    before = cloud.tagged()
    assert before
    run = cloud.teardown(typed=(QUESTION, "staging"))
    assert run.status != 0
    assert f"production: {PREFIX} in {REGION}, hosts: 1 of t4g.micro" in run.begun
    assert "Nothing was removed" in run.told
    assert cloud.tagged() == before


def test_teardown_leaves_the_last_snapshot_and_its_key_then_nothing(
    cloud: Cloud, first: Step, foreign: dict[str, str], operator: dict[str, str]
) -> None:
    cloud.client("s3").put_object(Bucket=BUCKET, Key="dump", Body=b"a backup")
    # Since it was made, somebody has named another bucket, which is none of the environment's: both stay.
    run = cloud.with_rights(
        operator,
        cloud.teardown,
        aws_environment_backup_bucket=FOREIGN_BUCKET,
        aws_environment_teardown_confirm="production",
    )
    assert run.status == 0, run.output
    (snapshot,) = cloud.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    assert snapshot["DBSnapshotIdentifier"].startswith(f"{PREFIX}-final-")
    assert snapshot["DBSnapshotIdentifier"] in run.told
    assert {arn.split(":")[2] for arn in cloud.tagged()} <= {"kms", "rds", "s3"}
    assert cloud.client("kms").describe_key(KeyId=f"alias/{PREFIX}")["KeyMetadata"]["KeyState"] == "Enabled"
    assert cloud.parameters() == {}
    assert_untouched(cloud, foreign)

    cloud.client("rds").delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])
    again = cloud.with_rights(operator, cloud.teardown, typed=(QUESTION, "production"))
    assert (again.status, again.changed) == (0, 2), again.output
    (key,) = cloud.tagged()
    assert cloud.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert_untouched(cloud, foreign)
    assert_nothing_is_left(cloud)


def test_nothing_that_watched_it_is_left(cloud: Cloud, first: Step) -> None:
    assert cloud.alarms() == {}
    assert cloud.foreign_alarms() == set(FOREIGN_ALARMS)
    assert cloud.client("logs").describe_log_groups()["logGroups"] == []
    assert cloud.client("sns").list_topics()["Topics"] == []
    assert cloud.client("cloudwatch").list_dashboards()["DashboardEntries"] == []


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
    cloud.client("s3").head_bucket(Bucket=FOREIGN_BUCKET)


def assert_nothing_is_left(cloud: Cloud) -> None:
    """Of what has no tags, or is not found by them."""
    iam, ec2 = cloud.client("iam"), cloud.client("ec2")
    assert iam.list_roles()["Roles"] == []
    assert iam.list_instance_profiles()["InstanceProfiles"] == []
    assert [user["UserName"] for user in iam.list_users()["Users"]] == ["operator"]
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert ec2.describe_addresses()["Addresses"] == []
    assert cloud.instances() == []
    assert cloud.client("sesv2").list_email_identities()["EmailIdentities"] == []
    assert cloud.client("sesv2").list_configuration_sets()["ConfigurationSets"] == []
    assert cloud.client("rds").describe_db_instances()["DBInstances"] == []
    assert [bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]] == [FOREIGN_BUCKET]
