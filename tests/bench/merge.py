"""The cost of merging a fleet's bundles: seconds and peak memory by the number of hosts.

Run `python tests/bench/merge.py [--kilobytes K] [HOSTS ...]` (100 1000 10000). Prints Markdown. Each merge joins ten
bundles in a process of its own; evidence is made up, K kilobytes (33) a host.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from clawkeep.evidence import store  # noqa: E402
from clawkeep.evidence.bundle.bundle import open_bundle  # noqa: E402
from clawkeep.evidence.bundle.files import HOSTS, write  # noqa: E402
from clawkeep.evidence.merge import merge  # noqa: E402
from clawkeep.register import tiers  # noqa: E402
from clawkeep.site.inventory import Host, Site  # noqa: E402

BUNDLES = 10
STARTED = "2026-11-01T00:00:00Z"


def make(folder: Path, numbers: range, kilobytes: int) -> None:
    """One bundle, written host by host."""
    tier = tiers.parse("tier1_personal", {"tier": {"name": "x", "rank": 1}}, "bench")
    (folder / HOSTS).mkdir(parents=True)
    filler = ["x" * 98] * (kilobytes * 10)
    entries = []
    for number in numbers:
        host = Host(f"host{number:06}", tier, ("192.0.2.1",), ("all", "tier1_personal"))
        inside = {"schema": 1, "commands": {}, "facts": {"filler": filler}, "problems": {}}
        data = store.encoded(host.name, {"schema": 1, "host": host.name, "inside": inside, "vantages": {}})
        write(folder / HOSTS / f"{host.name}.json", data)
        entries.append(store.reached(store.entry(host), f"{host.name}.json", data))
    store.conclude(folder, store.heading(Site(name="bench"), STARTED, limited=True), entries)


def measure(how: str, folder: Path, hosts: int) -> None:
    """Print one row of the table."""
    began = time.perf_counter()
    if how == "merge":
        merge(folder / "all", sorted(folder.glob("part*")), STARTED, whole=True)
    else:
        assert list(open_bundle(folder / "all").findings()) == []
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {how} | {hosts:,} | {seconds:.1f} | {peak:.0f} |", flush=True)


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] in (["merge"], ["verify"]):
        measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
        return
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--kilobytes", type=int, default=33)
    asked.add_argument("hosts", nargs="*", type=int, default=[100, 1000, 10000])
    options = asked.parse_args()
    print(f"{BUNDLES} bundles, {options.kilobytes} kB a host; {os.cpu_count()} cores, {platform.machine()}, ", end="")
    print(
        f"Python {platform.python_version()}.\n\n| | Hosts | Seconds | Peak memory, MiB |\n|---|---:|---:|---:|",
        flush=True,
    )
    for hosts in options.hosts:
        with tempfile.TemporaryDirectory(prefix="clawkeep-bench-") as folder:
            each = hosts // BUNDLES
            for number in range(BUNDLES):
                make(Path(folder) / f"part{number}", range(number * each, (number + 1) * each), options.kilobytes)
            for how in ("merge", "verify"):
                subprocess.run([sys.executable, __file__, how, folder, str(hosts)], check=True)


if __name__ == "__main__":
    main()
