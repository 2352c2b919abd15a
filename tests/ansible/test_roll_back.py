"""Which release is gone back to, with what, what is refused, and what a host keeps."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.rendering import ROOT, Deployment, read_yaml

LIVE, BEFORE, FIRST = "cccccccccccc", "bbbbbbbbbbbb", "aaaaaaaaaaaa"
SCHEMAS = {FIRST: "0003", BEFORE: "0004", LIVE: "0005"}


def manifest(release: str, day: int, **more: Any) -> dict[str, Any]:
    """What the host has written of a release that was good."""
    return {
        "release": release,
        "colour": "blue",
        "image": f"steadfast-app:{release}",
        "image_id": f"sha256:{release}",
        "inputs": f"inputs-of-{release}",
        "settings": {"release": release, "lease_seconds": "7", "database_host": "old.internal"},
        "schema_head": SCHEMAS.get(release, "0005"),
        "schema_floor": "0001",
        "deployed_at": f"2026-11-{day:02d}T12:00:00Z",
        "outcome": "good",
        **more,
    }


def steps(name: str) -> list[dict[str, Any]]:
    """The tasks of a step file."""
    return list(read_yaml(ROOT / f"roles/app_stack/tasks/{name}.yml"))


class Host:
    """A host with these releases, the newest of which is live, about to go back."""

    def __init__(
        self,
        ca_path: Path,
        *manifests: dict[str, Any],
        gone: str = "",
        link: str = "blue",
        also: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        slots = {"blue": manifests[-1]} | ({"green": manifests[-2]} if len(manifests) > 1 else {})
        state = {"live": "blue", "slots": slots}
        self.run = Deployment("production", ca_path=ca_path, state=state, **settings)
        self.run.variables["inventory_hostname"] = "app-1"
        self.run.variables["__app_stack_host"] = {
            "stdout_lines": [
                f"state {json.dumps(state)}",
                f"link ./sockets/live.sock {link}.sock",
                "container api_blue running",
                f"runs api_blue x {manifests[-1]['inputs']}",
                *also,
                "container nginx running",
                "runs nginx steadfast-nginx:0123 ",
                "runs redis steadfast-redis:4567 inputs-of-redis",
                "runs database-client steadfast-postgres:89ab",
                *(f"release {json.dumps(one)}" for one in manifests),
                *(f"image {one['image']} {one['image_id']}" for one in manifests if one["release"] != gone),
            ]
        }
        # The role that names them does not run.
        for name in [name for name in self.run.variables if name.startswith("app_release_")]:
            del self.run.variables[name]
        self.step("state")
        self.refusals = [task for task in self.step("roll_back") if task.get("loop")]

    def step(self, name: str) -> list[dict[str, Any]]:
        """Runs what a step file remembers, as far as it goes."""
        tasks = steps(name)
        for task in tasks:
            self.run.variables |= task.get("vars", {})
            if facts := task.get("ansible.builtin.set_fact"):
                self.run.variables |= self.run.value(facts)
            if name == "roll_back" and task.get("loop") and self.refused(task):
                break
        return tasks

    def refused(self, task: dict[str, Any]) -> list[str]:
        """What a task with conditions refuses, in its words."""
        return [item["otherwise"] for item in self.run.value(task["loop"]) if not item["that"]]

    @property
    def refusal(self) -> str:
        return " ".join(words for task in self.refusals for words in self.refused(task))

    @property
    def chosen(self) -> str:
        return str(self.run.value("{{ __app_stack_chosen.release | default('') }}"))


@pytest.fixture
def host(tmp_path: Path) -> Any:
    """Makes a host with releases."""
    ca_path = tmp_path / "ca.pem"
    ca_path.write_text("made up\n")
    return lambda *manifests, **more: Host(ca_path, *manifests, **more)


def test_the_newest_other_release_that_was_good_is_chosen(host: Any) -> None:
    assert host(manifest(FIRST, 1), manifest(BEFORE, 2), manifest(LIVE, 3)).chosen == BEFORE
    left = manifest(BEFORE, 2, outcome="left")
    assert host(manifest(FIRST, 1), left, manifest(LIVE, 3)).chosen == FIRST
    failed = manifest(BEFORE, 2, outcome="failed")
    assert host(manifest(FIRST, 1), failed, manifest(LIVE, 3)).chosen == FIRST
    assert host(manifest(FIRST, 1), manifest(BEFORE, 2), manifest(LIVE, 3), gone=BEFORE).chosen == FIRST


def test_one_that_is_named_is_chosen_whatever_became_of_it(host: Any) -> None:
    kept = manifest(FIRST, 1, outcome="left"), manifest(BEFORE, 2), manifest(LIVE, 3)
    assert host(*kept, app_stack_roll_back_to=FIRST).chosen == FIRST


@pytest.mark.parametrize(
    "seen",
    [{"link": "green"}, {"also": ["container api_green running", "runs api_green x inputs-of-new"]}],
    ids=str,
)
def test_from_a_deployment_that_was_broken_off_the_recorded_release_is_gone_back_to(
    host: Any, seen: dict[str, Any]
) -> None:
    found = host(manifest(BEFORE, 2), manifest(LIVE, 3), **seen)
    found.step("slot")
    assert (found.chosen, found.refusal, found.run.is_rolling) == (LIVE, "", False)
    # It is still told which one, if somebody wants another.
    named = host(manifest(BEFORE, 2), manifest(LIVE, 3), **seen, app_stack_roll_back_to=BEFORE)
    named.step("slot")
    assert (named.chosen, named.run.is_rolling) == (BEFORE, True)


def test_a_deployment_that_ended_after_its_record_was_not_broken_off(host: Any) -> None:
    kept = [f"runs api_green x inputs-of-{BEFORE}", "container api_green running"]
    assert host(manifest(BEFORE, 2), manifest(LIVE, 3), also=kept).chosen == BEFORE


def test_what_cannot_be_gone_back_to_is_refused_in_words(host: Any) -> None:
    assert "no other release that was good" in host(manifest(LIVE, 3)).refusal
    named = host(manifest(BEFORE, 2), manifest(LIVE, 3), app_stack_roll_back_to="dddddddddddd")
    assert "no release dddddddddddd" in named.refusal
    assert host(manifest(BEFORE, 2), manifest(LIVE, 3)).refusal == ""


def test_a_contraction_of_the_schema_bars_the_way_unless_it_is_opened(host: Any) -> None:
    kept = manifest(FIRST, 1), manifest(BEFORE, 2), manifest(LIVE, 3, schema_floor="0005")
    assert "written for schema 0004, and only releases from schema 0005 on work" in host(*kept).refusal
    assert host(*kept, app_stack_roll_back_past_contraction=True).refusal == ""
    # Also one that a release brought which then failed.
    failed = manifest("dddddddddddd", 2, outcome="failed", schema_floor="0005")
    assert "on work now" in host(manifest(BEFORE, 1), failed, manifest(LIVE, 3)).refusal


def test_it_runs_with_its_own_settings_and_todays_database(host: Any) -> None:
    live = manifest(LIVE, 3)
    today = {"lease_seconds": "12", "database_host": "new.internal", "smtp_username": "new"}
    live["settings"] = {**live["settings"], **today}
    found = host(manifest(BEFORE, 2), live)
    found.step("slot")
    assert found.run.is_rolling
    environment = found.run.value("{{ __app_stack_slot_files[0].content }}")
    assert f"APP_RELEASE='{BEFORE}'" in environment
    assert "APP_LEASE_SECONDS='7'" in environment
    # As whom the mail server knows it, too: the password is today's.
    assert "APP_DATABASE_HOST='new.internal'" in environment
    assert "APP_SMTP_USERNAME='new'" in environment
    services = found.run.services
    assert services["api_green"]["image"] == f"steadfast-app:{BEFORE}"
    assert services["api_blue"]["image"] == f"steadfast-app:{LIVE}"
    assert services["nginx"]["image"] == "steadfast-nginx:0123"
    assert services["database-client"]["image"] == "steadfast-postgres:89ab"
    assert services["redis"]["image"] == "steadfast-redis:4567"
    assert services["redis"]["labels"] == {"steadfast.inputs": "inputs-of-redis"}
    # nginx runs, and no release touches it; Redis does not run.
    assert found.run.value("{{ __app_stack_services_needed }}") == ["redis"]


def test_the_release_that_is_left_is_marked_and_the_other_is_live(host: Any) -> None:
    found = host(manifest(FIRST, 1), manifest(BEFORE, 2), manifest(LIVE, 3))
    found.step("slot")
    found.step("settle")
    (left,) = found.run.value("{{ __app_stack_records_of_the_one_left }}")
    assert left["path"] == f"releases/{LIVE}.json"
    assert json.loads(left["content"])["outcome"] == "left"
    records = {one["path"]: one["content"] for one in found.run.value("{{ __app_stack_records }}")}
    again = json.loads(records[f"releases/{BEFORE}.json"])
    assert (again["outcome"], again["schema_head"], again["colour"]) == ("good", "0004", "green")
    assert json.loads(records["state.json"])["live"] == "green"
    assert found.run.value("{{ __app_stack_releases_kept }}") == [BEFORE, FIRST, LIVE, BEFORE]


def test_a_change_of_settings_keeps_the_page_of_the_release_before(host: Any) -> None:
    found = host(manifest(FIRST, 1), manifest(BEFORE, 2), manifest(LIVE, 3))
    found.run.variables |= {
        "__app_stack_going_back": False,
        "__app_stack_target": manifest(LIVE, 4, inputs="other", colour="green"),
    }
    found.step("settle")
    assert found.run.value("{{ __app_stack_pages_kept }}") == [LIVE, BEFORE]


def test_a_release_that_served_well_is_not_called_bad_for_what_happens_around_it(host: Any) -> None:
    (record,) = [task for task in steps("take_out") if task["name"].endswith("Record that it is bad")]

    def recorded(release: str) -> bool:
        found = host(manifest(FIRST, 1, outcome="left"), manifest(BEFORE, 2), manifest(LIVE, 3))
        found.step("slot")
        found.run.variables |= {"__app_stack_target": manifest(release, 2)}
        return bool(found.run.value("{{ " + record["when"] + " }}"))

    assert [recorded(release) for release in ("new", FIRST, BEFORE, LIVE)] == [True, True, False, False]


def test_a_host_keeps_the_newest_good_releases_and_words_about_the_others(host: Any) -> None:
    failed = [manifest(f"f{day}", day, outcome="failed") for day in (7, 8)]
    kept = [manifest(f"a{day}", day) for day in range(1, 7)]
    found = host(*failed, *kept, app_stack_kept_releases=2)
    found.run.variables |= {"__app_stack_going_back": False, "__app_stack_target": manifest("new", 9)}
    # The newest two, and those of the slots, whatever they are.
    assert found.run.value("{{ __app_stack_releases_kept | sort }}") == ["a5", "a6", "a6", "new"]
    assert found.run.value("{{ __app_stack_manifests_kept | sort }}") == ["a5", "a6", "f7", "f8", "new"]
    assert set(found.run.value("{{ __app_stack_images_kept }}")) == {
        "steadfast-app:a5", "steadfast-app:a6",
    }  # fmt: skip


def test_the_sum_says_seconds_and_what_became_of_the_old_workers_tasks(host: Any) -> None:
    found = host(manifest(BEFORE, 2), manifest(LIVE, 3))
    found.step("slot")
    drained = {"event": "worker.drained", "finished": 3, "given_back": 4, "left_to_relay": 1}
    step = {"delta": "0:01:02.345678"}
    names = ("start", "switch", "worker", "flower", "retirement")
    found.run.variables |= {f"__app_stack_{name}": step for name in names} | {
        "__app_stack_migration": {"skipped": True},
        "__app_stack_drain": {**step, "stdout": json.dumps(drained)},
        "__app_stack_errors": {"stdout": "0"},
        "__app_stack_began_at": "0",
    }
    tasks = read_yaml(ROOT / "roles/app_stack/tasks/sum_up.yml")
    found.run.variables |= tasks[-1]["vars"]
    said = "\n".join(found.run.value(tasks[-1]["ansible.builtin.debug"]["msg"]))
    assert f"Release {BEFORE} is live in slot green; the schema's head is 0004." in said
    assert "Seconds: start 62.3, flower 62.3, switch 62.3" in said
    assert "finished 3, gave 5 back" in said
    assert "failed meanwhile: none" in said


def test_the_list_tells_every_release(host: Any) -> None:
    found = host(manifest(FIRST, 1, outcome="failed"), manifest(BEFORE, 2), manifest(LIVE, 3), gone=BEFORE)
    (task,) = [one for one in read_yaml(ROOT / "roles/app_stack/tasks/list.yml") if "vars" in one]
    found.run.variables |= task["vars"]
    lines = [line.split() for line in found.run.value(task["ansible.builtin.debug"]["msg"])]
    assert lines == [
        ["RELEASE", "WHEN", "(UTC)", "OUTCOME", "LIVE", "SCHEMA", "IMAGE"],
        [LIVE, "2026-11-03", "12:00", "good", "live", "0005", "there"],
        [BEFORE, "2026-11-02", "12:00", "good", "0004", "gone"],
        [FIRST, "2026-11-01", "12:00", "failed", "0003", "there"],
    ]
