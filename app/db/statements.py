"""Statements that a connection prepares when it first needs one: read and planned once, then only run."""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, CursorResult

_PARAMETER = re.compile(r"(?<!:):([a-z_]+)\b")


class Statement:
    """SQL with `:parameters`, the type of each, and a name that no other statement has.

    Reading and planning is half of what a short statement costs the server, and SQLAlchemy's own reading as
    much again. A plan that is kept must stay good while its table grows: see the options in session.py.
    """

    def __init__(self, name: str, sql: str, **types: str) -> None:
        numbers = {parameter: number for number, parameter in enumerate(types, 1)}
        self.name = name
        self.sql = _PARAMETER.sub(lambda found: f"${numbers[found[1]]}", sql)
        self._types = ", ".join(types.values())
        self._arguments = ", ".join(f"%({parameter})s" for parameter in types)

    def run(self, connection: Connection, parameters: Mapping[str, Any]) -> CursorResult[Any]:
        """The result, as of any other statement."""
        # Of the connection to the server itself, and gone with it.
        prepared: set[str] = connection.info.setdefault("prepared", set())
        if self.name not in prepared:
            connection.exec_driver_sql(f"PREPARE {self.name} ({self._types}) AS {self.sql}")
            prepared.add(self.name)
        return connection.exec_driver_sql(f"EXECUTE {self.name} ({self._arguments})", dict(parameters))
