"""What depends on SES's region: the server's name, and where a domain's DKIM records lead."""

import runpy

import pytest

from tests.ansible.rendering import ROOT, variables_of_inventory
from tests.ansible.test_aws_monitoring import value

MODULE = runpy.run_path(str(ROOT / "roles/aws_environment/library/ses_sender.py"))


@pytest.mark.parametrize("region", ["eu-central-1", "us-west-2"])
def test_mail_goes_to_the_server_of_the_environments_region(region: str) -> None:
    host = variables_of_inventory("production")["app_stack_smtp_host"]
    assert value(host, app_stack_aws_region=region) == f"email-smtp.{region}.amazonaws.com"


@pytest.mark.parametrize(
    ("told", "zone"),
    [
        ({"SigningHostedZone": "dkim.eu-south-1.amazonses.com"}, "dkim.eu-south-1.amazonses.com"),
        ({}, "dkim.amazonses.com"),
    ],
)
def test_dkim_records_lead_to_the_zone_that_ses_names(told: dict[str, str], zone: str) -> None:
    identity = {"DkimAttributes": {"Tokens": ["one"], **told}}
    assert MODULE["dkim_records"]("steadfast.test", identity) == [
        f"one._domainkey.steadfast.test CNAME one.{zone}"
    ]
    assert MODULE["dkim_records"]("steadfast.test", {}) == []
