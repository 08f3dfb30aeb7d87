"""The container engine as it runs: its versions, processes, sockets, files, group and settings."""

from __future__ import annotations

import functools
import glob
import grp
import json
import os
import pwd
import socket
import threading
import time
from typing import Any, Dict, List, Set

from clawkeep.collector import api, proc
from clawkeep.collector.recorder import Recorder

STACK = ("dockerd", "containerd", "docker-proxy", "podman")
SHIM = "containerd-shim"
ENGINE_PORTS = (2375, 2376, 2377, 4789, 7946)
UNITS = ("docker.service", "docker.socket", "containerd.service")
SHOWN = "Id,Listen,ExecMainStartTimestamp"
FILES = (
    "/etc/docker",
    "/etc/docker/daemon.json",
    "/etc/docker/certs.d",
    "/etc/containerd",
    "/etc/containerd/config.toml",
    "/etc/default/docker",
    "/etc/systemd/system/docker.service.d",
    "/etc/systemd/system/docker.socket.d",
    "/etc/systemd/system/containerd.service.d",
    "/usr/lib/systemd/system/docker.service",
    "/usr/lib/systemd/system/docker.socket",
    "/usr/lib/systemd/system/containerd.service",
    "/run/docker",
    "/run/docker.sock",
    "/run/containerd",
    "/run/containerd/containerd.sock",
)
CONFIG = "/etc/docker/daemon.json"
PROBE_SECONDS = 3.0


def collect(rec: Recorder) -> None:
    """Ask the engine and the kernel; the slow commands run beside the walk through /proc."""
    asked = [
        threading.Thread(target=api.record, args=(rec, "docker-info", "/info", functools.partial(api.get, "/info"))),
        threading.Thread(
            target=rec.run,
            args=("engine-units", ["systemctl", "show", "--timestamp=unix", "--property=" + SHOWN, *UNITS]),
        ),
    ]
    for thread in asked:
        thread.start()
    running = processes()
    rec.note("engine-processes", running)
    rec.note("engine-sockets", sockets(running))
    rec.note("engine-ping", ping())
    rec.note("tcp-answers", answers())
    rec.note("engine-files", files(running))
    rec.note("engine-config", config())
    rec.note("engine-group", group())
    for thread in asked:
        thread.join()
    # Last: without an engine these two break off, and what the kernel tells is still told.
    rec.note("engine-version", api.get("/version"))
    rec.note("engine-images", [image.get("Id") for image in api.get("/images/json?all=1")])


def processes() -> List[Dict[str, Any]]:
    """The engine's processes: pid, name, the file they run and whether it was replaced under them, arguments."""
    found = []
    for pid in proc.pids():
        path, deleted = proc.executable(pid)
        name = os.path.basename(path)
        if name in STACK or name.startswith(SHIM):
            found.append({"pid": pid, "name": name, "exe": path, "deleted": deleted, "argv": proc.argv(pid)})
    return sorted(found, key=lambda process: process["pid"])


def _owners(running: List[Dict[str, Any]]) -> Dict[int, Dict[str, Any]]:
    daemons = [process for process in running if not process["name"].startswith((SHIM, "docker-proxy"))]
    return {inode: process for process in daemons for inode in proc.socket_inodes(process["pid"])}


