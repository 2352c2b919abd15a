"""What of the stack can be reached from where: ports, the host from its containers, Redis.

That a neighbour of the host reaches no container's address, and that the rules outlive engine and host, is
seen by molecule/host_baseline, which has a neighbour.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

NGINX, REDIS = "steadfast-nginx-1", "steadfast-redis-1"
METADATA = "169.254.169.254"
# What curl ends with when nobody answered; all else is an answer, if only a refusal or no HTTP.
TIMED_OUT = 28


@pytest.fixture(scope="module")
def containers(host: Host) -> dict[str, dict[str, Any]]:
    """`docker inspect` of every container of the host, of the stack or not, by its name."""
    found = json.loads(host.check_output("docker inspect $(docker ps --all --quiet)"))
    return {item["Name"].lstrip("/"): item for item in found}


@pytest.fixture
def knock(host: Host) -> Callable[[str, int], int]:
    """Return a function that tries a port from nginx's container and says what curl ended with."""

    def try_it(address: str, port: int) -> int:
        ask = "docker exec %s curl --silent --output /dev/null --max-time 2 http://%s:%s/"
        return int(host.run(ask, NGINX, address, str(port)).rc)

    return try_it


def address_in(container: dict[str, Any], network: str) -> str:
    return str(container["NetworkSettings"]["Networks"][network]["IPAddress"])


def test_the_ports_that_are_published_are_nginxs_and_the_firewall_names_them(
    host: Host, containers: dict[str, dict[str, Any]]
) -> None:
    published = {
        name: {int(port["HostPort"]) for ports in bindings.values() for port in ports}
        for name, item in containers.items()
        if (bindings := item["HostConfig"]["PortBindings"])
    }
    assert set(published) == {NGINX}
    rules = host.file("/etc/baseline-firewall.nft").content_string
    named = {
        int(port) for ports in re.findall(r"tcp dport \{ (.+) \} accept", rules) for port in ports.split(", ")
    }
    assert published[NGINX] <= named


def test_a_container_reaches_nothing_of_the_host(host: Host, knock: Callable[[str, int], int]) -> None:
    assert knock("127.0.0.1", 8501) == 0, "it can knock"
    gateway = host.check_output(
        "docker network inspect --format '{{(index .IPAM.Config 0).Gateway}}' steadfast_edge"
    )
    own = json.loads(host.check_output("ip -json -4 route get 192.0.2.1"))[0]["prefsrc"]
    for address in (gateway, own):
        for port in (22, 80, 8501):
            assert knock(address, port) == TIMED_OUT, f"{address}:{port}"


def test_a_container_reaches_no_metadata(host: Host, knock: Callable[[str, int], int]) -> None:
    def dropped() -> int:
        answer = json.loads(host.check_output("nft --json list chain inet host_baseline containers"))
        rules = [item["rule"] for item in answer["nftables"] if "rule" in item]
        (rule,) = [rule for rule in rules if METADATA in json.dumps(rule)]
        return sum(part["counter"]["packets"] for part in rule["expr"] if "counter" in part)

    before = dropped()
    assert knock(METADATA, 80) == TIMED_OUT
    assert dropped() > before, "the firewall it was, and not that nobody is there"


def test_redis_is_reached_by_those_that_need_it_alone(
    host: Host, containers: dict[str, dict[str, Any]], knock: Callable[[str, int], int]
) -> None:
    assert knock(address_in(containers[REDIS], "steadfast_backend"), 6379) == TIMED_OUT
    # And it finds no way out.
    routes = f"nsenter --target {containers[REDIS]['State']['Pid']} --net ip -json route"
    assert [route for route in json.loads(host.check_output(routes)) if route["dst"] == "default"] == []
