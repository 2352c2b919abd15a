"""What the tests of a host share. They look and change nothing: `make verify` runs them on production too."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host


@pytest.fixture
def read_json(host: Host) -> Callable[[str], Any]:
    """Return a function that runs a command on the host and parses what it printed."""

    def read(command: str) -> Any:
        return json.loads(host.check_output(command))

    return read


@pytest.fixture
def read_setting(host: Host) -> Callable[[str, Any], Any]:
    """Return a function that says what the inventory sets for this host, or else its second argument."""

    def read(name: str, default: Any) -> Any:
        # The default goes into the expression: variables of the inventory may refer to others.
        expression = f"{{{{ {name} | default({default!r}) }}}}"
        return host.ansible("debug", json.dumps({"msg": expression}), become=False)["msg"]

    return read
