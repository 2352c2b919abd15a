"""The front door as it answers on the host: with TLS where the settings say so, and nowhere else."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

DIRECTORY = "/opt/steadfast/secrets/nginx"
NGINX_UID = 10002
# The page (443 with TLS, else 80), the API, Flower. 8501 speaks plainly for good: the host itself asks there.
WITH_TLS = [443, 8000, 5555]

# Run on the host with its own Python; prints one JSON object: port -> how it speaks.
PROBE = """
import json, socket, ssl, sys, warnings
warnings.simplefilter("ignore")
VERSIONS = {"1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
def dial(port, version=None):
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    if not version:
        return connection
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = VERSIONS[version]
    context.set_alpn_protocols(["h2", "http/1.1"] if version == "1.3" else ["http/1.1"])
    return context.wrap_socket(connection, server_hostname="localhost")
def ask(port, version, request="GET / HTTP/1.1"):
    try:
        with dial(port, version) as connection:
            lines = [request, "Host: localhost", "Content-Length: 0", "Connection: close", "", ""]
            connection.sendall("\\r\\n".join(lines).encode())
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
    except OSError:
        return None
    status, *headers = answer.partition(b"\\r\\n\\r\\n")[0].decode().split("\\r\\n")
    found = {name.lower(): value for name, value in (header.split(": ", 1) for header in headers)}
    return {"status": int(status.split()[1]), **found}
def handshake(port, version):
    try:
        with dial(port, version) as connection:
            return {"cipher": connection.cipher()[0], "alpn": connection.selected_alpn_protocol(),
                    "certificate": ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))}
    except OSError:
        return None
print(json.dumps({port: {
    "plain": ask(port, None), "tls": ask(port, "1.2"),
    "posted": ask(port, None, "POST /notify/?a=b HTTP/1.1"),
    "handshakes": {v: found for v in VERSIONS if (found := handshake(port, v))},
} for port in map(int, sys.argv[1:])}))
"""


@pytest.fixture(scope="module")
def ports(host: Host) -> dict[int, dict[str, Any]]:
    """What each published port says to those who speak plainly and to those who speak TLS."""
    found = json.loads(host.check_output("python3 -c %s 80 443 8000 5555 8501", PROBE))
    return {int(port): answers for port, answers in found.items()}


@pytest.fixture
def has_tls(read_setting: Callable[[str, Any], Any]) -> bool:
    """Whether the inventory wants it."""
    return any(read_setting(name, "") for name in ("app_stack_domain_name", "app_stack_certificate_path"))


def test_ports_speak_tls_exactly_where_the_settings_say_so(
    ports: dict[int, dict[str, Any]], has_tls: bool
) -> None:
    speaking = {port for port, answers in ports.items() if answers["tls"]}
    assert speaking == (set(WITH_TLS) if has_tls else set())


def test_old_versions_and_weak_ciphers_are_not_spoken(
    ports: dict[int, dict[str, Any]], has_tls: bool
) -> None:
    for port in WITH_TLS:
        handshakes = ports[port]["handshakes"]
        assert set(handshakes) == ({"1.2", "1.3"} if has_tls else set()), port
        for found in handshakes.values():
            assert "GCM" in found["cipher"] or "POLY1305" in found["cipher"]
        assert {found["alpn"] for found in handshakes.values()} == ({"h2", "http/1.1"} if has_tls else set())


def test_port_80_leads_to_tls_with_path_and_method_or_is_the_page(
    ports: dict[int, dict[str, Any]], has_tls: bool
) -> None:
    told = [(ports[80][how]["status"], ports[80][how].get("location")) for how in ("plain", "posted")]
    leads = [(308, "https://localhost/"), (308, "https://localhost/notify/?a=b")]
    assert told == (leads if has_tls else [(200, None), (422, None)])


def test_who_speaks_plainly_to_a_port_with_tls_is_refused(
    ports: dict[int, dict[str, Any]], has_tls: bool
) -> None:
    answers = {port: (ports[port]["plain"] or {}).get("status") for port in WITH_TLS}
    assert answers == (dict.fromkeys(WITH_TLS, 400) if has_tls else {443: None, 8000: 404, 5555: 401})


def test_health_answers_the_host_itself_without_tls(ports: dict[int, dict[str, Any]]) -> None:
    assert ports[8501]["plain"]["status"] == 200
    assert "strict-transport-security" not in ports[8501]["plain"]


def test_browsers_are_told_to_come_back_with_tls(ports: dict[int, dict[str, Any]], has_tls: bool) -> None:
    told = [(ports[port]["tls"] or {}).get("strict-transport-security") for port in WITH_TLS]
    assert told == ["max-age=31536000" if has_tls else None] * len(WITH_TLS)


def test_the_pair_is_for_nginx_alone(host: Host, has_tls: bool) -> None:
    listed = host.check_output(f"find {DIRECTORY} -name 'tls-*' -printf '%f %m %U %G\\n'").splitlines()
    assert listed or not has_tls
    for line in listed:
        assert line.split()[1:] == ["400", str(NGINX_UID), str(NGINX_UID)], line
    suffixes = [line.split()[0].rpartition(".")[2] for line in listed]
    # The one that is served, and the one before it.
    assert suffixes.count("crt") == suffixes.count("key") <= 2


def test_what_is_served_is_what_the_link_leads_to(
    host: Host, ports: dict[int, dict[str, Any]], has_tls: bool
) -> None:
    read = f"test ! -e {DIRECTORY}/tls.crt || openssl x509 -in {DIRECTORY}/tls.crt"
    wanted = {host.check_output(read).strip()} if has_tls else set()
    assert {
        found["certificate"].strip() for port in WITH_TLS for found in ports[port]["handshakes"].values()
    } == wanted
    matching = f"""
        cd {DIRECTORY}
        certificate=$(readlink tls.crt) || exit 0
        key=${{certificate%.crt}}.key
        test "$(openssl x509 -noout -pubkey -in "$certificate")" = "$(openssl pkey -pubout -in "$key")"
        openssl x509 -noout -checkend 0 -in "$certificate"
    """
    assert host.run(f"set -e\n{matching}").succeeded, "its key is the one beside it, and it has not expired"
