"""What bears an environment's tags; `python -m tests.aws.tagged URL ENVIRONMENT` asks a sandbox's AWS."""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import boto3

from tests.aws.endpoint import KEYS

REGION = "eu-central-1"


def tagged(client: Callable[[str], Any], tags: Mapping[str, str]) -> set[str]:
    """By its ARN, without the instances that are only remembered."""
    pages = client("resourcegroupstaggingapi").get_paginator("get_resources")
    filters = [{"Key": key, "Values": [value]} for key, value in tags.items()]
    ended = [{"Name": "instance-state-name", "Values": ["terminated"]}]
    reservations = client("ec2").describe_instances(Filters=ended)["Reservations"]
    gone = {instance["InstanceId"] for found in reservations for instance in found["Instances"]}
    # Of these moto's list of what has tags says nothing.
    filters_of_ec2 = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
    addresses = client("ec2").describe_addresses(Filters=filters_of_ec2)["Addresses"]
    return {
        found["ResourceARN"]
        for page in pages.paginate(TagFilters=filters)
        for found in page["ResourceTagMappingList"]
        if found["ResourceARN"].rpartition("/")[2] not in gone
    } | {f"arn:aws:ec2:{REGION}::elastic-ip/{address['AllocationId']}" for address in addresses}


def main(url: str, environment: str) -> None:
    """One on a line."""
    client = partial(boto3.client, endpoint_url=url, region_name=REGION, **KEYS)
    found = tagged(client, {"Application": "steadfast", "Environment": environment})
    sys.stdout.writelines(f"{arn}\n" for arn in sorted(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
