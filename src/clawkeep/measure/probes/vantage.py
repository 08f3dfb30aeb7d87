"""Run a probe at a vantage: this machine as it is, or one of its network namespaces."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from clawkeep.site.inventory import Vantage


def argv_at(vantage: Vantage, argv: Sequence[str]) -> list[str]:
    """`argv` as it must be called to run at `vantage`: namespaces need root, raw sockets root or CAP_NET_RAW."""
    entered = list(argv) if vantage.kind == "local" else ["ip", "netns", "exec", vantage.name, *argv]
    if os.geteuid() == 0 or (vantage.kind == "local" and raw_sockets()):
        return entered
    return ["sudo", "-n", "--", *entered]


def raw_sockets() -> bool:
    """Whether this process may open raw sockets, as the service of a control node may without being root."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).close()
    except OSError:
        return False
    return True


def run_probe(module: str, vantage: Vantage, wishes: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
    """The JSON object that `python -m module` prints at `vantage` when it reads `wishes` as JSON.

    The whole probe is one process, so that everything it opens is at the vantage. Raises RuntimeError with one
    sentence when it cannot be started, does not end within `seconds`, or fails.
    """
    argv = argv_at(vantage, [sys.executable, "-m", module])
    where = f"the {vantage.kind} vantage {vantage.name}".rstrip()
    try:
        # nmap goes by the user's number; it is told that it has what it needs.
        environment = {**os.environ, "NMAP_PRIVILEGED": "1"}
        done = subprocess.run(
            argv, input=json.dumps(wishes), capture_output=True, text=True, timeout=seconds, env=environment
        )
    except OSError as problem:
        raise RuntimeError(f"{argv[0]} could not be run for {where}: {problem.strerror}") from problem
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{module} did not end within {seconds:g} s at {where}") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"{module} ended with status {done.returncode} at {where}: {said[-1]}")
    found = json.loads(done.stdout)
    if not isinstance(found, dict):
        raise RuntimeError(f"{module} printed no JSON object at {where}")
    return found
