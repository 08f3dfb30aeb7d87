"""What host paths containers hold, what lies on their file systems, and who may read agent state.

Standard library only.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
import struct
import threading
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from clawkeep.collector import api, docker, others
from clawkeep.collector.experiments import inside
from clawkeep.collector.recorder import Recorder
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
SEARCH_SECONDS = 60
TREE_ENTRIES = 50_000  # a larger state tree is recorded as not read to its end
TREE_SECONDS = 20.0
READS = 40  # files per tree that are tried as another uid, the likely secrets first
SECRET_FILE = re.compile(r"\.sqlite|\.env$|\.json5?$|\.key$|\.pem$|credential|auth|token", re.I)
ACL_TAGS = {0x01: "user", 0x02: "user", 0x04: "group", 0x08: "group", 0x10: "mask", 0x20: "other"}


def mountinfo(pid: object) -> List[str]:
    """The lines of `/proc/<pid>/mountinfo`; empty when the process has gone."""
    try:
        with open("/proc/%s/mountinfo" % pid, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().encode("utf-8", "replace").decode().splitlines()
    except OSError:
        return []


def kind(path: str) -> str:
    """What lies at `path`: `directory`, `file`, `socket`, `device`, `other` or `absent`."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return "absent"
    tests = (("directory", stat.S_ISDIR), ("file", stat.S_ISREG), ("socket", stat.S_ISSOCK), ("device", stat.S_ISCHR))
    return next((name for name, test in tests if test(mode)), "other")


def sources(found: List[Dict[str, Any]], volumes: List[Dict[str, Any]]) -> Dict[str, Dict[str, Any]]:
    """Every path that a container or a volume names as a source: the real path behind it, its kind, and which
    sensitive names lie directly in it.
    """
    paths = {str(mount.get("Source") or "") for one in found for mount in one.get("Mounts") or []}
    paths |= {str(bind).split(":", 1)[0] for one in found for bind in (one.get("HostConfig") or {}).get("Binds") or []}
    paths |= {str((volume.get("Options") or {}).get("device") or "") for volume in volumes}
    described = {}
    for path in sorted(path for path in paths if path.startswith("/")):
        real = os.path.realpath(path)
        try:
            holds = sorted(set(os.listdir(real)) & set(SENSITIVE_NAMES))
        except OSError:
            holds = []
        described[path] = {"real": real, "kind": kind(real), "holds": holds}
    return described


def mount_points(lines: List[str]) -> Iterator[str]:
    """The mount points in `lines` that hold files of their own, unescaped."""
    for line in lines:
        head, _, tail = line.partition(" - ")
        if tail.split(" ")[0] not in KERNEL_FILESYSTEMS:
            yield re.sub(r"\\(\d{3})", lambda octal: chr(int(octal.group(1), 8)), head.split(" ")[4])


def privileged_files(rec: Recorder, pid: int, lines: List[str]) -> Dict[str, Any]:
    """The files in a container that change who runs them: {"files": [[path, mode, owner, has capabilities]], "error"}.

    Searched from the host, as root, through the container's own mounts: no directory is closed to us.
    """
    root = "/proc/%d/root" % pid
    roots = [root + point for point in mount_points(lines) if os.path.isdir(root + point)]
    argv = ["find", *roots, "-ignore_readdir_race", "-xdev", "-type", "f", "-perm", "/6111", "-printf", "%m %U %p\\0"]
    result = rec.run("", argv, timeout=SEARCH_SECONDS, keep=False)
    files = []
    executables = {line for line in result.text.split("\0") if line}  # mounts of one device are walked twice
    for line in executables:
        mode, owner, path = line.split(" ", 2)
        try:
            capable = bool(os.getxattr(path, "security.capability", follow_symlinks=False))
        except OSError:
            capable = False
        if capable or int(mode, 8) & 0o6000:
            files.append([path[len(root) :], mode, int(owner), capable])
    error = result.error
    if error is None and result.status != 0:
        error = "find ended with status %s" % result.status
    return {"files": sorted(files), "executables": len(executables), "error": error}


