"""TLS as it is rendered, and the pairs of files that are taken for it or refused."""

from pathlib import Path
from typing import Any

import pytest

from tests.ansible.certificates import Pair, make_pair
from tests.ansible.conftest import Deploy
from tests.ansible.nginx_syntax import Directive, parse, walk
from tests.ansible.rendering import ROOT, Deployment, read_yaml

NAME = "tasks.steadfast.internal"
OFF: dict[str, Any] = {"app_stack_domain_name": "", "app_stack_plain_http_allowed": True}


def directives(deployment: Deployment) -> list[Directive]:
    """All of nginx.conf."""
    return list(walk(parse(deployment.files["./config/nginx/nginx.conf"])))


def words(deployment: Deployment, name: str) -> list[list[str]]:
    """The arguments of every directive of that name."""
    return [directive.arguments for directive in directives(deployment) if directive.name == name]


def server(deployment: Deployment, port: str) -> list[Directive]:
    """The block of the server that listens on a port."""
    (found,) = (
        d.block
        for d in directives(deployment)
        if d.name == "server" and ["listen", port] in [e.words[:2] for e in d.block]
    )
    return found


def target_of(deployment: Deployment, source: str) -> str:
    """Where nginx has one of the stack's directories."""
    volumes = (volume.split(":") for volume in deployment.services["nginx"]["volumes"])
    (target,) = (target for found, target, *_ in volumes if found == source)
    return target


def test_people_and_operators_are_answered_with_tls_and_the_host_itself_without(deploy: Deploy) -> None:
    listeners = {arguments[0]: set(arguments[1:]) for arguments in words(deploy(), "listen")}
    assert {port for port, options in listeners.items() if "ssl" in options} == {"8443", "8000", "5555"}
    # Health checks, the deployment and the host's timers ask 8501 as 127.0.0.1.
    assert set(listeners) == {"8443", "8000", "5555", "8080", "8501"}


def test_without_a_certificate_nothing_speaks_of_tls(deploy: Deploy) -> None:
    text = deploy(**OFF).files["./config/nginx/nginx.conf"]
    assert "ssl" not in text
    assert "Strict-Transport-Security" not in text
    assert "308" not in text


def test_only_good_protocols_and_ciphers_are_spoken(deploy: Deploy) -> None:
    assert words(deploy(), "ssl_protocols") == [["TLSv1.2", "TLSv1.3"]]
    ((ciphers,),) = words(deploy(), "ssl_ciphers")
    for cipher in ciphers.split(":"):
        assert cipher.startswith("ECDHE-"), f"{cipher} has no forward secrecy"
        assert "GCM" in cipher or "POLY1305" in cipher, f"{cipher} does not authenticate what it encrypts"
    assert words(deploy(), "ssl_session_tickets") == [["off"]]


def test_browsers_are_told_to_come_back_with_tls(deploy: Deploy) -> None:
    headers = {arguments[0]: arguments[1:] for arguments in words(deploy(), "add_header")}
    assert headers["Strict-Transport-Security"] == ["$strict_transport_security", "always"]
    (values,) = (
        d.block for d in directives(deploy()) if d.words == ["map", "$https", "$strict_transport_security"]
    )
    assert {d.name: d.arguments for d in values} == {"on": ["max-age=31536000"], "default": [""]}


def test_port_80_leads_to_tls_and_keeps_path_and_method(deploy: Deploy) -> None:
    locations = {
        " ".join(d.arguments): [e.words for e in d.block]
        for d in server(deploy(), "8080")
        if d.name == "location"
    }
    assert locations["/"] == [["return", "308", "https://$host$request_uri"]]
    webroot = target_of(deploy(), "./acme")
    assert ["root", webroot] in locations["/.well-known/acme-challenge/"]
    assert set(locations) == {"/", "/.well-known/acme-challenge/"}


def test_each_handshake_reads_the_pair_that_the_link_leads_to(deploy: Deploy) -> None:
    certificate, key = words(deploy(), "ssl_certificate"), words(deploy(), "ssl_certificate_key")
    assert (certificate, key) == ([["$tls_pair.crt"]], [["$tls_pair.key"]])
    # The link itself is the root that nothing is served from, as nothing can lie below a file.
    (link,) = (d.arguments for d in directives(deploy()) if d.name == "root" and d.within == ("http",))
    assert link == [f"{target_of(deploy(), './secrets/nginx')}/tls.crt"]
    (pair,) = (d for d in directives(deploy()) if d.name == "map" and d.arguments[1] == "$tls_pair")
    assert pair.arguments[0] == "$realpath_root"
    assert not any(d.name == "volatile" for d in pair.block), "one look a handshake, or it could mix pairs"


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path / "pair", NAME)


