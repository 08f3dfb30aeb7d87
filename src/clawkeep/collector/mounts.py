"""What host paths containers hold, and what lies on their file systems.

Standard library only.
"""

from __future__ import annotations

import itertools
import os
import pwd
import re
import stat
import threading
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from clawkeep.collector import api, docker, proc
from clawkeep.collector.experiments import inside
from clawkeep.collector.experiments.canaries import Canaries
from clawkeep.collector.privileged import privileged_files
from clawkeep.collector.recorder import Recorder
from clawkeep.collector.trees import reads, tree
from clawkeep_host import files
from clawkeep_host.agents import name_of

KERNEL_FILESYSTEMS = (
    "bpf",
    "cgroup",
    "cgroup2",
    "debugfs",
    "devpts",
    "mqueue",
    "proc",
    "securityfs",
    "sysfs",
    "tracefs",
)
PROJECT = "/etc/clawkeep/openclaw"  # where role openclaw keeps what it renders
STATE = "/home/node/.openclaw"  # where a container sees the agent's own volumes
SENSITIVE_DIRECTORIES = ("/etc", "/root", "/home", "/boot", "/run", "/var/lib/docker")
SENSITIVE_NAMES = (".ssh", ".aws", ".config", ".kube", ".gnupg", ".docker", ".netrc")
MOST_NAMES = 20  # sensitive names that are told of one source
SOURCE_ENTRIES = 200_000  # of one source, in which sensitive names are looked for
SOURCES_SECONDS = 10.0  # for all sources together
MOST_MOUNTINFO = 8_000_000  # bytes
MOST_DEVICES = 10_000


def mountinfo(pid: object) -> List[str]:
    """The lines of `/proc/<pid>/mountinfo`, its bytes as `os.fsdecode` has them; empty when the process has gone.

    The kernel escapes a line's end in a path, and no other character that parts lines in Python.
    """
    try:
        text = os.fsdecode(files.content("/proc/%s/mountinfo" % pid, MOST_MOUNTINFO))
    except OSError:
        return []
    return [line for line in text.split("\n") if line]


def kind(path: str) -> str:
    """What lies at `path`: `directory`, `file`, `socket`, `device`, `other` or `absent`."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return "absent"
    tests = (("directory", stat.S_ISDIR), ("file", stat.S_ISREG), ("socket", stat.S_ISSOCK), ("device", stat.S_ISCHR))
    return next((name for name, test in tests if test(mode)), "other")


def sources(found: List[Dict[str, Any]], volumes: List[Dict[str, Any]]) -> Dict[str, Dict[str, Any]]:
    """Every path that a container or a volume names as a source: the real path behind it, its kind, and where in it
    something with a sensitive name lies (`holds`, as far as MOST_NAMES; `complete` is there and false when not all of
    it was looked at). The engine's own volumes are not looked into: what is in them the containers put there.
    """
    named = [mount for one in found for mount in one.get("Mounts") or []]
    brought = {str(mount.get("Source") or "") for mount in named if mount.get("Type") != "volume"}
    brought |= {
        str(bind).split(":", 1)[0] for one in found for bind in (one.get("HostConfig") or {}).get("Binds") or []
    }
    brought |= {str((volume.get("Options") or {}).get("device") or "") for volume in volumes}
    paths = brought | {str(mount.get("Source") or "") for mount in named}
    points = list(mount_points(mountinfo("1")))
    end = time.monotonic() + SOURCES_SECONDS
    described: Dict[str, Dict[str, Any]] = {}
    for path in sorted(path for path in paths if path.startswith("/")):
        real = os.path.realpath(path)
        described[path] = {"real": real, "kind": kind(real), "holds": []}
        if path in brought and described[path]["kind"] == "directory":
            holds, complete = sensitive_names(real, points, end)
            described[path].update({"holds": holds}, **({} if complete else {"complete": False}))
    return described


def sensitive_names(root: str, points: List[str], end: float) -> Tuple[List[str], bool]:
    """Where below `root`, and below what is mounted in it, something has a sensitive name; whether that is all."""
    inner = [point for point in points if point.startswith(root.rstrip("/") + "/")]
    found: List[str] = []
    complete = True
    for place in [root, *inner]:
        walk = files.Walk(place, entries=SOURCE_ENTRIES)
        try:
            for entry in walk:
                if entry.name in SENSITIVE_NAMES:
                    found.append(proc.shown(os.path.relpath(os.path.join(place, entry.path), root)))
                if len(found) >= MOST_NAMES or time.monotonic() > end:
                    return sorted(set(found)), False
        except (NotADirectoryError, FileNotFoundError):
            continue  # a file that is mounted, or something else over it
        except OSError:
            complete = False
        complete = complete and walk.complete
    return sorted(set(found)), complete


def mount_points(lines: List[str]) -> Iterator[str]:
    """The mount points in `lines` that hold files of their own, unescaped."""
    for line in lines:
        head, _, tail = line.partition(" - ")
        fields = head.split(" ")
        if len(fields) > 4 and tail.split(" ")[0] not in KERNEL_FILESYSTEMS:
            yield re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), fields[4])


def state_trees(agents: List[Dict[str, Any]]) -> List[str]:
    """The volumes of agent containers, by their directories on this host."""
    roots = [
        str(mount.get("Source"))
        for one in agents
        for mount in one.get("Mounts") or []
        if mount.get("Type") == "volume" and mount.get("RW")
    ]
    return sorted(set(roots))


def homes() -> List[str]:
    """The home directories of root and of the accounts of people."""
    return sorted({entry.pw_dir for entry in pwd.getpwall() if entry.pw_uid == 0 or 1000 <= entry.pw_uid < 60000})


def sensitive_directories() -> List[str]:
    """The directories of this host from which no file may be seen in a container."""
    private = [os.path.join(home, name) for home in homes() for name in SENSITIVE_NAMES]
    return [path for path in [*SENSITIVE_DIRECTORIES, *private] if os.path.isdir(path)]


def own_volumes(container: Dict[str, Any]) -> List[str]:
    """Where the volumes of the agent's own state lie, which it is known to see; of another one nothing is known."""
    return [
        str(mount.get("Source"))
        for mount in container.get("Mounts") or []
        if mount.get("Type") == "volume" and mount.get("RW") and str(mount.get("Destination")).startswith(STATE)
    ]


