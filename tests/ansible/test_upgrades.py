"""nginx and Redis: which image a deployment keeps, which upgrade waits, and how a container is replaced.

docker is a stand-in here that notes each call; the real one is in tests/release and molecule/default.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.rendering import ROOT, Deployment, read_yaml
from tests.aws.operator import PROGRAMS, run

ROLE = ROOT / "roles" / "app_release"


class Find:
    """The step `find` of app_release, on a host that says this of its images."""

    def __init__(self, deploy: Callable[..., Deployment], *lines: str, upgrade: str = "") -> None:
        self.run = deploy("production")
        self.run.variables |= {
            **read_yaml(ROLE / "defaults" / "main.yml"),
            **read_yaml(ROLE / "vars" / "main.yml"),
            "role_path": str(ROLE),
            "ansible_search_path": [str(ROLE)],
            "app_release_name": "1a2b3c4d5e6f",
            "app_release_upgrade": upgrade,
        }
        self.tags: dict[str, str] = self.run.value("{{ __app_release_tags }}")
        self.run.variables["__app_release_present"] = {
            "stdout_lines": [line.format(**self.tags) for line in lines]
        }
        for task in read_yaml(ROLE / "tasks" / "find.yml"):
            facts = task.get("ansible.builtin.set_fact")
            if facts and self.run.value("{{ " + str(task.get("when", "true")) + " }}"):
                self.run.variables |= self.run.value(facts)

    def __getitem__(self, name: str) -> Any:
        return self.run.value("{{ " + name + " }}")


OLD = ["has steadfast-nginx:000000000000", "has steadfast-redis:{redis}-20261101T000000Z"]
RUNS = ["runs steadfast-nginx:000000000000", "runs steadfast-redis:{redis}-20261101T000000Z"]


def test_a_host_without_containers_gets_what_the_checkout_makes(deploy: Any) -> None:
    find = Find(deploy)
    assert find["app_release_nginx_image"] == f"steadfast-nginx:{find.tags['nginx']}"
    assert find["app_release_redis_image"] == f"steadfast-redis:{find.tags['redis']}"
    assert len(find["__app_release_missing"]) == 4
    assert find["__app_release_waiting"] == []


def test_a_deployment_keeps_what_runs_and_says_what_waits(deploy: Any) -> None:
    newer = "has steadfast-nginx:{nginx}-20261128T000000Z"
    rest = ["has steadfast-app:1a2b3c4d5e6f", "has steadfast-postgres:{postgres}"]
    find = Find(deploy, *OLD, newer, *rest, *RUNS)
    assert find["app_release_nginx_image"] == "steadfast-nginx:000000000000"
    assert find["app_release_redis_image"] == f"steadfast-redis:{find.tags['redis']}-20261101T000000Z"
    assert find["__app_release_missing"] == []
    # Redis is made from what this checkout says, whenever that was.
    assert find["__app_release_waiting"] == ["nginx"]
    (said,) = (task for task in read_yaml(ROLE / "tasks" / "find.yml") if "ansible.builtin.set_stats" in task)
    find.run.variables["item"] = "nginx"
    (name,) = find.run.value(said["ansible.builtin.set_stats"]["data"])
    # Ansible takes nothing else as a name.
    assert name.isidentifier()
    assert "nginx" in name


def test_where_the_container_is_gone_the_newest_image_of_the_same_is_taken(deploy: Any) -> None:
    images = ["has steadfast-nginx:{nginx}", "has steadfast-nginx:{nginx}-20261128T000000Z"]
    find = Find(deploy, *images, "has steadfast-nginx:000000000000-20261129T000000Z")
    assert find["app_release_nginx_image"] == f"steadfast-nginx:{find.tags['nginx']}-20261128T000000Z"
    # And one whose image was taken from it cannot be started again.
    assert Find(deploy, *images, RUNS[0])["app_release_nginx_image"] == find["app_release_nginx_image"]


@pytest.mark.parametrize("service", ["nginx", "redis"])
def test_an_upgrade_makes_one_image_under_a_name_of_its_own(deploy: Any, service: str) -> None:
    find = Find(deploy, *OLD, *RUNS, f"has steadfast-{service}:{{{service}}}", upgrade=service)
    (missing,) = find["__app_release_missing"]
    assert missing.startswith(f"steadfast-{service}:{find.tags[service]}-20")
    assert missing == find["app_release_upgrade_image"]
    # A registry knows no moments.
    find.run.variables |= {"app_release_registry": "registry.internal", "item": missing}
    assert find["__app_release_in_registry"] == f"registry.internal/steadfast-{service}:{find.tags[service]}"


OLDER, NEWER = "steadfast-nginx:0123456789ab", "steadfast-nginx:0123456789ab-20261128T000000Z"
# $STATE holds `packages of <image>`, and `fails`: what comes to nothing with the newer image.
DOCKER = r"""#!/bin/sh
echo "$*" >>"$STATE/calls"
runs=$(cat "$STATE/runs")
case $* in
  'compose ps '*) test -z "$runs" || echo "runs $runs" ;;
  'image ls '*) cat "$STATE/images" ;;
  *' cat /usr/share/steadfast/packages.txt') printf 'curl\t8.14.1\nnginx\t%s\n' "$(cat "$STATE/$5")" ;;
  'run '*' nginx -t '*) test "$(cat "$STATE/fails")" != trial || { echo 'the cause' >&2; exit 1; } ;;
  *' up '*)
    sed -n 's/^ *image: //p' "$STATE/docker-compose.yml" >"$STATE/runs"
    grep -q "^$(cat "$STATE/fails")$" "$STATE/runs" && { echo 'the cause' >&2; exit 1; }
    exit 0 ;;
  *' logs '*) echo 'its last words' ;;
  *' curl '*) test "$(cat "$STATE/fails")" != ready ;;
