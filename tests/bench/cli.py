"""How long the command line takes to start: wall time of a fresh process, the median of several.

Run `python tests/bench/cli.py [RUNS]` (7). Prints Markdown. Needs no host; `--help` of a sub-command imports all of it.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src")]

from clawkeep.cli.app import COMMANDS  # noqa: E402

ASKED = (("--version",), ("--help",), ("controls", "list"), *((str(one.name), "--help") for one in COMMANDS))


def seconds(arguments: tuple[str, ...]) -> float:
    """Wall time of one call in a process of its own."""
    began = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(
        [sys.executable, "-m", "clawkeep", *arguments], check=True, stdout=subprocess.DEVNULL, env=environment
    )
    return time.perf_counter() - began


def main(runs: int) -> None:
    """Print the table; every command is called once before it is measured."""
    print(f"{runs} runs each; Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}.\n")
    print("| Command | Median, s | Slowest, s |\n|---|---:|---:|", flush=True)
    for arguments in ASKED:
        seconds(arguments)
        taken = [seconds(arguments) for _ in range(runs)]
        shown = " ".join(("clawkeep", *arguments))
        print(f"| `{shown}` | {statistics.median(taken):.2f} | {max(taken):.2f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