def collect(rec: Recorder) -> None:
    """Record mount tables, sources, devices, privileged files and state trees, and run the probe inside the agents."""
    found = api.containers(rec)
    alive = docker.running(rec)
    tables = {name_of(one): mountinfo(one["State"]["Pid"]) for one in alive}
    rec.note("host-mountinfo", [proc.shown(line) for line in mountinfo("1")])
    rec.note("container-mountinfo", {name: [proc.shown(line) for line in lines] for name, lines in tables.items()})
    rec.note("mount-sources", sources(found, api.volumes(rec)))
    agents = docker.agents(rec)
    workspaces = sorted({source for one in agents for source in own_volumes(one)})
    pids = {name_of(one): one["State"]["Pid"] for one in agents}
    search = threading.Thread(target=_search, args=(rec, pids, tables), daemon=True)
    search.start()
    with Canaries(sensitive_directories() if agents else [], workspaces) as canaries:
        rec.note(
            "canaries",
            {kind: [path for path in places if path in canaries.planted] for kind, places in canaries.places.items()},
        )
        inside.collect(rec, canaries.name)
    rec.note("container-devices", {name: devices(pid) for name, pid in pids.items()})
    every_agent = [one for one in found if name_of(one) in docker.agent_names(rec)]
    trees = [*(tree(root, False) for root in state_trees(every_agent)), tree(PROJECT, True)]
    rec.note("state-trees", trees)
    rec.note("state-reads", reads(rec, trees, docker.service_uid(rec)))
    search.join()


def _search(rec: Recorder, pids: Dict[str, int], tables: Dict[str, List[str]]) -> None:
    found = {name: privileged_files(rec, pid, mount_points(tables[name])) for name, pid in pids.items()}
    rec.note("privileged-files", found)


def devices(pid: int) -> Optional[List[str]]:
    """The names in the container's /dev; None when it cannot be read."""
    try:
        folder = files.pin_beneath("/proc/%d/root" % pid, "/dev")
        try:
            with os.scandir("/proc/self/fd/%d" % folder) as listing:
                return sorted(proc.shown(one.name) for one in itertools.islice(listing, MOST_DEVICES))
        finally:
            os.close(folder)
    except OSError:
        return None
