"""SES's SMTP password comes from a secret key as SES documents it.

The expected values were made once; the same code gave those of an independent implementation for its keys.
"""

import pytest
from ansible.plugins.loader import filter_loader

from tests.ansible.rendering import ROOT

KEY = "nobodys+secret+key"


@pytest.mark.parametrize(
    ("region", "password"),
    [
        ("eu-central-1", "BA7UzD47x7BfgAHZZzPYdR4yj9d8wbFTOVPmimLBNfMD"),
        ("us-east-1", "BJGXewgZxveZNTdqLwE9yCBhUh8YXV8GOutIPDnJOuwc"),
    ],
)
def test_the_password_is_of_the_key_and_the_region(region: str, password: str) -> None:
    filter_loader.add_directory(str(ROOT / "roles" / "aws_environment" / "filter_plugins"))
    assert filter_loader.get("ses_smtp_password").j2_function(KEY, region) == password
