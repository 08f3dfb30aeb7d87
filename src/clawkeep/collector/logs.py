"""How the host records and sends: audit rules, files and the log agent. Standard library only."""

from __future__ import annotations

import glob
import os
import time
from typing import Any, Dict, List

from clawkeep.collector import others, proc
from clawkeep.collector.recorder import Recorder
from clawkeep_host import files

CONFIG = "/etc/clawkeep/log/rsyslog.conf"
TLS = "/etc/clawkeep/log/tls"
SPOOL = "/var/spool/clawkeep-log"
VOLUMES = "/var/lib/docker/volumes"
NOBODY = 65534
EVERYBODYS = "/etc/passwd"
MOST_FILES = 400
UNITS = ("clawkeep-log.service", "clawkeep-log-journal.service", "clawkeep-log-openclaw.service", "auditd.service")
PLACES = (
    *("/etc", "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/sudoers", "/etc/sudoers.d", "/etc/ssh", "/etc/docker"),
    *(
        "/usr/bin/docker",
        "/usr/sbin/dockerd",
        "/usr/bin/containerd",
        "/usr/sbin/runc",
        "/etc/clawkeep",
        "/usr/local/sbin",
        "/usr/local/lib/clawkeep",
    ),
    *("/etc/systemd", "/etc/audit", "/root", "/run/docker.sock", VOLUMES),
)
PRIVATE = (
    *("/var/log/audit", "/var/log/audit/*", SPOOL, SPOOL + "/*", SPOOL + "/journal/*", TLS, TLS + "/*", CONFIG),
    *("/var/log/journal/*", "/var/log/journal/*/*.journal", "/var/log/clawkeep/*/*.log*", "/var/log/nginx/*.log*"),
    "/var/lib/docker/containers/*/*-json.log*",
)
AGENTS_OWN = VOLUMES + "/openclaw-state/_data/logs"


def collect(rec: Recorder) -> None:
    """Read how logging is set, and what has become of its files."""
    tier = rec.parameters.get("tier", {})
    rec.run("journald-config", ["systemd-analyze", "cat-config", "systemd/journald.conf"])
    found = [seen for pattern in PRIVATE for path in sorted(glob.glob(pattern)) for seen in [proc.entry(path)] if seen]
    found += agents_own()
    rec.note("log-files", found)
    rec.note("log-readers", readers(rec, found))
    audit(rec)
    if tier.get("log_agent_remote", "none") != "none":
        sending(rec)


def agents_own(folder: str = AGENTS_OWN) -> List[Dict[str, Any]]:
    """The log files in the agent's own volume, as far as MOST_FILES: links are links here, and no folder is entered."""
    walk = files.Walk(folder, entries=MOST_FILES, depth=1)
    try:
        below = [(entry, proc.acl(entry.handle)) for entry in walk if entry.path != "."]
    except OSError:
        return []
    return [proc.described("%s/%s" % (folder, proc.shown(entry.path)), entry.status, acl) for entry, acl in below]


def readers(rec: Recorder, found: List[Dict[str, Any]]) -> Dict[str, Any]:
    """What nobody's account gets of each log file, and when it was last written, in seconds before now.

    `{"control": what it gets of a file that everybody may read, "files": {path: {"nobody": ..., "age": seconds}}}`.
    """
    plain = [one for one in found if one["kind"] == "file"][:MOST_FILES]
    wishes = [{"uid": NOBODY, "do": "read", "path": path} for path in (EVERYBODYS, *(one["path"] for one in plain))]
    control, *said = others.ask(rec, wishes)
    now = time.time()
    seen = {one["path"]: {"nobody": said[n], "age": int(now - one["changed"])} for n, one in enumerate(plain)}
    return {"control": control, "files": seen, "left": len(found) > MOST_FILES}


def audit(rec: Recorder) -> None:
    """The kernel's rules."""
    rec.run("auditctl-rules", ["auditctl", "-l"])
    rec.run("auditctl-state", ["auditctl", "-s"])
    rec.note("audit-places", {path: kind(path) for path in PLACES})


def sending(rec: Recorder) -> None:
    """The log agent and its queue."""
    rec.run("log-units", ["systemctl", "show", "--property=Id,ActiveState,UnitFileState,ExecStart", "--", *UNITS])
    rec.run("log-agent-check", ["/usr/sbin/rsyslogd", "-N1", "-f", CONFIG], timeout=60)
    rec.note("log-agent-config", (proc.read(CONFIG) or "").splitlines())
    rec.note("log-agent-queue", (proc.read(SPOOL + "/queue.json") or "").splitlines()[-12:])


def kind(path: str) -> str:
    """`directory`, `other`, or `absent`."""
    return "directory" if os.path.isdir(path) else "other" if os.path.exists(path) else "absent"
