"""From an environment back to nothing, with no more than an operator's rights.

The last of all files, as it removes what the others look at. In order:
each test goes on with what the one before left.
"""

from tests.aws.cloud import BUCKET, PREFIX, Cloud, Step


def test_teardown_asks_for_the_name(cloud: Cloud, first: Step) -> None:
    before = cloud.tagged()
    assert before
    for name in ("", "staging"):
        run = cloud.teardown(aws_environment_teardown_confirm=name)
        assert run.status != 0
        assert "Nothing was removed" in run.told
    assert cloud.tagged() == before


def test_teardown_leaves_the_last_snapshot_and_its_key_then_nothing(
    cloud: Cloud, first: Step, foreign: dict[str, str], operator: dict[str, str]
) -> None:
    cloud.client("s3").put_object(Bucket=BUCKET, Key="dump", Body=b"a backup")
    with cloud.permissions_asked() as connection:
        run = cloud.teardown(
            aws_environment_teardown_confirm="production", app_stack_aws_connection=connection | operator
        )
    assert run.status == 0, run.output
    (snapshot,) = cloud.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    assert snapshot["DBSnapshotIdentifier"].startswith(f"{PREFIX}-final-")
    assert snapshot["DBSnapshotIdentifier"] in run.told
    assert {arn.split(":")[2] for arn in cloud.tagged()} <= {"kms", "rds"}
    assert cloud.client("kms").describe_key(KeyId=f"alias/{PREFIX}")["KeyMetadata"]["KeyState"] == "Enabled"
    assert cloud.parameters() == {}
    assert_untouched(cloud, foreign)

    cloud.client("rds").delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])
    again = cloud.teardown(aws_environment_teardown_confirm="production")
    assert (again.status, again.changed) == (0, 1), again.output
    (key,) = cloud.tagged()
    assert cloud.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert_untouched(cloud, foreign)
    assert_nothing_is_left(cloud)


def test_nothing_that_watched_it_is_left(cloud: Cloud, first: Step) -> None:
    assert cloud.client("cloudwatch").describe_alarms(AlarmNamePrefix=PREFIX)["MetricAlarms"] == []
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
    cloud.client("s3").head_bucket(Bucket="steadfast-staging-backups")


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
    assert [bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]] == [
        "steadfast-staging-backups"
    ]