def sockets(running: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Bound TCP and UDP sockets that an engine daemon holds, or that sit on a port known as an engine's."""
    owners = _owners(running)
    found = []
    for bound in proc.bound_sockets():
        owner = owners.get(bound["inode"])
        if owner is not None or bound["port"] in ENGINE_PORTS:
            found.append(dict(bound, owner=owner["name"] if owner else None))
    return found


def ping() -> Dict[str, Any]:
    """What the engine's own socket answers root: the control experiment of every refused connection."""
    try:
        status, version = api.ping()
    except (OSError, ValueError) as problem:
        return {"socket": api.SOCKET, "status": None, "problem": str(problem)}
    return {"socket": api.SOCKET, "status": status, "engine": version}


def answers() -> List[Dict[str, Any]]:
    """What every TCP listener of the host but sshd says to an engine's `GET /_ping`: a relay has any port and name."""
    holders: Dict[int, str] = {}
    listeners = [bound for bound in proc.bound_sockets() if bound["proto"].startswith("tcp")]
    wanted = {bound["inode"] for bound in listeners}
    for pid in proc.pids():
        held = wanted.intersection(proc.socket_inodes(pid))
        if held:
            name = proc.executable(pid)[0]
            holders.update({inode: name for inode in held if pid != 1 or inode not in holders})
    found: List[Dict[str, Any]] = []
    asking = []
    for bound in listeners:
        owner = holders.get(bound["inode"], "")
        answer = {"address": bound["address"], "port": bound["port"], "owner": owner, "says": "sshd, not asked"}
        found.append(answer)
        if os.path.basename(owner) not in ("sshd", "sshd-session"):
            asking.append(threading.Thread(target=_ask, args=(answer,), daemon=True))
            asking[-1].start()
    end = time.monotonic() + 2 * PROBE_SECONDS  # of all together: whoever listens chooses how slowly it speaks
    for thread in asking:
        thread.join(max(0.0, end - time.monotonic()))
    return found


def _ask(answer: Dict[str, Any]) -> None:
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(answer["address"], answer["address"])  # noqa: S104 - compared
    answer["says"] = "nothing"
    try:
        with socket.create_connection((target, answer["port"]), PROBE_SECONDS) as client:
            client.settimeout(PROBE_SECONDS)
            client.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            said = b""
            while len(said) < 2048:
                block = client.recv(2048)
                if not block:
                    break
                said += block
            answer["says"] = _meaning(said)
    except socket.timeout:
        answer["says"] = "nothing within %g s" % PROBE_SECONDS
    except OSError as problem:
        answer["says"] = "refused: %s" % (problem.strerror or problem)


def _meaning(said: bytes) -> str:
    low = said.lower()
    if b"api-version:" in low or b"server: docker" in low or b"libpod-api-version" in low:
        return "engine"
    if low.startswith(b"ssh-"):
        return "ssh"
    return "other" if said else "nothing"


def files(running: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Owner, mode and access list of the engine's files, of every Unix socket its daemons listen on, and of parents."""
    owners = _owners(running)
    paths: Set[str] = set(FILES)
    paths.update(process["exe"] for process in running if process["exe"] and not process["deleted"])
    listening = [path for inode, found in proc.unix_listeners().items() if inode in owners for path in found]
    paths.update(path for path in listening if path.startswith("/"))
    for folder in ("/etc/docker/certs.d", "/etc/systemd/system/*docker*.d", "/etc/systemd/system/containerd*.d"):
        paths.update(glob.glob(folder + "/**", recursive=True))
    real = {os.path.realpath(path) for path in paths}
    found: Dict[str, Dict[str, Any]] = {}
    for path in real:
        entry = proc.entry(path)
        while entry is not None and path not in found:
            found[path] = dict(entry, parent=path not in real)
            path = os.path.dirname(path)
            entry = proc.entry(path) if path != "/" else None
    return sorted(found.values(), key=lambda entry: str(entry["path"]))


def config() -> Dict[str, Any]:
    """daemon.json as it is on disk now: when it changed and what it says. None of it need be in force."""
    entry = proc.entry(CONFIG)
    if entry is None:
        return {"path": CONFIG, "present": False}
    found: Dict[str, Any] = {"path": CONFIG, "present": True, "changed": entry["changed"]}
    try:
        found["settings"] = json.loads(proc.read(CONFIG) or "")
    except ValueError as problem:
        found["problem"] = str(problem)
    return found


def group() -> Dict[str, Any]:
    """Who is in the group of the engine's socket: by name, by primary group, and with processes that still hold it."""
    try:
        gid = os.stat(api.SOCKET).st_gid
        socket_group = grp.getgrgid(gid).gr_name
    except (OSError, KeyError):
        gid, socket_group = -1, ""
    groups = [g for g in grp.getgrall() if g.gr_name == "docker" or (g.gr_gid == gid and gid > 0)]
    gids = {g.gr_gid for g in groups}
    host = _namespace(1)
    holders = []
    for pid in proc.pids():
        status = proc.status(pid)
        held = {int(word) for field in ("Groups", "Gid") for word in status.get(field, "").split()}
        uid = int(status.get("Uid", "0").split()[0])
        if uid and held & gids and _namespace(pid) == host:
            holders.append({"pid": pid, "uid": uid, "name": status.get("Name", "")})
    return {
        "socket-group": socket_group,
        "socket-gid": gid,
        "groups": sorted(g.gr_name for g in groups),
        "members": sorted({name for g in groups for name in g.gr_mem}),
        "primary": sorted(user.pw_name for user in pwd.getpwall() if user.pw_gid in gids),
        "processes": holders,
    }


def _namespace(pid: int) -> str:
    try:
        return os.readlink("/proc/%d/ns/mnt" % pid)
    except OSError:
        return ""
