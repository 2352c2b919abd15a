"""The images of a host: as app/Dockerfile, frontend/Dockerfile and roles/app_release promise them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

USERS = {
    "steadfast-app": "10001:10001",
    "steadfast-nginx": "10002:10002",
    "steadfast-redis": "10003:10003",
    "steadfast-postgres": "10001:10001",
}
STOP_SIGNALS = {"steadfast-nginx": "SIGQUIT"}
WRITABLE = ["/data", "/run/lock", "/tmp", "/var/tmp"]  # noqa: S108 - Debian's own, and the volume of Redis

# Run inside the image: the lock that lies beside the code, and what is installed.
READ_LOCK_AND_VENV = """
import json, pathlib, re
from importlib.metadata import distributions
lock = re.findall(r"^([^ #=]+)==([^ ]+)", pathlib.Path("/srv/app/requirements.txt").read_text(), re.M)
found = [(d.metadata["Name"], d.version) for d in distributions() if "/opt/venv/" in str(d.locate_file(""))]
print(json.dumps([sorted((re.sub("[-_.]+", "-", n).lower(), v) for n, v in s) for s in (lock, found)]))
"""


def newest(host: Host, repository: str) -> str:
    """The name and tag of the image that was made last."""
    found = host.check_output(f"docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' {repository}")
    assert found, f"the host has no image {repository}"
    return str(found.splitlines()[0])


@pytest.fixture(params=sorted(USERS))
def image(host: Host, request: pytest.FixtureRequest) -> str:
    return newest(host, request.param)


@pytest.fixture
def app_image(host: Host) -> str:
    return newest(host, "steadfast-app")


def run(host: Host, image: str, command: str, *, options: str = "--read-only --cap-drop ALL") -> str:
    """What a command prints inside an image."""
    return str(host.check_output(f"docker run --rm --network none {options} {image} {command}"))


def test_an_image_runs_as_a_numeric_user_and_says_its_release(
    read_json: Callable[[str], Any], image: str
) -> None:
    config = read_json("docker image inspect --format '{{json .Config}}' " + image)
    repository, tag = image.split(":")
    assert config["User"] == USERS[repository]
    assert config.get("StopSignal") == STOP_SIGNALS.get(repository)
    assert not config.get("Entrypoint")
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == repository
    # An image keeps the label that it was built with when it gets a longer name.
    assert tag.startswith(labels["org.opencontainers.image.revision"])
    assert tag.startswith(labels["org.opencontainers.image.version"])


def test_an_image_lists_its_packages(host: Host, image: str) -> None:
    packages = run(host, image, "cat /usr/share/steadfast/packages.txt")
    assert packages == run(host, image, "dpkg-query --show")


def test_an_image_keeps_nothing_of_its_making(host: Host, image: str) -> None:
    lists = "find /var/lib/apt/lists /var/cache/apt/archives -name '*.deb' -o -name '*Packages*'"
    assert run(host, image, lists, options="--user 0") == ""
    assert run(host, image, "sh -c 'ls /run/secrets 2>/dev/null || true'") == ""


def test_an_image_has_nothing_of_its_own_that_its_user_may_change(host: Host, image: str) -> None:
    # What it may not even look into is an error to find.
    search = "sh -c 'find / -xdev -writable -not -type l 2>/dev/null || true'"
    writable = run(host, image, search, options="").splitlines()
    assert [path for path in writable if path not in WRITABLE] == []
    assert "/tmp" in writable  # noqa: S108 - it did look


def test_redis_may_write_to_a_new_volume(host: Host) -> None:
    image = newest(host, "steadfast-redis")
    assert run(host, image, "stat --format '%u %g %a' /data") == "10003 10003 750"


def test_the_code_its_bytecode_and_the_page_are_there(host: Host, app_image: str) -> None:
    cached = run(host, app_image, "python -c 'import app, os; print(os.stat(app.__cached__).st_uid)'")
    assert cached == "0"
    page = run(host, app_image, "ls /srv/frontend").split()
    assert "index.html" in page
    assert "Dockerfile" not in page


def test_what_is_installed_is_what_the_lock_says_and_nothing_else(host: Host, app_image: str) -> None:
    locked, installed = json.loads(run(host, app_image, f"python -c '{READ_LOCK_AND_VENV}'"))
    assert len(locked) > 20
    assert installed == locked


@pytest.mark.parametrize("package", ["pip", "setuptools", "boto3"])
def test_the_image_has_nothing_of_builds_and_controllers(host: Host, app_image: str, package: str) -> None:
    search = f"python -c 'import importlib.util; print(importlib.util.find_spec(\"{package}\"))'"
    assert run(host, app_image, search) == "None"


def test_the_image_trusts_the_authorities_of_debian_and_no_other(host: Host, app_image: str) -> None:
    trusted = run(host, app_image, "grep --count 'BEGIN CERTIFICATE' /etc/ssl/certs/ca-certificates.crt")
    assert trusted == run(host, app_image, "sh -c 'ls /usr/share/ca-certificates/mozilla | wc -l'")
    assert run(host, app_image, "find /usr/local/share/ca-certificates -type f") == ""
