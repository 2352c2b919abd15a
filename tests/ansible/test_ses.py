"""What depends on SES's region: the server's name."""

import pytest

from tests.ansible.rendering import variables_of_inventory
from tests.ansible.test_aws_monitoring import value


@pytest.mark.parametrize("region", ["eu-central-1", "us-west-2"])
def test_mail_goes_to_the_server_of_the_environments_region(region: str) -> None:
    host = variables_of_inventory("production")["app_stack_smtp_host"]
    assert value(host, app_stack_aws_region=region) == f"email-smtp.{region}.amazonaws.com"
