"""What the playbooks need of AWS and moto does not have, put into it; started by itself, it serves that moto.

Each function says how AWS answers. Without them Ansible's modules stop, or find something changed each time.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE
from moto.iam.access_control import IAMPolicy, IAMRequestBase, PermissionResult
from moto.iam.responses import IamResponse
from moto.kms.models import KmsBackend
from moto.rds.exceptions import DBParameterGroupNotFoundError
from moto.rds.models import DBInstance, DBParameterGroup, RDSBackend
from moto.s3.models import FakeBucket
from moto.server import main
from moto.ses.models import EmailIdentity

# Of the parameters of PostgreSQL 17 the one that is set here, as RDS describes it before anybody sets it.
ENGINE_DEFAULTS = {
    "rds.force_ssl": {
        "ParameterName": "rds.force_ssl",
        "ParameterValue": "1",
        "DataType": "boolean",
        "Source": "system",
        "ApplyType": "dynamic",
        "AllowedValues": "0,1",
        "IsModifiable": True,
        "ApplyMethod": "pending-reboot",
    }
}

# What a bucket's policy says of requests that came without TLS.
WITHOUT_TLS = {"Bool": {"aws:SecureTransport": "false"}}


def _find_parameter_groups(found: Callable[..., list[DBParameterGroup]]) -> Callable[..., Any]:
    """RDS refuses to describe a group that is not there; moto answers with none."""

    def find(self: RDSBackend, wanted: dict[str, Any]) -> list[DBParameterGroup]:
        groups = found(self, wanted)
        name = wanted.get("db_parameter_group_name") or wanted.get("DBParameterGroupName")
        if name and not groups:
            raise DBParameterGroupNotFoundError(name)
        return groups

    return find


def _with_defaults(make: Callable[..., None]) -> Callable[..., None]:
    """A new group has its engine's parameters; moto's is empty."""

    def begin(self: DBParameterGroup, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        self.parameters.update({name: dict(value) for name, value in ENGINE_DEFAULTS.items()})

    return begin


def _with_speed(make: Callable[..., None]) -> Callable[..., None]:
    """A gp3 disk has the least throughput and operations unless more is asked for; moto tells none."""

    def begin(self: DBInstance, *arguments: Any, **named: Any) -> None:
        if named.get("storage_type") == "gp3":
            named = {"iops": 3000, "storage_throughput": 125} | named
        make(self, *arguments, **named)

    return begin


def _with_dkim(make: Callable[..., None]) -> Callable[..., None]:
    """SES makes three keys for a new domain, whose names its owner puts into the DNS; moto makes none."""

    def begin(self: EmailIdentity, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        names = (f"{self.email_identity} {number}".encode() for number in range(3))
        tokens = [hashlib.sha256(name).hexdigest()[:32] for name in names]
        self.dkim_attributes.update(Tokens=tokens, Status="PENDING", SigningEnabled=True)

    return begin


def _service_credentials(_: IamResponse) -> ActionResult:
    """Passwords of a user for other services of AWS: nobody has one; moto does not know the question."""
    return ActionResult({"ServiceSpecificCredentials": []})


def _take_any_signature(_: IAMRequestBase) -> None:
    """Where a service has paths moto reckons another signature than the caller; permissions count here."""


def _permission_as_with_tls(self: FakeBucket, action: str, resource: str) -> PermissionResult:
    """What is refused without TLS is refused to nobody here, as AWS has TLS; moto refuses it to everybody."""
    said = json.loads(self.policy)["Statement"] if self.policy else []
    policy = json.dumps({"Statement": [one for one in said if one.get("Condition") != WITHOUT_TLS]})
    return IAMPolicy(policy).is_action_permitted(action, resource)


def _by_arn_too(call: Callable[..., Any]) -> Callable[..., Any]:
    """A key may be named by its ARN, too; here moto knows it by its id alone."""

    def begin(self: KmsBackend, key_id: str, *arguments: Any, **named: Any) -> Any:
        return call(self, self.get_key_id(key_id), *arguments, **named)

    return begin


def fill() -> None:
    """Puts all of it into moto, in this process."""
    RDSBackend.describe_db_parameter_groups = _find_parameter_groups(RDSBackend.describe_db_parameter_groups)
    DBParameterGroup.__init__ = _with_defaults(DBParameterGroup.__init__)
    DBInstance.__init__ = _with_speed(DBInstance.__init__)
    EmailIdentity.__init__ = _with_dkim(EmailIdentity.__init__)
    IamResponse.list_service_specific_credentials = _service_credentials
    KmsBackend.schedule_key_deletion = _by_arn_too(KmsBackend.schedule_key_deletion)
    KmsBackend.cancel_key_deletion = _by_arn_too(KmsBackend.cancel_key_deletion)
    KmsBackend.enable_key = _by_arn_too(KmsBackend.enable_key)
    IAMRequestBase.check_signature = _take_any_signature
    FakeBucket.get_permission = _permission_as_with_tls
    # The type by which the tags of an elastic address are asked for; moto calls it vpc-elastic-ip.
    EC2_PREFIX_TO_RESOURCE["eipalloc"] = "elastic-ip"


if __name__ == "__main__":
    fill()
    main(sys.argv[1:])