esac
"""
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - {name: Replace it, ansible.builtin.import_role: {name: container_upgrade}}
"""
COMPOSE = """services:
  nginx:
    image: {}
    user: "10002:10002"
"""


class Host:
    """A host whose docker is the stand-in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "docker").write_text(DOCKER)
        (path / "docker").chmod(0o755)
        (path / "play.yml").write_text(PLAY)
        (path / "docker-compose.yml").write_text(COMPOSE.format(OLDER))
        (path / "runs").write_text(f"{OLDER}\n")
        (path / "images").write_text(f"has {OLDER}\nhas {NEWER}\nhas steadfast-nginx:cba987654321\n")
        (path / "fails").write_text("")
        (path / OLDER).write_text("1.26.3-3")
        (path / NEWER).write_text("1.26.3-4")

    def upgrade(self, **settings: Any) -> tuple[int, str]:
        """Exit code, and what was said."""
        given = {
            "container_upgrade_service": "nginx",
            "container_upgrade_stack_directory": str(self.path),
            "app_release_upgrade_image": NEWER,
            **settings,
        }
        done = run(
            "ansible-playbook", "-i", "localhost,", "-e", json.dumps(given), self.path / "play.yml",
            path=f"{self.path}:{PROGRAMS}:{os.environ['PATH']}", home=self.path, STATE=str(self.path),
        )  # fmt: skip
        return done.status, done.words

    @property
    def calls(self) -> list[str]:
        return (self.path / "calls").read_text().splitlines()

    @property
    def removed(self) -> list[str]:
        return [call.split()[-1] for call in self.calls if call.startswith("image rm ")]

    @property
    def started(self) -> int:
        return sum(" up " in call for call in self.calls)

    @property
    def image(self) -> str:
        """What the Compose file names, and what runs: the same."""
        runs = (self.path / "runs").read_text().strip()
        assert (self.path / "docker-compose.yml").read_text() == COMPOSE.format(runs)
        return runs


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_newer_package_replaces_the_container_and_the_image_before_stays(host: Host) -> None:
    status, said = host.upgrade()
    assert status == 0, said
    assert host.image == NEWER
    assert host.started == 1
    assert host.removed == ["steadfast-nginx:cba987654321"]
    assert "nginx 1.26.3-3 -> 1.26.3-4" in said
    assert "Packages that are other ones: nginx 1.26.3-4" in said
    assert f"Back again: -e container_upgrade_to={OLDER}" in said


def test_nothing_newer_replaces_nothing(host: Host) -> None:
    (host.path / NEWER).write_text("1.26.3-3")
    status, said = host.upgrade()
    assert status == 0, said
    assert (host.image, host.started, host.removed) == (OLDER, 0, [NEWER])
    assert "nginx 1.26.3-3 runs, and there is nothing newer. Nothing was changed." in said


def test_the_same_packages_made_from_something_else_are_an_upgrade(host: Host) -> None:
    other = "steadfast-nginx:cba987654321"
    (host.path / other).write_text("1.26.3-3")
    status, said = host.upgrade(app_release_upgrade_image=other)
    assert (status, host.image) == (0, other), said


def test_one_that_is_named_is_taken_whatever_is_in_it(host: Host) -> None:
    (host.path / NEWER).write_text("1.26.3-3")
    status, said = host.upgrade(container_upgrade_to=NEWER)
    assert (status, host.image) == (0, NEWER), said


def test_an_image_that_refuses_the_configuration_costs_nothing(host: Host) -> None:
    (host.path / "fails").write_text("trial")
    status, said = host.upgrade()
    assert status != 0
    assert host.image == OLDER
    why = said.split(f"nginx was not upgraded: {NEWER} failed in the step")[1]
    assert "Try the image where nobody uses it" in why
    assert "the cause" in why


def test_one_that_does_not_get_well_is_put_back_and_the_cause_is_said(host: Host) -> None:
    (host.path / "fails").write_text(NEWER)
    status, said = host.upgrade()
    assert status != 0
    assert (host.image, host.started, host.removed) == (OLDER, 2, [NEWER])
    for words in ("the cause", "its last words", f"{OLDER} runs"):
        assert words in said


def test_one_that_was_there_before_is_not_removed_for_it(host: Host) -> None:
    (host.path / "fails").write_text(NEWER)
    assert host.upgrade(container_upgrade_to=NEWER)[0] != 0
    assert (host.image, host.removed) == (OLDER, [])


@pytest.mark.parametrize(
    ("settings", "fails", "runs", "words"),
    [
        ({}, "ready", OLDER, "the stack is not ready as it is"),
        ({}, "", "", "nginx does not run there"),
        ({"container_upgrade_to": "steadfast-nginx:none"}, "", OLDER, f"There is: {OLDER}, {NEWER}"),
        ({"container_upgrade_to": OLDER}, "", OLDER, f"{OLDER} is what runs."),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    host: Host, settings: dict[str, str], fails: str, runs: str, words: str
) -> None:
    (host.path / "fails").write_text(fails)
    (host.path / "runs").write_text(runs)
    status, said = host.upgrade(**settings)
    assert status != 0
    assert words in said
    assert "Nothing was changed." in said
    assert host.started == 0
