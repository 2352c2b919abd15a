"""Renders what `app_stack` puts on a host, with Ansible's own templar and the role's own expressions.

No task runs and no host is asked: variables are layered as Ansible layers them (defaults, inventory, role
vars, facts, extra variables), and the facts are those that the role's own set_fact tasks make of an answer of
the host given here. An undefined variable is an error.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())

# What SSM Parameter Store holds in these tests. Made up; each one is found by searching for it.
PARAMETERS = {
    "database/host": "db.c1example.eu-central-1.rds.amazonaws.com",
    "database/port": "5432",
    "database/name": "tasks",
    "database/app_username": "tasks_app",
    "database/app_password": "made-up-Database$Word#1",
    "database/master_username": "postgres",
    "database/master_password": "made-up-Master&Word*0",
    "database/migrator_username": "tasks_owner",
    "database/migrator_password": "made-up-Migrator'Word\"2",
    "redis/password": "made-up-Redis Word 3",
    "flower/password": "made-up-Flower{{Word}}4",
    "operator/token": "made-up-0perators.Word=6",
    "smtp/password": "made-up-Mail\\Word%5",
}
PASSWORDS = {name: value for name, value in PARAMETERS.items() if name.endswith(("password", "token"))}

# What an operator fills in; the sandbox brings its own.
FILLED_IN = {
    "production": {
        "app_stack_mail_from": "tasks@steadfast.internal",
        "app_stack_smoke_test_recipient": "operations@steadfast.internal",
        "app_stack_smtp_username": "mail user",
        "app_stack_domain_name": "tasks.steadfast.internal",
    },
    "sandbox": {},
}

init_plugin_loader()
_loader = DataLoader()


def read_yaml(path: Path) -> Any:
    """Variables or tasks, their strings trusted as templates, as Ansible trusts those of a role."""
    return _loader.load_from_file(str(path), trusted_as_template=True) or {}


def variables_of_inventory(environment: str) -> dict[str, Any]:
    """All of inventory/<environment>/group_vars/all."""
    folder = ROOT / "inventory" / environment
    files = sorted((folder / "group_vars" / "all").glob("*.yml"))
    return {"inventory_dir": str(folder)} | {k: v for file in files for k, v in read_yaml(file).items()}


def set_facts(role: str, step: str) -> list[dict[str, Any]]:
    """The set_fact tasks at the top level of a role's step file, in their order."""
    tasks = read_yaml(ROOT / "roles" / role / "tasks" / f"{step}.yml")
    return [task["ansible.builtin.set_fact"] for task in tasks if "ansible.builtin.set_fact" in task]


class Deployment:
    """One run of `app_stack` against a host in a given state.

    `state` is what an earlier run recorded in the host's state.json; None is a host without a release.
    """

    def __init__(
        self,
        environment: str,
        *,
        ca_path: Path,
        release: str = "1a2b3c4d5e6f",
        state: dict[str, Any] | None = None,
        parameters: Mapping[str, str | None] | None = None,
        **settings: object,
    ) -> None:
        self.environment = environment
        extra = {
            "app_release_name": release,
            "app_release_image": f"steadfast-app:{release}",
            "app_release_nginx_image": "steadfast-nginx:0123456789ab",
            "app_release_redis_image": "steadfast-redis:ba9876543210",
            "app_release_postgres_image": "steadfast-postgres:fedcba987654",
            "app_stack_database_ca_path": str(ca_path),
            **FILLED_IN[environment],
            **settings,
        }
        role = ROOT / "roles" / "app_stack"
        self.variables: dict[str, Any] = {
            **read_yaml(role / "defaults" / "main.yml"),
            **variables_of_inventory(environment),
            **read_yaml(role / "vars" / "main.yml"),
            "role_path": str(role),
            "ansible_search_path": [str(role)],
            **extra,
        }
        lines = [] if state is None else [f"state {json.dumps(state)}"]
        self.variables["__app_stack_host"] = {"stdout_lines": lines}
        path = self.value("{{ __app_stack_parameter_path }}")
        # None: it is not there.
        held = PARAMETERS | (parameters or {})
        self.variables["__app_stack_parameters"] = {path + k: v for k, v in held.items() if v is not None}
        for step in ("credentials", "state", "slot"):
            for facts in set_facts("app_stack", step):
                self._remember(facts)

    def value(self, expression: Any) -> Any:
        """What a template expression, or a list or mapping of them, comes to."""
        templar = Templar(loader=_loader, variables=self.variables)
        return templar.template(trust_as_template(expression) if isinstance(expression, str) else expression)

    def _remember(self, facts: dict[str, Any]) -> None:
        self.variables |= self.value(facts)

    @cached_property
    def is_rolling(self) -> bool:
        """Whether this run brings a release in."""
        return bool(self.value("{{ __app_stack_rolling }}"))

    @cached_property
    def compose_text(self) -> str:
        """The Compose file that the containers are started from."""
        return str(self.value("{{ lookup('ansible.builtin.template', __app_stack_compose_template) }}"))

    @cached_property
    def compose(self) -> dict[str, Any]:
        """The same as data, with YAML's anchors and merges resolved."""
        return dict(yaml.safe_load(self.compose_text))

    @cached_property
    def services(self) -> dict[str, dict[str, Any]]:
        """The Compose file's services by name."""
        return dict(self.compose["services"])

    @cached_property
    def files(self) -> dict[str, str]:
        """Path below app_stack_directory -> content, of everything that is no secret but the Compose file."""
        files = self.value("{{ __app_stack_files + __app_stack_slot_files }}")
        return {file["path"]: file["content"] for file in files}

    @cached_property
    def secret_files(self) -> dict[str, dict[str, Any]]:
        """Path below app_stack_directory -> its owner and content."""
        return {file["path"]: file for file in self.value("{{ __app_stack_secret_files }}")}

    def recorded_state(self) -> dict[str, Any]:
        """state.json after this run: as it was, or with the new slot live."""
        if self.is_rolling:
            for facts in set_facts("app_stack", "settle"):
                self._remember(facts)
            for rendered in ("compose_text", "compose", "services", "files"):
                self.__dict__.pop(rendered, None)
        return dict(json.loads(json.dumps(self.value("{{ __app_stack_state }}"))))
