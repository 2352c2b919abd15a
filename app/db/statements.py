"""Statements that a connection prepares when it first needs one: read and planned once, then only run."""

import re
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
        self._name = name
        numbered = _PARAMETER.sub(lambda found: f"${numbers[found[1]]}", sql)
        self._prepare = f"PREPARE {name} ({', '.join(types.values())}) AS {numbered}"
        self._execute = f"EXECUTE {name} ({', '.join(f'%({parameter})s' for parameter in types)})"

    def run(self, connection: Connection, parameters: dict[str, Any]) -> CursorResult[Any]:
        """The result, as of any other statement."""
        # Of the connection to the server itself, and gone with it.
        prepared: set[str] = connection.info.setdefault("prepared", set())
        if self._name not in prepared:
            connection.exec_driver_sql(self._prepare)
            prepared.add(self._name)
        return connection.exec_driver_sql(self._execute, parameters)
