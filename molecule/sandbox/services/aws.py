"""The sandbox's stand-in for AWS: moto, holding the parameters that a deployment reads.

moto forgets everything when it ends. So the parameters are put in again at each start, from a file that
outlives it, and an empty bucket for backups is made. Where the file holds none, playbooks/provision-aws.yml
makes both.
"""

import json
from pathlib import Path
from typing import Any

import boto3
import moto_gaps
from botocore.config import Config
from moto import mock_aws
from moto.server import main

REGION = "eu-central-1"
PORT = 5000
PARAMETERS = Path("/mnt/user-data/parameters.json")


def put_parameters(parameters: dict[str, dict[str, Any]]) -> None:
    """Put them into Parameter Store: {name: {"value": str, "secret": bool}}.

    Secrets are encrypted under a key of the account's own, as a deployment to EC2 should have it.
    """
    # These clients end in this process; the server, started afterwards, serves what they leave behind.
    mock_aws().start()
    kms = boto3.client("kms", region_name=REGION)
    key_id = kms.create_key(Description="Secrets of the sandbox")["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/steadfast-sandbox", TargetKeyId=key_id)
    ssm = boto3.client("ssm", region_name=REGION)
    for name, parameter in parameters.items():
        if parameter["secret"]:
            ssm.put_parameter(Name=name, Value=parameter["value"], Type="SecureString", KeyId=key_id)
        else:
            ssm.put_parameter(Name=name, Value=parameter["value"], Type="String")


def make_bucket() -> None:
    """The bucket for backups, of the name that hosts find by themselves."""
    account = boto3.client("sts", region_name=REGION).get_caller_identity()["Account"]
    # The server knows buckets by their place in the path alone (tasks/aws.yml says why).
    paths = Config(s3={"addressing_style": "path"})
    boto3.client("s3", region_name=REGION, config=paths).create_bucket(
        Bucket=f"steadfast-sandbox-backups-{account}",
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )


if __name__ == "__main__":
    moto_gaps.fill()
    found = json.loads(PARAMETERS.read_text())
    put_parameters(found)
    if found:
        make_bucket()
    main(["--host", "0.0.0.0", "--port", str(PORT)])  # noqa: S104  # the container's own network