def acl(path: str) -> List[str]:
    """The entries of the access and default ACL of `path` as getfacl spells them; empty when modes say it all."""
    entries = []
    for name, prefix in (("system.posix_acl_access", ""), ("system.posix_acl_default", "default:")):
        try:
            raw = os.getxattr(path, name, follow_symlinks=False)
        except OSError:
            continue
        for tag, permissions, identity in struct.iter_unpack("<HHI", raw[4 : 4 + (len(raw) - 4) // 8 * 8]):
            who = str(identity) if tag in (0x02, 0x08) else ""
            bits = "".join(letter if permissions & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
            entries.append("%s%s:%s:%s" % (prefix, ACL_TAGS.get(tag, str(tag)), who, bits))
    return entries


def describe(path: str, name: str) -> Optional[Dict[str, Any]]:
    """One entry of a tree; None when it has gone."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    letters = {stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFLNK: "l", stat.S_IFSOCK: "s", stat.S_IFIFO: "p"}
    entry: Dict[str, Any] = {
        "path": name,
        "kind": letters.get(stat.S_IFMT(status.st_mode), "?"),
        "mode": "%04o" % stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
    if entry["kind"] == "l":
        entry["target"] = os.readlink(path)
    else:
        rules = acl(path)
        if rules:
            entry["acl"] = rules
    if entry["kind"] == "f" and status.st_nlink > 1:
        entry["links"] = status.st_nlink
    return entry


def is_open(entry: Dict[str, Any], owner: int) -> bool:
    """Whether an entry is anything but a plain file or directory that its owner alone may use."""
    return (
        entry["kind"] not in ("d", "f")
        or int(entry["mode"], 8) & 0o7077 != 0
        or "acl" in entry
        or "links" in entry
        or entry["uid"] != owner
    )


def tree(root: str, everything: bool) -> Dict[str, Any]:
    """The tree at `root`, walked without following links or crossing into another file system.

    `entries` holds the root (as `.`) and `everything`, or, so that a large workspace stays small here, the entries that
    are open in the sense of `is_open`; `counted` says how many were looked at, `files` names some to try to read.
    """
    end = time.monotonic() + TREE_SECONDS
    top = describe(root, ".")
    result: Dict[str, Any] = {"root": root, "entries": [], "files": [], "counted": 0, "complete": False}
    if top is None:
        return result
    result["entries"].append(top)
    device = os.lstat(root).st_dev
    stack = [(root, "")] if top["kind"] == "d" else []
    files: List[Tuple[bool, str]] = []
    while stack:
        directory, prefix = stack.pop()
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            if result["counted"] >= TREE_ENTRIES or time.monotonic() > end:
                return result
            path = os.path.join(directory, name)
            entry = describe(path, prefix + name)
            if entry is None:
                continue
            result["counted"] += 1
            if everything or is_open(entry, top["uid"]):
                result["entries"].append(entry)
            if entry["kind"] == "d" and os.lstat(path).st_dev == device:
                stack.append((path, prefix + name + "/"))
            elif entry["kind"] == "f":
                files.append((not SECRET_FILE.search(name), prefix + name))
    result["files"] = [name for _, name in sorted(files)[:READS]]
    result["complete"] = True
    return result


def state_trees(agents: List[Dict[str, Any]]) -> List[str]:
    """The volumes of agent containers, by their directories on this host."""
    roots = [
        str(mount.get("Source"))
        for one in agents
        for mount in one.get("Mounts") or []
        if mount.get("Type") == "volume" and mount.get("RW")
    ]
    return sorted(set(roots))


def reads(rec: Recorder, trees: List[Dict[str, Any]], service: int) -> List[Dict[str, Any]]:
    """What the service uid and a stranger get when they open the files of each tree."""
    try:
        stranger = pwd.getpwnam("nobody").pw_uid
    except KeyError:
        stranger = 65534
    requests = [
        {"do": "read", "tree": one["root"], "path": path, "uid": uid}
        for one in trees
        for path in [".", *one["files"]]
        for uid in (service, stranger)
    ]
    answers = others.ask(rec, requests)
    return [
        {
            "tree": request["tree"],
            "path": request["path"],
            "as": "service" if request["uid"] == service else "stranger",
            "got": answers[number],
        }
        for number, request in enumerate(requests)
    ]


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


class Canaries:
    """Empty files with a random name, laid into sensitive directories and the agent's workspace while a probe looks."""

    def __init__(self, sensitive: List[str], workspaces: List[str]) -> None:
        """Choose the name; the places are directories."""
        self.name = ".clawkeep-canary-" + os.urandom(6).hex()
        self.places = {"sensitive": sensitive, "workspaces": workspaces}
        self.planted: List[str] = []

    def __enter__(self) -> "Canaries":
        """Lay them; a directory that takes none (a read-only /boot) is left out."""
        for directory in [*self.places["sensitive"], *self.places["workspaces"]]:
            try:
                os.close(os.open(os.path.join(directory, self.name), os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644))
            except OSError:
                continue
            self.planted.append(directory)
        return self

    def __exit__(self, *_: object) -> None:
        """Take all of them away again."""
        for directory in self.planted:
            try:
                os.unlink(os.path.join(directory, self.name))
            except OSError:
                continue


def collect(rec: Recorder) -> None:
    """Record mount tables, sources, devices, privileged files and state trees, and run the probe inside the agents."""
    found = api.containers(rec)
    alive = docker.running(rec)
    tables = {name_of(one): mountinfo(one["State"]["Pid"]) for one in alive}
    rec.note("host-mountinfo", mountinfo("1"))
    rec.note("container-mountinfo", tables)
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
    rec.note("privileged-files", {name: privileged_files(rec, pid, tables[name]) for name, pid in pids.items()})


def devices(pid: int) -> Optional[List[str]]:
    """The names in the container's /dev; None when it cannot be read."""
    try:
        return sorted(os.listdir("/proc/%d/root/dev" % pid))
    except OSError:
        return None
