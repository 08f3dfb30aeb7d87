"""What the container engine says of its containers and volumes, and who may speak to it.

Standard library only.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import threading
import weakref
from typing import Any, Dict, FrozenSet, List, Mapping, Sequence

from clawkeep.collector import api, others, proc
from clawkeep.collector.recorder import Recorder
from clawkeep_host import files, foreign_json
from clawkeep_host.agents import among, name_of

ENGINE_SOCKETS = (
    api.SOCKET,
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
    "/run/buildkit/buildkitd.sock",
)
DESKTOP_SETTINGS = (
    ".docker/desktop/settings-store.json",
    ".docker/desktop/settings.json",
    "Library/Group Containers/group.com.docker/settings-store.json",
    "Library/Group Containers/group.com.docker/settings.json",
)
MOST_SETTINGS = 1 << 20  # bytes
SERVICE_UID = 1000  # OpenClaw's images run as this uid; the tier may say otherwise


def service_uid(rec: Recorder) -> int:
    """The uid and gid that agent processes shall have, by the tier that the controller sends."""
    tier = rec.parameters.get("tier") or {}
    return int(tier.get("openclaw_uid") or SERVICE_UID)


def running(rec: Recorder) -> List[Dict[str, Any]]:
    """The containers that have a process."""
    return [one for one in api.containers(rec) if (one.get("State") or {}).get("Pid")]


_lock = threading.Lock()
_agents: "weakref.WeakKeyDictionary[Recorder, FrozenSet[str]]" = weakref.WeakKeyDictionary()


def agent_names(rec: Recorder) -> FrozenSet[str]:
    """The names of the agents' containers on this host, stopped ones too; looked for once."""
    containers = api.containers(rec)
    with _lock:
        if rec not in _agents:
            _agents[rec] = among(containers, process_names(containers))
        return _agents[rec]


def agents(rec: Recorder) -> List[Dict[str, Any]]:
    """The agents' containers that have a process."""
    known = agent_names(rec)
    return [one for one in running(rec) if name_of(one) in known]


def agent_pid(rec: Recorder) -> int:
    """The first process of the first agent's container, by its number on the host; 0 when none runs."""
    return next((int((one.get("State") or {}).get("Pid") or 0) for one in agents(rec)), 0)


def process_names(containers: Sequence[Mapping[str, Any]]) -> Dict[str, List[str]]:
    """The names of the processes in each container's cgroup, by the container's name."""
    names = {str(one["Id"]): name_of(one) for one in containers if one.get("Id")}
    found: Dict[str, List[str]] = {}
    for pid in proc.pids():
        identity = re.search(r"[0-9a-f]{64}", proc.cgroup(pid))
        if identity and identity.group() in names:
            comm = proc.read("/proc/%d/comm" % pid) or ""
            found.setdefault(names[identity.group()], []).append(comm.rstrip("\n"))
    return found


def exec_sessions(found: List[Dict[str, Any]]) -> Dict[str, List[Dict[str, Any]]]:
    """The live exec sessions by container: pid, user and whether privileged. Their arguments may hold secrets."""
    sessions: Dict[str, List[Dict[str, Any]]] = {}
    for container in found:
        for identity in container.get("ExecIDs") or []:
            try:
                session = api.get("/exec/%s/json" % identity)
            except (OSError, ValueError):  # it ended meanwhile
                continue
            if isinstance(session, dict) and session.get("Running"):
                process = session.get("ProcessConfig") or {}
                shown = {name: process.get(name) for name in ("user", "privileged")}
                sessions.setdefault(name_of(container), []).append({"pid": session.get("Pid"), **shown})
    return sessions


def ping(path: str) -> str:
    """`answered` when something behind the unix socket `path` talks at all, otherwise the name of the errno."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect(path)
            client.sendall(b"GET /_ping HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return "answered" if client.recv(64) else "closed"
    except socket.timeout:
        return "silent"
    except OSError as problem:
        return errno.errorcode.get(problem.errno or 0, str(problem))


def engine_access(rec: Recorder) -> Dict[str, Any]:
    """Per engine socket that exists here: what root (the control experiment) and the service uid get from it."""
    present = [path for path in ENGINE_SOCKETS if os.path.exists(path)]
    uid = service_uid(rec)
    answers = others.ask(rec, [{"uid": uid, "do": "connect", "path": path} for path in present])
    return {
        "uid": uid,
        "sockets": {path: {"root": ping(path), "service": answers[n]} for n, path in enumerate(present)},
    }


def desktop_sharing() -> Dict[str, Any]:
    """What Docker Desktop shares into its Linux VM, by settings file; empty on a host without Desktop."""
    bases = [base for base in ("/home", "/Users") if os.path.isdir(base)]
    homes = ["/root", *(os.path.join(base, name) for base in bases for name in os.listdir(base))]
    shared: Dict[str, Any] = {}
    for path in (os.path.join(home, name) for home in homes for name in DESKTOP_SETTINGS):
        try:
            text = files.content_beneath("/", path, MOST_SETTINGS).decode("utf-8", "replace")  # of whoever lives there
            settings = {key.lower(): value for key, value in foreign_json.loads(text).items()}
        except (OSError, ValueError, AttributeError):
            continue
        shared[path] = settings.get("filesharingdirectories")
    return shared


def collect(rec: Recorder) -> None:
    """Record the containers, the volumes, exec sessions and who reaches the engine's sockets."""
    found = api.containers(rec)
    api.volumes(rec)
    rec.note("docker-execs", exec_sessions(found))
    rec.note("engine-access", engine_access(rec))
    rec.note("desktop-sharing", desktop_sharing())
