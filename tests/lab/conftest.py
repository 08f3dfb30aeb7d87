"""A running safe lab for the drills: `pytest tests/lab -m lab --lab SCENARIO`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clawkeep.lab import records, state, topology
from clawkeep.schedule.job import PROGRAM

ROOT = Path(__file__).resolve().parents[2]
HOST4, HOST6 = (str(interface.ip) for interface in topology.HOST_ADDRESSES)
CAUGHT_UP_SECONDS = 1800
CONNECT_SECONDS = 5  # long enough for a second SYN


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lab", metavar="SCENARIO", help="the running lab to drill on; it holds a snapshot named green")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a named lab there is nothing to drill on: pytest then says what it left out, and that no test ran."""
    if config.getoption("--lab", default=None):
        return
    drills = [item for item in items if item.path.parent == Path(__file__).parent]
    if drills:
        config.hook.pytest_deselected(items=drills)
        items[:] = [item for item in items if item not in drills]


def await_true(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Poll until `condition` holds and return the seconds it took; fails naming `what` after `seconds`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            pytest.fail(f"{what}: not within {seconds:g} s")
        time.sleep(0.5)
    return time.monotonic() - began


@dataclass(frozen=True)
class Lab:
    """The lab host as the drills see it."""

    scenario: str
    inventory: Path
    reports: Path

    def clawkeep(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments], cwd=ROOT, text=True, capture_output=True, timeout=timeout, check=False
        )

    def ssh(self, command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root on the lab host."""
        return self.clawkeep("lab", "ssh", self.scenario, command, timeout=timeout)

    def root(self, command: str, timeout: float = 120) -> str:
        """Run a shell command as root on the lab host; its output, and a failed test if it failed."""
        done = self.ssh(command, timeout)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def restore(self) -> None:
        """Put the host back to the proven state."""
        restored = self.clawkeep("lab", "restore", self.scenario, "green")
        assert restored.returncode == 0, restored.stderr

    def become(self, tier: str) -> None:
        """Give the host another tier in the lab's inventory; the next play makes it one."""
        done = self.clawkeep("lab", "tier", self.scenario, tier)
        assert done.returncode == 0, done.stderr

    def answers(self) -> bool:
        """Whether a new ssh connection gets through within a few seconds."""
        try:
            return self.ssh("true", timeout=8).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def healthy(self) -> bool:
        """Whether the gateway answers an operator on the host, and Docker has seen that it does."""
        answers = "curl -fsS -m 5 http://127.0.0.1:18789/healthz"
        seen = "docker inspect --format '{{.State.Health.Status}}' openclaw | grep -qx healthy"
        return self.ssh(f"{answers} && {seen}").returncode == 0

    def until(self, command: str, what: str, seconds: float = 60) -> None:
        """Wait until a shell command succeeds on the lab host."""
        await_true(lambda: self.ssh(command).returncode == 0, seconds, what)

    def counter(self, name: str) -> int:
        """The packets that a named counter of the firewall has seen."""
        listed = json.loads(self.root(f"nft -j list counter inet clawkeep {name}"))
        return next(int(one["counter"]["packets"]) for one in listed["nftables"] if "counter" in one)

    def cgroup(self, file: str) -> str:
        """What a control file of the agent container's cgroup says."""
        pid = "$(docker inspect --format '{{.State.Pid}}' openclaw)"
        return self.root(f"cat /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/{pid}/cgroup)/{file}")

    def at(self, place: str, *argv: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in the namespace of one of the lab's places."""
        netns = f"ck-{state.lab(self.scenario).id}-{place}"
        command = ["ip", "netns", "exec", netns, *argv]
        return subprocess.run(command, text=True, capture_output=True, timeout=seconds, check=False)

    def connects(self, place: str, address: str, port: int) -> bool:
        """Whether a TCP connection can be opened from a place of the lab; only silence or a refusal is a no."""
        program = (
            "import socket, sys\n"
            "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))\n"
            "except (TimeoutError, ConnectionRefusedError): sys.exit(3)"
        )
        done = self.at(place, sys.executable, "-c", program, address, str(port), str(CONNECT_SECONDS))
        assert done.returncode in {0, 3}, done.stderr
        return done.returncode == 0

    @contextmanager
    def routed(self, place: str, target: str, via: str) -> Iterator[None]:
        """A place of the lab that sends what is for `target`, a loopback address, to a machine of its segment."""
        (route,) = json.loads(self.at(place, "ip", "-j", "route", "get", via).stdout)
        card = route["dev"]
        setting = f"/proc/sys/net/ipv4/conf/{card}/route_localnet"
        hand_over = f"""
            ip address del 127.0.0.1/8 dev lo
            ip route add {target} via {via} dev {card} src {route["prefsrc"]}
            echo 1 > {setting}"""
        take_back = f"""
            echo 0 > {setting}
            ip route del {target} via {via}
            ip address add 127.0.0.1/8 dev lo"""
        try:
            done = self.at(place, "sh", "-ec", hand_over)
            assert done.returncode == 0, done.stderr
            yield
        finally:
            self.at(place, "sh", "-c", take_back)

    def play(self, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory), *arguments],
            cwd=ROOT,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def caught_up(self) -> float:
        """Wait until the log store has what the host recorded before it had a log agent; returns the seconds it took.

        The agent reads its files in turn, each to the end: with the second word everything before the first has gone
        out.
        """
        kept = Path(records.vantage(state.lab(self.scenario))["store"])

        def arrived(word: str) -> bool:
            return any(word in path.read_text(errors="replace") for path in kept.glob("*/*.jsonl"))

        took = 0.0
        for turn in range(2):
            word = f"drill{time.time_ns():x}-{turn}"
            self.root(f"logger --tag clawkeep-drill {word}")
            took += await_true(partial(arrived, word), CAUGHT_UP_SECONDS, "what the host had recorded arrives")
        return took

    def verify(self, *arguments: str) -> dict[str, Any]:
        """Run `clawkeep verify` and return its report, whatever its exit status."""
        done = self.clawkeep(
            "verify", "-i", str(self.inventory), "--report", str(self.reports), *arguments, timeout=600
        )
        report: dict[str, Any] = json.loads((self.reports / "report.json").read_text())
        assert report["exit_status"] == done.returncode, done.stdout + done.stderr
        return report

    def expect_green(self, *arguments: str) -> None:
        """Verify everything, or what `arguments` select; a red or unmeasured control is the failure message."""
        report = self.verify(*arguments)
        wrong = [
            f"{row['control']} {row['status']}: {row['message']}"
            for row in report["results"]
            if row["status"] in {"fail", "error", "inconclusive"}
        ]
        assert not wrong, "\n".join(wrong)
        assert report["exit_status"] == 0


def running(config: pytest.Config, reports: Path) -> Lab:
    """The lab host as it is."""
    scenario = config.getoption("--lab")
    path = subprocess.run(
        [*PROGRAM, "lab", "inventory", scenario], cwd=ROOT, text=True, capture_output=True, check=True
    ).stdout.strip()
    return Lab(scenario, Path(path), reports)


def proven(config: pytest.Config, reports: Path) -> Lab:
    """The lab host, put back to the proven state."""
    machine = running(config, reports)
    machine.restore()
    return machine


@pytest.fixture
def raised(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    """The lab host as it is, just raised to a tier and not proven yet."""
    return running(request.config, tmp_path / "report")


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    """The lab host, put back to the proven state before the drill."""
    return proven(request.config, tmp_path / "report")
