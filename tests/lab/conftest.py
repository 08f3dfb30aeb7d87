"""A running safe lab for the drills: `pytest tests/lab -m lab --lab SCENARIO`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLAWKEEP = (sys.executable, "-m", "clawkeep.cli")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lab", metavar="SCENARIO", help="the running lab to drill on; it holds a snapshot named green")


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
            [*CLAWKEEP, *arguments], cwd=ROOT, text=True, capture_output=True, timeout=timeout, check=False
        )

    def ssh(self, command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root on the lab host."""
        return self.clawkeep("lab", "ssh", self.scenario, command, timeout=timeout)

    def root(self, command: str, timeout: float = 120) -> str:
        """Run a shell command as root on the lab host; its output, and a failed test if it failed."""
        done = self.ssh(command, timeout)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def answers(self) -> bool:
        """Whether a new ssh connection gets through within a few seconds."""
        try:
            return self.ssh("true", timeout=8).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def healthy(self) -> bool:
        """Whether the gateway answers an operator on the host."""
        return self.ssh("curl -fsS -m 5 http://127.0.0.1:18789/healthz").returncode == 0

    def play(self, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory), *arguments],
            cwd=ROOT,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def verify(self, *arguments: str) -> dict[str, Any]:
        """Run `clawkeep verify` and return its report, whatever its exit status."""
        done = self.clawkeep(
            "verify", "-i", str(self.inventory), "--report", str(self.reports), *arguments, timeout=600
        )
        report: dict[str, Any] = json.loads((self.reports / "report.json").read_text())
        assert report["exit_status"] == done.returncode, done.stdout + done.stderr
        return report

    def expect_green(self) -> None:
        """Verify everything; a red or unmeasured control is the failure message."""
        report = self.verify()
        wrong = [
            f"{row['control']} {row['status']}: {row['message']}"
            for row in report["results"]
            if row["status"] in {"fail", "error", "inconclusive"}
        ]
        assert not wrong, "\n".join(wrong)
        assert report["exit_status"] == 0


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """The lab host, put back to the proven state before the drill."""
    scenario = request.config.getoption("--lab")
    if not scenario:
        pytest.fail("name the running lab: pytest tests/lab -m lab --lab tier1_personal")
    path = subprocess.run(
        [*CLAWKEEP, "lab", "inventory", scenario], cwd=ROOT, text=True, capture_output=True, check=True
    ).stdout.strip()
    machine = Lab(scenario, Path(path), tmp_path / "report")
    restored = machine.clawkeep("lab", "restore", scenario, "green")
    assert restored.returncode == 0, restored.stderr
    return machine
