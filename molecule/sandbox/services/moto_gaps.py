"""What moto does not have of AWS and this project's playbooks need, put into it; started by itself, it serves that moto.

Each function says how AWS answers. Without them Ansible's own modules stop, or find something changed at each run.
"""

import sys
from collections.abc import Callable
from typing import Any

from moto.rds.exceptions import DBParameterGroupNotFoundError
from moto.rds.models import DBInstance, DBParameterGroup, RDSBackend
from moto.server import main

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
    """A disk of type gp3 has its least throughput and operations unless more is asked for; moto tells none."""

    def begin(self: DBInstance, *arguments: Any, **named: Any) -> None:
        if named.get("storage_type") == "gp3":
            named = {"iops": 3000, "storage_throughput": 125} | named
        make(self, *arguments, **named)

    return begin


def fill() -> None:
    """Puts all of it into moto, in this process."""
    RDSBackend.describe_db_parameter_groups = _find_parameter_groups(RDSBackend.describe_db_parameter_groups)
    DBParameterGroup.__init__ = _with_defaults(DBParameterGroup.__init__)
    DBInstance.__init__ = _with_speed(DBInstance.__init__)


if __name__ == "__main__":
    fill()
    main(sys.argv[1:])
