#!/usr/bin/python
"""Registers a domain with SES: no module of the collections speaks SES's second API.

It makes a configuration set that writes no more to addresses which bounced or complained, and the domain's
identity, with DKIM and that set. An identity without our tags is somebody else's: it is used, keeps its own
configuration set, and stays.
"""

from contextlib import suppress
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

# Where it is missing, AnsibleAWSModule says so.
with suppress(ImportError):
    from botocore.exceptions import BotoCoreError, ClientError

SUPPRESSED = ["BOUNCE", "COMPLAINT"]


class Sender:
    """A domain and a configuration set in SES."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.ses = module.client("sesv2", retry_decorator=AWSRetry.jittered_backoff())
        self.look_only: bool = module.check_mode
        self.domain: str = module.params["domain"]
        self.configuration_set: str = module.params["configuration_set"]
        self.tags = [{"Key": key, "Value": value} for key, value in (module.params["tags"] or {}).items()]
        self.changed = False

    def change(self, method: str, **arguments: Any) -> None:
        """Calls a method that changes something, or would."""
        self.changed = True
        if not self.look_only:
            getattr(self.ses, method)(aws_retry=True, **arguments)

    def found(self, method: str, **arguments: Any) -> dict[str, Any]:
        """What there is, or nothing."""
        try:
            return dict(getattr(self.ses, method)(aws_retry=True, **arguments))
        except is_boto3_error_code("NotFoundException"):
            return {}

    def identity(self) -> dict[str, Any]:
        """The domain's identity, or nothing."""
        return self.found("get_email_identity", EmailIdentity=self.domain)

    def is_ours(self, identity: dict[str, Any]) -> bool:
        """Whether it has our tags."""
        return all(tag in identity.get("Tags", []) for tag in self.tags)

    def ensure_present(self) -> dict[str, Any]:
        """Makes what is not there."""
        one = {"ConfigurationSetName": self.configuration_set}
        stored = self.found("get_configuration_set", **one)
        if not stored:
            suppression = {"SuppressedReasons": SUPPRESSED}
            self.change("create_configuration_set", **one, SuppressionOptions=suppression, Tags=self.tags)
        elif sorted(stored.get("SuppressionOptions", {}).get("SuppressedReasons", [])) != SUPPRESSED:
            self.change("put_configuration_set_suppression_options", **one, SuppressedReasons=SUPPRESSED)
        if not self.identity():
            self.change("create_email_identity", EmailIdentity=self.domain, Tags=self.tags, **one)
        return self.identity()

    def ensure_absent(self) -> dict[str, Any]:
        """Removes what is ours."""
        identity = self.identity()
        if identity and self.is_ours(identity):
            self.change("delete_email_identity", EmailIdentity=self.domain)
        if self.found("get_configuration_set", ConfigurationSetName=self.configuration_set):
            self.change("delete_configuration_set", ConfigurationSetName=self.configuration_set)
        return {}


def dkim_records(domain: str, identity: dict[str, Any]) -> list[str]:
    """What the domain's DNS must say; where the keys are is the region's affair, and SES names it."""
    dkim = identity.get("DkimAttributes", {})
    zone = dkim.get("SigningHostedZone") or "dkim.amazonses.com"
    return [f"{token}._domainkey.{domain} CNAME {token}.{zone}" for token in dkim.get("Tokens", [])]


def main() -> None:
    """The module."""
    module = AnsibleAWSModule(
        argument_spec={
            "domain": {"required": True},
            "configuration_set": {"required": True},
            "tags": {"type": "dict"},
            "state": {"choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    sender = Sender(module)
    try:
        identity = sender.ensure_present() if module.params["state"] == "present" else sender.ensure_absent()
    except (BotoCoreError, ClientError) as error:
        module.fail_json_aws(error, msg=f"SES and {sender.domain}")
    module.exit_json(
        changed=sender.changed,
        verified=identity.get("VerifiedForSendingStatus", False),
        dkim_records=dkim_records(sender.domain, identity),
    )


if __name__ == "__main__":
    main()
