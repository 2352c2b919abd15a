"""The same nginx before both: what is left of the ratios in front of which it stands. Reported, no goal."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from functools import partial

from tests.bench.figures import Figure, in_rounds, median, ratio
from tests.bench.parts import Load, Parts, listens, wrk
from tests.integration.machine import ROOT, eventually, free_port, run

_SECONDS = 4
_IDS = 500

_CONFIGURATION = """
worker_processes 2;
pid /tmp/nginx.pid;
error_log /dev/stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path /tmp/client-body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  proxy_http_version 1.1;
  %s
}
"""
_SERVER = "server {{ listen 127.0.0.1:{front}; location / {{ proxy_pass http://127.0.0.1:{back}; }} }}"


@contextlib.contextmanager
def nginx(parts: Parts, backs: list[int]) -> Iterator[tuple[list[int], str]]:
    """The ports at which the project's nginx passes on to these, and its container's name."""
    run("docker", "build", "--quiet", "--tag", "steadfast-test-nginx", ROOT / "frontend")
    fronts = [free_port() for _ in backs]
    servers = [_SERVER.format(front=front, back=back) for front, back in zip(fronts, backs, strict=True)]
    directory = parts.machine.directory / "nginx"
    directory.mkdir(mode=0o755, exist_ok=True)
    (directory / "nginx.conf").write_text(_CONFIGURATION % "\n  ".join(servers))
    name = f"steadfast-test-nginx-{secrets.token_hex(4)}"
    try:
        run("docker", "run", "--detach", "--name", name, "--network", "host",
            "--tmpfs", "/tmp:mode=1777",  # noqa: S108 (the container's own)
            "--volume", f"{directory}:/etc/steadfast:ro", "steadfast-test-nginx")  # fmt: skip
        eventually(lambda: all(listens(front) for front in fronts), what="nginx")
        yield fronts, name
    finally:
        run("docker", "rm", "--force", "--volumes", name)


def behind_nginx(parts: Parts, rounds: int, say: Callable[[str], None]) -> list[Figure]:
    """One process of each, the database at 0 ms."""
    with parts.ending():
        backs = [parts.peer("tutorial")[0], parts.ours(0)[0]]
        parts.empty()
        with parts.ending():
            parts.peers_worker()
            parts.our_worker(0)
            ids = [parts.ended(back, _IDS) for back in backs]
        with nginx(parts, backs) as (fronts, _):
            measurements: dict[str, Callable[[], Load]] = {}
            for name, port, file in zip(("the tutorial", "ours"), fronts, ids, strict=True):
                measurements[f"GET, {name}"] = partial(wrk, [port], _SECONDS, ids=file)
            for name, port in zip(("the tutorial", "ours"), fronts, strict=True):
                measurements[f"POST, {name}"] = partial(wrk, [port], _SECONDS)
            found = in_rounds(rounds, measurements, say)
    rate = {name: median(loads, lambda load: load.per_second) for name, loads in found.items()}
    p99 = {name: median(loads, lambda load: load.p99_ms) for name, loads in found.items()}
    return [
        ratio("POST/s behind nginx", rate["POST, ours"], rate["POST, the tutorial"]),
        ratio("POST p99 ms behind nginx", p99["POST, ours"], p99["POST, the tutorial"]),
        ratio("GET/s behind nginx", rate["GET, ours"], rate["GET, the tutorial"]),
    ]
