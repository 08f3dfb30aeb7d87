"""What the kernel says of every process in every running container. Standard library only."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional

from clawkeep.collector import docker, proc
from clawkeep.collector.recorder import Recorder
from clawkeep_host.agents import name_of

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
LIMITS = ("memory.max", "memory.swap.max", "cpu.max", "pids.max")
CGROUPS = "/sys/fs/cgroup"
SETTLE_SECONDS = 45.0  # a container runtime's own helper, root until it execs, is waited for this long
POLL_SECONDS = 0.4


def _read(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n")
    except OSError:
        return None


def namespaces(pid: object) -> Dict[str, int]:
    """The inode numbers of the namespaces of `pid`, as far as they can be read."""
    found = {}
    for name in NAMESPACES:
        try:
            found[name] = os.stat("/proc/%s/ns/%s" % (pid, name)).st_ino
        except OSError:
            continue
    return found


def cgroup_of(pid: object) -> Optional[str]:
    """The path of the cgroup v2 of `pid` below the hierarchy's root; None on cgroup v1."""
    for line in (_read("/proc/%s/cgroup" % pid) or "").splitlines():
        if line.startswith("0::"):
            return line[3:]
    return None


def status_of(pid: int) -> Dict[str, str]:
    """The fields of `/proc/<pid>/status`; empty for a process that has ended, reaped or not."""
    fields = proc.status(pid)
    return {} if fields.get("State", "Z")[:1] in "ZX" else fields


def process(pid: int) -> Optional[Dict[str, Any]]:
    """The identity and the limits of one process; None when it has ended, even while it was looked at."""
    fields = status_of(pid)
    if not fields:
        return None
    try:
        executable = os.readlink("/proc/%d/exe" % pid)
    except OSError:
        executable = ""
    label = _read("/proc/%d/attr/apparmor/current" % pid)
    seen = namespaces(pid)
    if not status_of(pid):
        return None
    return {
        "pid": pid,
        "name": fields.get("Name", ""),
        "executable": executable,
        "uids": [int(word) for word in fields.get("Uid", "").split()],
        "gids": [int(word) for word in fields.get("Gid", "").split()],
        "groups": [int(word) for word in fields.get("Groups", "").split()],
        "capabilities": {
            name: fields.get(key, "")
            for name, key in (
                ("inheritable", "CapInh"),
                ("permitted", "CapPrm"),
                ("effective", "CapEff"),
                ("bounding", "CapBnd"),
                ("ambient", "CapAmb"),
            )
        },
        "no_new_privileges": fields.get("NoNewPrivs", ""),
        "seccomp": fields.get("Seccomp", ""),
        "label": label if label is not None else _read("/proc/%d/attr/current" % pid),
        "namespaces": seen,
    }


def is_runtime_helper(one: Dict[str, Any]) -> bool:
    """Whether a process is the runtime on its way into the container: each exec and health check begins as one."""
    return one["name"].startswith("runc") or "runc" in one["executable"] or one["executable"].endswith("/crun")


def members(init: int, group: Optional[str], host: Dict[str, int]) -> List[Dict[str, Any]]:
    """The processes of the container with the first process `init`: those in its cgroup, and those that joined its
    namespaces from elsewhere (nsenter), unless it shares these with the host anyway.
    """
    own = namespaces(init)
    marks = {name: own.get(name) for name in ("pid", "mnt") if own.get(name) not in (None, host.get(name))}
    found = []
    for pid in proc.pids():
        place = cgroup_of(pid)
        inside = group is not None and place is not None and (place == group or place.startswith(group + "/"))
        if not inside and place != "/":  # kernel threads live in the root cgroup
            joined = namespaces(pid) if marks else {}
            inside = any(joined.get(name) == inode for name, inode in marks.items())
        one = process(pid) if inside else None
        if one is not None:
            found.append(one)
    return found


def limits(group: Optional[str]) -> Optional[Dict[str, Optional[str]]]:
    """The live limits of a cgroup, as its files spell them."""
    if not group or group == "/":
        return None
    return {name: _read(CGROUPS + group + "/" + name) for name in LIMITS}


def observe(init: int, host: Dict[str, int]) -> Dict[str, Any]:
    """One container's processes, once no runtime helper is on its way into it (or none has left in time)."""
    group = cgroup_of(init)
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        found = members(init, group, host)
        helpers = [one["pid"] for one in found if is_runtime_helper(one)]
        if not helpers or time.monotonic() > end:
            return {"cgroup": group, "limits": limits(group), "processes": found}
        _await_exec(helpers, end)


def _await_exec(helpers: List[int], end: float) -> None:
    """Wait until each of the runtime's helpers has become what it was sent for, or is gone; a glance costs little."""
    time.sleep(POLL_SECONDS)
    while time.monotonic() < end and any(map(is_runtime_helper, filter(None, map(process, helpers)))):
        time.sleep(POLL_SECONDS)


def collect(rec: Recorder) -> None:
    """Record the processes of all running containers and the namespaces of the host to compare with."""
    host = namespaces(1)
    rec.note("host-namespaces", host)
    rec.note("container-processes", {name_of(one): observe(one["State"]["Pid"], host) for one in docker.running(rec)})
