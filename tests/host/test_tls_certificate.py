"""certbot keeps the front door's certificate where that is its business, and nowhere else."""

from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

HOOK = "/etc/letsencrypt/renewal-hooks/deploy/steadfast"
SERVED = "/opt/steadfast/secrets/nginx/tls.crt"


@pytest.fixture
def name(read_setting: Callable[[str, Any], Any]) -> str:
    """The name that certbot has a certificate for; empty where it has none."""
    return "" if read_setting("app_stack_certificate_path", "") else read_setting("app_stack_domain_name", "")


def test_certbot_reaches_nginx_exactly_where_it_should(host: Host, name: str) -> None:
    hook = host.file(HOOK)
    assert hook.exists == bool(name)
    assert not name or (hook.user, hook.group, hook.mode) == ("root", "root", 0o755)


def test_it_looks_by_itself_whether_it_is_time(host: Host, name: str) -> None:
    timer = host.service("certbot.timer")
    assert not name or (timer.is_enabled and timer.is_running)


def test_nginx_has_the_newest_of_its_certificates(host: Host, name: str) -> None:
    newest = f"sha256sum </etc/letsencrypt/live/{name}/fullchain.pem; sha256sum <{SERVED}"
    found = host.check_output(newest).split("\n") if name else []
    assert len(set(found)) == (1 if name else 0)


def test_no_placeholder_is_served(host: Host) -> None:
    issuer = host.check_output(f"test ! -e {SERVED} || openssl x509 -noout -issuer -in {SERVED}")
    assert "Placeholder" not in issuer
