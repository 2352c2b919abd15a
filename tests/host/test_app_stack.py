"""The running stack on a host: closed as docker-compose.yml.j2 promises, its secrets in files alone."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

DIRECTORY = "/opt/steadfast"
# 443 is there with a certificate alone, and test_tls.py says when that is.
PORTS = {"8080/tcp": "80", "8000/tcp": "8000", "8501/tcp": "8501", "5555/tcp": "5555"}
TLS_PORTS = {"8443/tcp": "443"}
OWNERS = {"api": 10001, "worker": 10001, "flower": 10001, "nginx": 10002, "redis": 10003}
SECRETS = [
    "app_database_password",
    "app_migrator_password",
    "app_operator_token",
    "app_redis_password",
    "app_smtp_password",
]
MOUNTED = {
    "api": {"app_database_password", "app_operator_token", "app_redis_password"},
    "worker": {"app_database_password", "app_redis_password", "app_smtp_password"},
    "flower": {"app_redis_password"},
    "nginx": {"flower.htpasswd"},
    "redis": set(),
}

# Run in a worker's container with the application's own settings; each prints one JSON object. They ask for
# nothing that would do harm if it were granted.
ASK_REDIS = """
import json, redis
from app import settings
answers = {}
def ask(name, client, command):
    try:
        answers[name] = str(client.execute_command(*command.split()))
    except redis.RedisError as error:
        answers[name] = str(error)
ask("nobody", redis.Redis(host="redis", protocol=2), "PING")
app = redis.Redis.from_url(settings.load(settings.WorkerSettings).redis_url)
for command in ("PING", "CONFIG GET save", "ACL LIST", "CLIENT LIST", "INFO server", "KEYS x", "EVAL 1 0"):
    ask(command, app, command)
print(json.dumps(answers))
"""
ASK_POSTGRES = """
import json
from sqlalchemy import text
from app import settings
from app.db.session import Database
questions = {
    "speaks TLS": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "may store": "SELECT has_table_privilege('tasks', 'INSERT')",
    "may create": "SELECT has_schema_privilege('public', 'CREATE')",
    "owns": "SELECT pg_has_role(relowner, 'MEMBER') FROM pg_class WHERE relname = 'tasks'",
    "may empty": "SELECT has_table_privilege('tasks', 'TRUNCATE')",
    "may migrate": "SELECT has_table_privilege('alembic_version', 'UPDATE')",
    "is a superuser's": "SELECT rolsuper FROM pg_roles JOIN pg_class ON relowner = pg_roles.oid"
    " WHERE relname = 'tasks'",
    "is powerful": "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user",
}
with Database(settings.load(settings.WorkerSettings), pool_size=1).connection() as connection:
    print(json.dumps({name: connection.execute(text(ask)).scalar() for name, ask in questions.items()}))
"""


@pytest.fixture(scope="module")
def containers(host: Host) -> dict[str, dict[str, Any]]:
    """`docker inspect` of each container of the stack, by its service without the slot's colour."""
    listed = "docker ps --quiet --filter label=com.docker.compose.project=steadfast"
    found = json.loads(host.check_output(f"docker inspect $({listed})"))
    services = [item["Config"]["Labels"]["com.docker.compose.service"] for item in found]
    return {service.split("_")[0]: item for service, item in zip(services, found, strict=True)}


@pytest.fixture(scope="module")
def state(host: Host) -> dict[str, Any]:
    """Which slot is live, as the last deployment noted it."""
    return dict(json.loads(host.file(f"{DIRECTORY}/state.json").content_string))


