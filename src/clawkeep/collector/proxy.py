"""The agents' proxy and name server: their configurations, their units, and whether they run what is on disk.

Standard library only.
"""

from __future__ import annotations

import os
import stat
from typing import Any, Dict, Optional

from clawkeep.collector import proc
from clawkeep.collector.recorder import Recorder

FILES = {"proxy": "/etc/clawkeep/proxy/squid.conf", "resolver": "/etc/clawkeep/resolver/dnsmasq.conf"}
UNITS = ("clawkeep-proxy.service", "clawkeep-resolver.service", "squid.service", "dnsmasq.service")
PROPERTIES = "Id,ActiveState,MainPID,DropInPaths,NeedDaemonReload,ExecStart"
WHOLE = 262_144  # bytes


def collect(rec: Recorder) -> None:
    """Record the files and the units; a file's `newer` tells that it was changed after its daemon had started."""
    result = rec.run("egress-units", ("systemctl", "show", "--property=" + PROPERTIES, "--", *UNITS))
    pids: Dict[str, int] = {}
    for block in result.text.split("\n\n"):
        fields = dict(line.partition("=")[::2] for line in block.splitlines())
        if fields.get("MainPID", "").isdigit():
            pids[fields.get("Id", "")] = int(fields["MainPID"])
    files = {name: _file(path, pids.get("clawkeep-%s.service" % name, 0)) for name, path in FILES.items()}
    rec.note("egress-files", files)


def _file(path: str, pid: int) -> Optional[Dict[str, Any]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text, found = file.read(WHOLE), os.fstat(file.fileno())
    except OSError:
        return None
    started = _started(pid)
    return {
        "lines": [line for line in text.splitlines() if line.strip() and not line.startswith("#")],
        "uid": found.st_uid,
        "mode": stat.S_IMODE(found.st_mode),
        "running": started is not None,
        "newer": started is not None and found.st_mtime > started,
    }


def _started(pid: int) -> Optional[float]:
    """When a process began, in seconds since the epoch, to a second or two."""
    line = proc.read("/proc/%d/stat" % pid) if pid else None
    boot = proc.read("/proc/stat") or ""
    since = [int(row.split()[1]) for row in boot.splitlines() if row.startswith("btime ")]
    if not line or not since:
        return None
    ticks = int(line.rpartition(")")[2].split()[19])
    return since[0] + ticks / os.sysconf("SC_CLK_TCK") + 2
