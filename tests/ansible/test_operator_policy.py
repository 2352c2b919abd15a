"""What an operator's policies allow AWS itself to check: resources, which moto does not compare."""

import json
from fnmatch import fnmatchcase

import pytest

from tests.ansible.rendering import ROOT

OWN = "eu-central-1:123456789012"


def allows(action: str, resource: str) -> bool:
    """Whether a statement of a policy allows this action on this resource, under whatever condition."""
    documents = [
        json.loads(path.read_text()) for path in sorted(ROOT.glob("roles/*/files/operator-policy.json"))
    ]
    return any(
        fnmatchcase(action, allowed) and fnmatchcase(resource, pattern)
        for document in documents
        for statement in document["Statement"]
        for allowed in as_list(statement["Action"])
        for pattern in as_list(statement["Resource"])
    )


def as_list(value: str | list[str]) -> list[str]:
    """One or several, as IAM writes them."""
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize(
    "resource",
    ["ec2:eu-central-1:123456789012:instance/i-1", "ssm:eu-central-1::document/AWS-StartSSHSession"],
)
def test_an_operator_may_log_in_as_the_inventory_does(resource: str) -> None:
    assert "--document-name AWS-StartSSHSession" in (ROOT / "inventory/production/aws_ec2.yml").read_text()
    assert allows("ssm:StartSession", f"arn:aws:{resource}")
    assert allows("ssmmessages:OpenDataChannel", "arn:aws:ssm:eu-central-1:1:session/${aws:userid}-0a1b")


# RDS asks for the right on everything that a new instance is made with, and names the option group itself.
@pytest.mark.parametrize("kind", ["db", "pg", "subgrp"])
def test_an_operator_may_make_the_database_of_its_parts(kind: str) -> None:
    assert allows("rds:CreateDBInstance", f"arn:aws:rds:{OWN}:{kind}:steadfast-production")


def test_an_operator_may_make_it_with_the_engines_options() -> None:
    assert allows("rds:CreateDBInstance", f"arn:aws:rds:{OWN}:og:default:postgres-17")
    assert not allows("rds:CreateDBInstance", f"arn:aws:rds:{OWN}:og:another")