@pytest.fixture
def run_in_worker(host: Host, containers: dict[str, dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """Return a function that runs a program in the worker's container and parses what it printed."""
    name = containers["worker"]["Name"].lstrip("/")

    def run(program: str) -> dict[str, Any]:
        return dict(
            json.loads(host.check_output("docker exec %s python -c %s", name, program).splitlines()[-1])
        )

    return run


def test_every_service_runs_and_is_healthy(containers: dict[str, dict[str, Any]]) -> None:
    assert set(containers) == set(OWNERS)
    for service, container in containers.items():
        assert container["State"]["Health"]["Status"] == "healthy", service
        assert not container["State"]["OOMKilled"], service
        assert container["RestartCount"] == 0, service


def test_the_kernel_has_killed_nothing_for_want_of_memory(host: Host) -> None:
    # Below the control group of the first process: a sandbox's host sees those of the whole machine.
    count = r"""
        folder=$(grep -E '^[0-9]+:(memory)?:' /proc/1/cgroup | sort -nr | head -n 1 | cut -d : -f 3)
        folder=${folder%/init.scope}
        test -d /sys/fs/cgroup/memory && folder=/memory$folder
        find "/sys/fs/cgroup$folder" -name memory.events -o -name memory.oom_control |
          xargs awk '$1 == "oom_kill" { found++; killed += $2 } END { print found, killed }'
    """
    found, killed = map(int, host.check_output(count).split())
    assert found > 0
    assert killed == 0


def test_the_live_slot_is_the_one_that_runs(
    host: Host, containers: dict[str, dict[str, Any]], state: dict[str, Any]
) -> None:
    live, release = state["live"], state["slots"][state["live"]]["release"]
    assert host.file(f"{DIRECTORY}/sockets/live.sock").linked_to == f"{DIRECTORY}/sockets/{live}.sock"
    assert host.file(f"{DIRECTORY}/frontend/live").linked_to == f"{DIRECTORY}/frontend/{release}"
    for service in ("api", "worker", "flower"):
        assert containers[service]["Config"]["Image"] == f"steadfast-app:{release}"
    for service in ("api", "worker"):
        assert containers[service]["Config"]["Labels"]["com.docker.compose.service"] == f"{service}_{live}"
    manifest = json.loads(host.file(f"{DIRECTORY}/releases/{release}.json").content_string)
    assert manifest["schema_head"] >= manifest["schema_floor"] > ""
    # What a rollback to it would take.
    assert (manifest["outcome"], manifest["settings"]["release"]) == ("good", release)
    found = host.check_output("docker image inspect --format {{.Id}} %s", manifest["image"])
    assert manifest["image_id"] == found


def test_no_deployment_has_the_host(host: Host) -> None:
    assert not host.file("/run/steadfast-deployment.lock").exists


def test_the_host_runs_the_render_of_the_root_template(containers: dict[str, dict[str, Any]]) -> None:
    for container in containers.values():
        label = container["Config"]["Labels"]["com.docker.compose.project.config_files"]
        assert label == f"{DIRECTORY}/docker-compose.yml"


def test_only_nginx_publishes_ports(containers: dict[str, dict[str, Any]]) -> None:
    for service, container in containers.items():
        published = {
            inside: [binding["HostPort"] for binding in bindings]
            for inside, bindings in container["NetworkSettings"]["Ports"].items()
            if bindings
        }
        assert set(published) - set(TLS_PORTS) == (set(PORTS) if service == "nginx" else set()), service
        for inside, outside in published.items():
            assert set(outside) == {(PORTS | TLS_PORTS)[inside]}


def test_redis_is_on_the_internal_network_alone(
    containers: dict[str, dict[str, Any]], read_json: Callable[[str], Any]
) -> None:
    assert set(containers["redis"]["NetworkSettings"]["Networks"]) == {"steadfast_backend"}
    assert set(containers["nginx"]["NetworkSettings"]["Networks"]) == {"steadfast_edge"}
    assert read_json("docker network inspect --format '{{json .Internal}}' steadfast_backend") is True


@pytest.mark.parametrize("service", sorted(OWNERS))
def test_a_container_is_confined(containers: dict[str, dict[str, Any]], service: str) -> None:
    config, limits = containers[service]["Config"], containers[service]["HostConfig"]
    assert config["User"] == f"{OWNERS[service]}:{OWNERS[service]}"
    assert limits["ReadonlyRootfs"] is True
    assert limits["CapDrop"] == ["ALL"]
    assert not limits["CapAdd"]
    assert not limits["Privileged"]
    assert "no-new-privileges:true" in limits["SecurityOpt"]
    assert limits["Memory"] == limits["MemorySwap"] > 0
    assert 0 < limits["PidsLimit"] <= 128
    assert limits["RestartPolicy"]["Name"] == "unless-stopped"
    assert limits["PidMode"] == limits["UTSMode"] == ""
    assert limits["NetworkMode"] != "host"
    assert not limits["Devices"]
    sources = [mount.get("Source", "") for mount in containers[service]["Mounts"]]
    assert not [
        source for source in sources if "docker.sock" in source or source in ("/", "/etc", "/var/run")
    ]


@pytest.mark.parametrize("service", sorted(OWNERS))
def test_its_process_has_no_rights_in_fact(
    host: Host, containers: dict[str, dict[str, Any]], service: str
) -> None:
    status = host.file(f"/proc/{containers[service]['State']['Pid']}/status").content_string
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {str(OWNERS[service])}
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"


@pytest.mark.parametrize("service", sorted(OWNERS))
def test_a_container_has_the_secrets_that_it_needs_and_no_other(
    host: Host, containers: dict[str, dict[str, Any]], service: str
) -> None:
    name = containers[service]["Name"].lstrip("/")
    found = host.run(f"docker exec {name} sh -c 'ls /run/secrets 2>/dev/null'").stdout.split()
    # nginx's certificates, which test_tls.py looks at, are named after what is in them.
    assert {file for file in found if not file.startswith("tls")} == MOUNTED[service]


def test_secret_files_are_for_their_reader_alone(host: Host, state: dict[str, Any]) -> None:
    folder = host.file(f"{DIRECTORY}/secrets")
    assert (folder.user, folder.group, folder.mode) == ("root", "root", 0o700)
    for name in SECRETS:
        file = host.file(f"{DIRECTORY}/secrets/{state['live']}/{name}")
        assert (file.uid, file.gid, file.mode) == (10001, 10001, 0o400), name
    htpasswd = host.file(f"{DIRECTORY}/secrets/nginx/flower.htpasswd")
    assert (htpasswd.uid, htpasswd.mode) == (10002, 0o400)
    assert htpasswd.content_string.startswith("operator:$6$")


def test_no_secret_stands_anywhere_else(host: Host, containers: dict[str, dict[str, Any]]) -> None:
    """Environment, arguments, labels, every process of the host, containers' lines, images, files."""
    ids = " ".join(container["Id"] for container in containers.values())
    images = " ".join({container["Image"] for container in containers.values()})
    look = f"""
        cd {DIRECTORY}
        docker inspect {ids} > "$work/inspect"
        cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' > "$work/processes" || true
        for id in {ids}; do docker logs "$id" 2>&1 || true; done > "$work/lines"
        for image in {images}; do
          docker image inspect "$image"
          docker history --no-trunc "$image"
        done > "$work/images"
        find . -path ./secrets -prune -o -type f -print0 | xargs -0 cat > "$work/files"
        for secret in {" ".join(SECRETS)}; do
          test -s "secrets/live/$secret" || continue
          grep -lF --file="secrets/live/$secret" "$work"/* | sed "s/^/$secret in /" || true
          echo "looked for $secret"
        done
    """
    # The work stays root's, and what is printed is names alone.
    found = host.check_output("work=$(mktemp -d); trap 'rm -rf \"$work\"' EXIT; " + look).splitlines()
    assert [line for line in found if not line.startswith("looked for ")] == []
    assert len(found) >= 3


def test_redis_refuses_the_unknown_and_lets_the_application_administer_nothing(
    run_in_worker: Callable[[str], dict[str, Any]],
) -> None:
    answers = run_in_worker(ASK_REDIS)
    assert "Authentication required" in answers.pop("nobody")
    assert answers.pop("PING") == "True"
    assert len(answers) == 6
    for command, answer in answers.items():
        assert "no permissions" in answer, command


def test_the_application_may_work_with_rows_and_change_no_schema(
    run_in_worker: Callable[[str], dict[str, Any]],
) -> None:
    answers = run_in_worker(ASK_POSTGRES)
    assert [name for name, answer in answers.items() if answer] == ["speaks TLS", "may store"]


def test_containers_lines_go_where_they_should_and_never_block(
    containers: dict[str, dict[str, Any]], read_setting: Callable[[str, Any], Any]
) -> None:
    driver = read_setting("app_stack_log_driver", "awslogs")
    environment = read_setting("app_stack_environment", "")
    for service, container in containers.items():
        log = container["HostConfig"]["LogConfig"]
        assert log["Type"] == driver
        if driver == "awslogs":
            assert log["Config"]["awslogs-group"] == f"/steadfast/{environment}/{service}"
            assert log["Config"]["mode"] == "non-blocking"
