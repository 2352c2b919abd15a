"""Deployments that the tests ask about: with TLS and without, both log drivers, every moment of a host."""

from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.ansible.rendering import Deployment

INVENTORIES: dict[str, dict[str, Any]] = {
    "sandbox": {"environment": "sandbox"},
    "production": {"environment": "production"},
    "production with local logs behind another's TLS": {
        "environment": "production",
        "app_stack_log_driver": "local",
        "app_stack_domain_name": "",
        "app_stack_plain_http_allowed": True,
    },
}
MOMENTS = (
    "first release",
    "first release is live",
    "nothing to release",
    "second release",
    "second release is live",
)


class Deploy(Protocol):
    """Renders one deployment; every keyword is one of `Deployment`'s."""

    def __call__(self, environment: str = "production", **settings: Any) -> Deployment: ...


@pytest.fixture(scope="session")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> Deploy:
    """A deployment with a CA file that exists."""
    ca_path: Path = tmp_path_factory.mktemp("controller") / "ca.pem"
    ca_path.write_text("-----BEGIN CERTIFICATE-----\nmade up\n-----END CERTIFICATE-----\n")

    def run(environment: str = "production", **settings: Any) -> Deployment:
        return Deployment(environment, ca_path=ca_path, **settings)

    return run


@pytest.fixture(scope="session")
def rendered(deploy: Deploy) -> Any:
    """The deployment of an inventory at a moment, rendered once a session."""

    @cache
    def at(inventory: str, moment: str) -> Deployment:
        settings = INVENTORIES[inventory]
        run = deploy(**settings)
        if moment == "first release":
            return run
        state = run.recorded_state()
        if moment == "first release is live":
            return run
        if moment == "nothing to release":
            return deploy(**settings, state=state)
        run = deploy(**settings, state=state, release="f6e5d4c3b2a1")
        if moment == "second release is live":
            run.recorded_state()
        return run

    return at


@pytest.fixture(
    params=[(inventory, moment) for inventory in INVENTORIES for moment in MOMENTS], ids=" - ".join
)
def deployment(request: pytest.FixtureRequest, rendered: Any) -> Deployment:
    """Each inventory at each moment."""
    found: Deployment = rendered(*request.param)
    return found


@pytest.fixture(params=list(INVENTORIES))
def first(request: pytest.FixtureRequest, rendered: Any) -> Deployment:
    """The first deployment of each inventory."""
    found: Deployment = rendered(request.param, "first release")
    return found
