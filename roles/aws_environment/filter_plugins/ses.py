"""SES's SMTP password of an IAM user, made of its secret access key and the region as SES documents it."""

import base64
import hashlib
import hmac
from collections.abc import Callable

# Of the scheme of signatures, fixed: the password is for every day.
_DATE = "11111111"
_VERSION = b"\x04"


def ses_smtp_password(secret_access_key: str, region: str) -> str:
    """The password for this region's SMTP endpoint; the user is the access key's id."""
    signature = ("AWS4" + secret_access_key).encode()
    for part in (_DATE, region, "ses", "aws4_request", "SendRawEmail"):
        signature = hmac.new(signature, part.encode(), hashlib.sha256).digest()
    return base64.b64encode(_VERSION + signature).decode()


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Name -> filter."""
        return {"ses_smtp_password": ses_smtp_password}
