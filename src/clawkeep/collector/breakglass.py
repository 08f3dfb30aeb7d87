"""What an emergency needs: the kill command's plan, the kept releases, the runbook, and no rollback left armed."""

from __future__ import annotations

import glob
import json
import os
import socket
from typing import Any, Dict, List, Optional

from clawkeep.collector import proc
from clawkeep.collector.recorder import Recorder

BASE = "/etc/clawkeep"
RELEASES = BASE + "/releases"
COMPOSE = BASE + "/openclaw/compose.yml"
TOOLS = ("/usr/local/sbin/clawkeep-kill", "/usr/local/sbin/clawkeep-firewall", BASE, BASE + "/kill.conf", RELEASES)
ELSEWHERE = ((socket.AF_INET, "ipv4", "192.0.2.1"), (socket.AF_INET6, "ipv6", "2001:db8::1"))


def collect(rec: Recorder) -> None:
    """Ask the kill command for its plan, read what is kept for the way back, and look for armed timers."""
    rec.note("runbook", dict(proc.entry(BASE + "/runbook.md") or {}, text=proc.read(BASE + "/runbook.md")))
    rec.note("route-sources", sources())
    rec.note("break-glass-files", [entry for entry in map(proc.entry, TOOLS) if entry is not None])
    rec.note("kill-settings", proc.read(BASE + "/kill.conf"))
    rec.note("releases", releases())
    rec.note("firewall-armed", armed())
    rec.json("kill-plan", ["/usr/local/sbin/clawkeep-kill", "--dry-run", "--json"], timeout=60)
    rec.run(
        "rollback-timers",
        ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=timer", "clawkeep-firewall-rollback*"],
    )


def sources() -> Dict[str, Optional[str]]:
    """The address from which this host reaches the rest of the world, by family; None without such a route."""
    found: Dict[str, Optional[str]] = {}
    for family, name, target in ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asked:
                asked.connect((target, 9))  # no packet leaves: the kernel only chooses a route
                found[name] = str(asked.getsockname()[0])
        except OSError:
            found[name] = None
    return found


def armed() -> Optional[Dict[str, Any]]:
    """The firewall change that waits for its confirmation, as its tool remembers it."""
    text = proc.read("/run/clawkeep/firewall/armed.json")
    try:
        return dict(json.loads(text)) if text else None
    except (ValueError, TypeError):
        return {"id": "unreadable"}


def releases() -> Dict[str, Any]:
    """Every kept release with its record and Compose text, the current one's name, and the Compose file in use."""
    current = os.readlink(RELEASES + "/current") if os.path.islink(RELEASES + "/current") else None
    kept: List[Dict[str, Any]] = []
    for folder in sorted(glob.glob(RELEASES + "/*/")):
        name = os.path.basename(folder.rstrip("/"))
        if not os.path.islink(folder.rstrip("/")):
            kept.append({"name": name, "record": _record(folder), "compose": proc.read(folder + "compose.yml")})
    return {
        "present": os.path.isdir(RELEASES),
        "current": os.path.basename(current.rstrip("/")) if current else None,
        "kept": kept,
        "in-use": proc.read(COMPOSE),
    }


def _record(folder: str) -> Any:
    text = proc.read(folder + "release.json")
    try:
        return json.loads(text) if text else None
    except ValueError:
        return "not JSON"
