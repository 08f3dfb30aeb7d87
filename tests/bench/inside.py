"""The cost of verifying one lab host from inside: ssh connections, and wall time against the slowest command.

Run with a converged lab up: `python tests/bench/inside.py tier1_personal [RUNS]`. Prints Markdown.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clawkeep.schedule.job import PROGRAM


def run(*arguments: str) -> str:
    """Run clawkeep; its standard output, whatever the verdict."""
    return subprocess.run([*PROGRAM, *arguments], text=True, capture_output=True, check=False).stdout


def accepted(scenario: str) -> int:
    """How many ssh log-ins the host has accepted since it booted."""
    return int(run("lab", "ssh", scenario, "journalctl -b -u ssh --grep 'Accepted publickey' -o cat | wc -l"))


def slowest(evidence: Path) -> tuple[float, str]:
    """Seconds and command line of the longest single command that the collector ran."""
    commands = [
        record
        for path in (evidence / "hosts").glob("*.json")
        for record in json.loads(path.read_text())["inside"]["commands"].values()
    ]
    record = max(commands, key=lambda item: item["seconds"])
    return float(record["seconds"]), " ".join(record["argv"])[:70]


def main(scenario: str, runs: int) -> None:
    """Measure `runs` verifications and print a table."""
    inventory = run("lab", "inventory", scenario).strip()
    accelerator = "KVM" if os.access("/dev/kvm", os.R_OK | os.W_OK) and _virtualises() else "software emulation"
    print(f"{platform.machine()}, {os.cpu_count()} cores, lab under {accelerator}\n")
    print("| run | ssh connections | wall s | slowest command s | ratio | slowest command |")
    print("|---|---|---|---|---|---|")
    for number in range(1, runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            before = accepted(scenario)
            began = time.monotonic()
            run("verify", "-i", inventory, "--inside-only", "--save-evidence", folder)
            wall = time.monotonic() - began
            connections = accepted(scenario) - before - 1  # the counting itself is one
            seconds, shown = slowest(Path(folder))
            print(f"| {number} | {connections} | {wall:.1f} | {seconds:.1f} | {wall / seconds:.2f} | `{shown}` |")


def _virtualises() -> bool:
    return any(flag in Path("/proc/cpuinfo").read_text().split() for flag in ("vmx", "svm"))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tier1_personal", int(sys.argv[2]) if len(sys.argv) > 2 else 3)
