"""nginx, Redis and the engine replaced by newer ones, as an operator's playbooks do it.

Debian has something newer when it likes. So what is newer is made here: a container that runs an image of
another name, or a package of the engine with a higher version.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.release.host import Host, Played

# nginx would wait for whoever sends slowly until its grace is over: that was 30 s.
_SLOW_CLIENT_SECONDS = 30

# Debian's package with a version of our own, in a repository that only this host knows.
_OFFER = r"""
set -eu
rm -rf /srv/drill-packages /etc/apt/sources.list.d/drill.list
mkdir /srv/drill-packages
cd /srv/drill-packages
apt-get update -qq
apt-get download -qq docker.io="$(apt-cache madison docker.io | awk '{ print $3; exit }')"
dpkg-deb --raw-extract docker.io_*.deb tree
rm docker.io_*.deb
sed -i "s/^Version: .*/&+drill$(date +%s)/" tree/DEBIAN/control
dpkg-deb --build -Znone tree docker.io.deb
rm -r tree
{ dpkg-deb --field docker.io.deb
  echo "Filename: ./docker.io.deb"
  echo "Size: $(stat --format %s docker.io.deb)"
  echo "SHA256: $(sha256sum docker.io.deb | cut -d' ' -f1)"; } > Packages
echo "deb [trusted=yes] file:/srv/drill-packages ./" > /etc/apt/sources.list.d/drill.list
"""


def running(host: Host) -> dict[str, tuple[str, str]]:
    """Container -> its image, and which container it is."""
    form = "{{.Name}} {{.Config.Image}} {{.Id}} {{.State.StartedAt}}"
    said = host.stack.host("sh", "-c", f"docker inspect --format '{form}' $(docker ps --quiet)")
    found = [line.split(" ", 2) for line in said.splitlines()]
    return {name.removeprefix("/"): (image, which) for name, image, which in found}


def age(host: Host, service: str) -> None:
    """It runs an image that is made from something else than this checkout's, by its name."""
    image, _ = running(host)[f"steadfast-{service}-1"]
    old = f"steadfast-{service}:drill"
    # It does where a drill was broken off.
    if image != old:
        host.stack.host("docker", "tag", image, old)
        well(host.play(f"upgrade-{service}", container_upgrade_to=old))
        assert running(host)[f"steadfast-{service}-1"][0] == old


def container(host: Host, service: str) -> None:
    """It runs an image that was made just now, and nothing else was touched."""
    before = running(host)
    with slow_client(host):
        played = well(host.play(f"upgrade-{service}"))
    after = running(host)
    name = f"steadfast-{service}-1"
    assert re.fullmatch(rf"steadfast-{service}:[0-9a-f]{{12}}-\d{{8}}T\d{{6}}Z", after[name][0]), after[name]
    assert {one for one in after if after[one] != before.get(one)} == {name}
    assert re.search(rf"{service} \S+ -> \S+", played.output), played.output[-3000:]
    # However busy the machine is: it was not the slow client who was waited for.
    away = re.search(r"Front door: .*?at\s+longest\s+([\d.]+)\s+s", played.output, re.DOTALL)
    assert away is None or float(away[1]) < _SLOW_CLIENT_SECONDS / 2, away[0]


@contextlib.contextmanager
def slow_client(host: Host) -> Iterator[None]:
    """While somebody sends a request a byte at a time, and begins anew when that is broken off."""
    address = urlsplit(host.stack.page)
    head = (
        b"POST /notify/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    over = threading.Event()

    def send() -> None:
        while not over.wait(1):
            with (
                contextlib.suppress(OSError),
                socket.create_connection((address.hostname, address.port)) as one,
            ):
                one.sendall(head)
                while not over.wait(1):
                    one.sendall(b" ")

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def offer_an_engine(host: Host) -> None:
    """The host's package sources have a newer one."""
    host.stack.host("sh", "-c", _OFFER, seconds=300)


def engine(host: Host) -> None:
    """Another process of another version serves the same containers."""
    before, process = running(host), _process(host)
    well(host.play("upgrade-engine"))
    host.stack.host("rm", "/etc/apt/sources.list.d/drill.list")
    version = host.stack.host("dpkg-query", "--show", "--showformat=${Version}", "docker.io")
    assert "+drill" in version, f"Debian's own is there: {version}"
    assert _process(host) not in ("0", process), "the old engine runs on"
    assert running(host) == before, "containers are other ones"


def _process(host: Host) -> str:
    return host.stack.host("systemctl", "show", "--property=MainPID", "--value", "docker.service")


def well(played: Played) -> Played:
    """It went well, and said what it cost."""
    assert played.status == 0, played.output[-4000:]
    assert "Front door: asked " in played.output, played.output[-3000:]
    return played
