"""The cost of writing a large report: seconds, peak memory and size of each file.

Run `python tests/bench/report.py [HOSTS CONTROLS]` (1000 100). Prints Markdown. Each writer has a process of its own,
so that its peak is its own: what the report itself takes is the first line.
"""

from __future__ import annotations

import gzip
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests import reports  # noqa: E402

from clawkeep.report import files  # noqa: E402

NOTHING = "(the report itself)"


def measure(name: str, hosts: int, controls: int) -> None:
    """Print one row of the table for one writer."""
    report, register = reports.fleet(hosts, controls)
    began = time.perf_counter()
    written = files.WRITERS[name](report, register) if name != NOTHING else b""
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    packed = len(gzip.compress(written, 6)) / 1e6
    print(f"| {name} | {seconds:.1f} | {peak:.0f} | {len(written) / 1e6:.1f} | {packed:.1f} |")


def main() -> None:
    """Print the table for a report of this many hosts and controls."""
    if len(sys.argv) == 4:
        measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
        return
    hosts, controls = map(int, sys.argv[1:3]) if len(sys.argv) == 3 else (1000, 100)
    print(f"{hosts:,} hosts, {controls} controls, {hosts * controls:,} results; Python {platform.python_version()}, ")
    print(f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}.\n")
    print("| File | Seconds | Peak memory, MiB | Size, MB | Compressed, MB |\n|---|---:|---:|---:|---:|", flush=True)
    for name in (NOTHING, *files.WRITERS):
        subprocess.run([sys.executable, __file__, name, str(hosts), str(controls)], check=True)


if __name__ == "__main__":
    main()
