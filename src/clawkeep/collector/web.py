"""The browser entry: what nginx has in force, and what the gate says. Standard library only."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from clawkeep.collector import proc
from clawkeep.collector.recorder import Recorder, short

GATE = "/usr/local/sbin/clawkeep-gate"


def collect(rec: Recorder) -> None:
    """Gather what there is; a host without nginx and without a gate says so."""
    rec.note("nginx-masters", masters())
    if os.path.exists("/usr/sbin/nginx"):
        rec.run("nginx-T", ["/usr/sbin/nginx", "-T", "-q"])
    if os.path.exists(GATE):
        rec.run("gate-report", [GATE, "report"], parse="json")


def masters() -> List[Dict[str, Any]]:
    """Every nginx master process of the host, not of its containers: its pid, and its title with the arguments."""
    found = []
    own = (proc.namespace(os.getpid(), "pid"), None)  # one that cannot be told is not left out
    for pid in proc.pids():
        title = " ".join(cmdline(pid))
        if title.startswith("nginx: master process") and proc.namespace(pid, "pid") in own:
            found.append({"pid": pid, "title": short(title, 400)})
    return found


def cmdline(pid: object) -> List[str]:
    """The arguments of a process; empty when it has gone."""
    return (proc.read("/proc/%s/cmdline" % pid) or "").replace("\0", " ").split()