def test_a_pair_of_files_is_named_after_the_certificate_and_is_nginxs_alone(
    deploy: Deploy, pair: Pair
) -> None:
    deployment = deploy(**pair.settings)
    name = deployment.value("{{ __app_stack_certificate_name }}")
    for suffix, file in ((".crt", pair.certificate), (".key", pair.key)):
        written = deployment.secret_files[f"./secrets/nginx/{name}{suffix}"]
        assert written["content"] == file.read_text()
        assert written["owner"] == 10002
    assert pair.key.read_text() not in deployment.compose_text + str(deployment.files)


def test_a_pair_of_files_goes_before_certbot(deploy: Deploy, pair: Pair) -> None:
    with_name, without = deploy(**pair.settings), deploy(**pair.settings, app_stack_domain_name="")
    assert with_name.files == without.files
    assert set(deploy().secret_files) < set(with_name.secret_files)


def test_another_certificate_has_another_name(deploy: Deploy, tmp_path: Path) -> None:
    found = {
        deploy(**make_pair(tmp_path / str(number), NAME).settings).value("{{ __app_stack_certificate_name }}")
        for number in range(3)
    }
    assert len(found) == 3


def refusals(deployment: Deployment) -> list[str]:
    """What the role would stop with, as tasks/certificate.yml has it."""
    read, refuse = read_yaml(ROOT / "roles" / "app_stack" / "tasks" / "certificate.yml")
    try:
        deployment.variables |= deployment.value(read["block"][0]["ansible.builtin.set_fact"])
    except Exception:
        return [str(deployment.value(read["rescue"][0]["ansible.builtin.fail"]["msg"])).strip()]
    deployment.variables |= refuse["vars"]
    return [
        str(deployment.value(item["otherwise"])).strip()
        for item in refuse["loop"]
        if not deployment.value(item["that"])
    ]


@pytest.mark.parametrize(
    "names", [(NAME,), ("www.steadfast.internal", NAME), ("*.steadfast.internal",), (NAME.upper(),)], ids=str
)
def test_a_good_pair_is_taken(deploy: Deploy, tmp_path: Path, names: tuple[str, ...]) -> None:
    assert refusals(deploy(**make_pair(tmp_path, *names).settings)) == []


def test_a_pair_without_a_name_to_compare_is_taken(deploy: Deploy, tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "anything.steadfast.internal")
    assert refusals(deploy(**pair.settings, app_stack_domain_name="")) == []


def test_the_key_of_another_certificate_is_refused(deploy: Deploy, pair: Pair, tmp_path: Path) -> None:
    other = make_pair(tmp_path / "other", NAME)
    (message,) = refusals(deploy(**Pair(pair.certificate, other.key).settings))
    assert message.startswith("app_stack_certificate_key_path is not the key of the first certificate")
    assert NAME in message


def test_a_chain_that_does_not_begin_with_the_servers_own_is_refused(
    deploy: Deploy, pair: Pair, tmp_path: Path
) -> None:
    issuer = make_pair(tmp_path / "issuer", "issuer.steadfast.internal").certificate.read_text()
    own = pair.certificate.read_text()
    pair.certificate.write_text(own + issuer)
    assert refusals(deploy(**pair.settings)) == []
    pair.certificate.write_text(issuer + own)
    assert "must come first" in " ".join(refusals(deploy(**pair.settings)))


def test_an_expired_certificate_is_refused(deploy: Deploy, tmp_path: Path) -> None:
    (message,) = refusals(deploy(**make_pair(tmp_path, NAME, days_left=-1).settings))
    assert message.startswith("app_stack_certificate_path expired at 20")


@pytest.mark.parametrize(
    "name", ["steadfast.internal", "a.tasks.steadfast.internal", "tasks.steadfast.example", "*.internal"]
)
def test_a_certificate_for_another_name_is_refused(deploy: Deploy, tmp_path: Path, name: str) -> None:
    (message,) = refusals(deploy(**make_pair(tmp_path, name).settings))
    assert message == (
        f"app_stack_certificate_path is for {name}, and not for app_stack_domain_name, which is {NAME}."
    )


def test_what_is_no_pair_is_refused_and_not_shown(deploy: Deploy, pair: Pair, tmp_path: Path) -> None:
    locked = make_pair(tmp_path / "locked", NAME, passphrase="made up")
    for wrong in (Pair(pair.key, pair.certificate), Pair(pair.certificate, tmp_path / "none"), locked):
        (message,) = refusals(deploy(**wrong.settings))
        assert message.startswith("app_stack_certificate_path or app_stack_certificate_key_path is no file")
        assert "PRIVATE KEY" not in message
