"""Breaking the network of one part: nftables, and a slow proxy, in its own network namespace."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROXY = Path(__file__).with_name("slow_proxy.py")
_PROXY_PORT = 19999


@dataclass(frozen=True)
class Network:
    """One part's network namespace; `enter` is what runs a command in it, with nft and python3 there."""

    enter: tuple[str, ...]

    @contextlib.contextmanager
    def rules(self, *lines: str, hook: str = "input") -> Iterator[None]:
        """While these rules hold at the hook."""
        self._load(f"chain rules {{\n type filter hook {hook} priority 0;\n" + "\n".join(lines) + "\n}")
        try:
            yield
        finally:
            self.clear()

    @contextlib.contextmanager
    def dropping(self, port: int, *, share: int = 100) -> Iterator[None]:
        """While packets to and from a port are lost without a word: all, or so many of a hundred."""
        some = "" if share == 100 else f"numgen random mod 100 < {share} "
        chains = "\n".join(
            f"chain {hook} {{\n type filter hook {hook} priority 0;\n tcp dport {port} {some}drop\n"
            f" tcp sport {port} {some}drop\n}}"
            for hook in ("input", "output")
        )
        self._load(chains)
        try:
            yield
        finally:
            self.clear()

    @contextlib.contextmanager
    def slow(
        self, port: int, *, delay_seconds: float, jitter_seconds: float, loss_percent: int = 0
    ) -> Iterator[None]:
        """While all that others say to the port, and hear from it, is late; connections of before are cut."""
        proxy = subprocess.Popen(
            [*self.enter, "python3", "-c", _PROXY.read_text(), str(_PROXY_PORT), str(port),
             str(delay_seconds), str(jitter_seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert proxy.stdin
        assert proxy.stdout
        try:
            assert proxy.stdout.readline() == "listening\n", "the proxy did not come up"
            loss = (
                f" tcp dport {_PROXY_PORT} numgen random mod 100 < {loss_percent} drop\n"
                if loss_percent
                else ""
            )
            again = " tcp sport {0} numgen random mod 100 < 1 dup to ip daddr\n" if loss_percent else ""
            self._load(
                "chain detour {\n type nat hook prerouting priority -110;\n"
                f' iifname != "lo" tcp dport {port} redirect to :{_PROXY_PORT}\n}}\n'
                "chain severed {\n type filter hook input priority 0;\n"
                f' iifname != "lo" tcp dport {port} reject with tcp reset\n{loss}}}\n'
                "chain doubled {\n type filter hook output priority 0;\n"
                f"{again.format(_PROXY_PORT)}}}",
                family="ip",
            )
            yield
        finally:
            self.clear()
            proxy.stdin.close()
            proxy.wait(20)

    def clear(self) -> None:
        """Removes every rule of these tests."""
        for family in ("inet", "ip"):
            # Not there: nothing to remove.
            subprocess.run(
                [*self.enter, "nft", "delete", "table", family, "chaos"], capture_output=True, check=False
            )

    def _load(self, chains: str, *, family: str = "inet") -> None:
        rules = f"table {family} chaos {{\n{chains}\n}}\n"
        done = subprocess.run(
            [*self.enter, "nft", "-f", "-"], input=rules, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{rules}{done.stderr}"
