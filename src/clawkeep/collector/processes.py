"""What the kernel says of every process in every running container. Standard library only."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Iterable, List, Optional

from clawkeep.collector import docker, proc
from clawkeep.collector.recorder import Recorder
from clawkeep_host.agents import name_of

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
JOINED = ("pid", "mnt")  # whoever has joined one of these is inside
LIMITS = ("memory.max", "memory.swap.max", "cpu.max", "pids.max")
CGROUPS = "/sys/fs/cgroup"
SETTLE_SECONDS = 45.0  # a container runtime's own helper, root until it execs, is waited for this long
POLL_SECONDS = 0.4


def _read(path: str) -> Optional[str]:
    text = proc.read(path)
    return None if text is None else text.strip("\0\n")


def namespaces(task: object, names: Iterable[str] = NAMESPACES) -> Dict[str, int]:
    """The inode numbers of the namespaces of `task` (`PID`, or `PID/task/TID`), as far as they can be read."""
    found = {}
    for name in names:
        try:
            found[name] = os.stat("/proc/%s/ns/%s" % (task, name)).st_ino
        except OSError:
            continue
    return found


def cgroup_of(pid: int) -> Optional[str]:
    """The path of the cgroup v2 of `pid` below the hierarchy's root; None on cgroup v1."""
    return proc.cgroup(pid) or None


def threads(pid: int) -> List[int]:
    """The threads of a process, its first one first; empty when it is gone."""
    try:
        return sorted(int(name) for name in os.listdir("/proc/%d/task" % pid))
    except OSError:
        return []


def status_of(task: object) -> Dict[str, str]:
    """The fields of the `status` of `task` (`PID`, or `PID/task/TID`); empty when it has ended, reaped or not."""
    fields = proc.fields(proc.read("/proc/%s/status" % task) or "")
    return {} if fields.get("State", "Z")[:1] in "ZX" else fields


def process(pid: int) -> Optional[Dict[str, Any]]:
    """The identity and the limits of one process; None when it has ended, even while it was looked at."""
    return next(iter(identities(pid)), None)


def identities(pid: int) -> List[Dict[str, Any]]:
    """What one process is to the kernel, which knows threads alone: one identity, and further ones of other threads.

    A thread may have ids, capabilities, filters and namespaces of its own, and go on when the first one has ended.
    """
    found: List[Dict[str, Any]] = []
    for number in threads(pid):
        one = _identity(pid, number)
        if one is not None and not any(dict(one, pid=known["pid"], name=known["name"]) == known for known in found):
            found.append(one)
    return found


def _identity(pid: int, thread: int) -> Optional[Dict[str, Any]]:
    task = "%d/task/%d" % (pid, thread)
    fields = status_of(task)
    if not fields:
        return None
    try:
        executable = os.readlink("/proc/%s/exe" % task)
    except OSError:
        executable = ""
    label = _read("/proc/%s/attr/apparmor/current" % task)
    seen = namespaces(task)
    if not status_of(task):
        return None
    return {
        "pid": thread,
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
        "label": label if label is not None else _read("/proc/%s/attr/current" % task),
        "namespaces": seen,
    }


def is_runtime_helper(one: Dict[str, Any]) -> bool:
    """Whether a process is the runtime on its way into the container: each exec and health check begins as one."""
    return one["name"].startswith("runc") or "runc" in one["executable"] or one["executable"].endswith("/crun")


def members(init: int, group: Optional[str], host: Dict[str, int]) -> List[Dict[str, Any]]:
    """The processes of the container with the first process `init`: those in its cgroup, and those of which a thread
    joined its namespaces from elsewhere (nsenter), unless it shares these with the host anyway.
    """
    own = next(filter(None, (namespaces("%d/task/%d" % (init, number)) for number in threads(init))), {})
    marks = {name: own[name] for name in JOINED if own.get(name) not in (None, host.get(name))}
    found = []
    for pid in proc.pids():
        if proc.is_kernel_thread(pid):
            continue
        place = cgroup_of(pid)
        inside = group is not None and place is not None and (place == group or place.startswith(group + "/"))
        if inside or _has_joined(pid, marks):
            found += identities(pid)
    return found


def _has_joined(pid: int, marks: Dict[str, int]) -> bool:
    for number in threads(pid) if marks else ():
        joined = namespaces("%d/task/%d" % (pid, number), marks)
        if any(joined.get(name) == inode for name, inode in marks.items()):
            return True
    return False


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
