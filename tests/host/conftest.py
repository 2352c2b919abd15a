"""What the tests of a host share. They look and change nothing: `make verify` runs them on production too."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host
from testinfra.utils import ansible_runner

_inventory = ansible_runner.get_ansible_inventory


def plain(found: Any) -> Any:
    """An inventory without the marks that Ansible puts on whatever a service said (a host's address)."""
    if isinstance(found, dict):
        return found.get("__ansible_unsafe") or {name: plain(value) for name, value in found.items()}
    return [plain(value) for value in found] if isinstance(found, list) else found


# Testinfra reads the marks as values, and would not find the hosts that aws_ec2.yml finds.
ansible_runner.get_ansible_inventory = lambda *given: plain(_inventory(*given))


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
