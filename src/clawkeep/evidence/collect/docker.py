"""What the container engine says of its containers and volumes, and who may speak to it.

Standard library only.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
import threading
import weakref
from typing import Any, Dict, List

from . import others
from .core import Recorder

ALL_OF = 'ids=$(docker %s) || exit; if [ -n "$ids" ]; then exec docker %s $ids; else echo "[]"; fi'
ENGINE_SOCKETS = (
    "/run/docker.sock",
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
SERVICE_UID = 1000  # OpenClaw's images run as this uid; the tier may say otherwise

_lock = threading.Lock()
_Inspected = Dict[str, Any]
_containers: "weakref.WeakKeyDictionary[Recorder, List[_Inspected]]" = weakref.WeakKeyDictionary()
_volumes: "weakref.WeakKeyDictionary[Recorder, List[_Inspected]]" = weakref.WeakKeyDictionary()


def is_agent(container: Dict[str, Any]) -> bool:
    """Whether an inspected container runs agent work: by labels of Clawkeep or OpenClaw, by name or by project."""
    config = container.get("Config") or {}
    labels = config.get("Labels") or {}
    return (
        labels.get("clawkeep.role") in ("agent", "task")
        or "clawkeep.task" in labels
        or labels.get("openclaw.sandbox") == "1"
        or labels.get("com.docker.compose.project") == "openclaw"
        or container.get("Name") == "/openclaw"
    )


def name_of(container: Dict[str, Any]) -> str:
    """A container's name, by which everything else about it is recorded: it outlives the container's id."""
    return str(container.get("Name") or container.get("Id")).lstrip("/")


def service_uid(rec: Recorder) -> int:
    """The uid and gid that agent processes shall have, by the tier that the controller sends."""
    tier = rec.parameters.get("tier") or {}
    return int(tier.get("openclaw_uid") or SERVICE_UID)


def containers(rec: Recorder) -> List[Dict[str, Any]]:
    """Every container, stopped ones too, as `docker inspect` shows it; asked once, whichever part asks first."""
    with _lock:
        if rec not in _containers:
            script = ALL_OF % ("ps --all --quiet --no-trunc", "inspect --type container")
            found = rec.json("docker-containers", ["sh", "-c", script], timeout=60)
            _containers[rec] = [one for one in found or [] if isinstance(one, dict)] if isinstance(found, list) else []
        return _containers[rec]


def volumes(rec: Recorder) -> List[Dict[str, Any]]:
    """Every volume as `docker volume inspect` shows it; asked once."""
    with _lock:
        if rec not in _volumes:
            script = ALL_OF % ("volume ls --quiet", "volume inspect")
            found = rec.json("docker-volumes", ["sh", "-c", script], timeout=60)
            _volumes[rec] = [one for one in found or [] if isinstance(one, dict)] if isinstance(found, list) else []
        return _volumes[rec]


def running(rec: Recorder) -> List[Dict[str, Any]]:
    """The containers that have a process."""
    return [one for one in containers(rec) if (one.get("State") or {}).get("Pid")]


class _Engine(http.client.HTTPConnection):
    """HTTP over the engine's unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        """Open the socket instead of a TCP connection."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path: str, socket_path: str = ENGINE_SOCKETS[0]) -> Any:
    """The JSON that the engine API answers to GET `path`; None when it does not."""
    connection = _Engine(socket_path)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def exec_sessions(found: List[Dict[str, Any]]) -> Dict[str, List[Dict[str, Any]]]:
    """The live exec sessions by container: pid, user and whether privileged. Their arguments may hold secrets."""
    sessions: Dict[str, List[Dict[str, Any]]] = {}
    for container in found:
        for identity in container.get("ExecIDs") or []:
            session = ask("/exec/%s/json" % identity)
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
            with open(path, encoding="utf-8") as file:
                settings = {key.lower(): value for key, value in json.load(file).items()}
        except (OSError, ValueError, AttributeError):
            continue
        shared[path] = settings.get("filesharingdirectories")
    return shared


def collect(rec: Recorder) -> None:
    """Record the containers, the volumes, exec sessions and who reaches the engine's sockets."""
    found = containers(rec)
    volumes(rec)
    rec.note("docker-execs", exec_sessions(found))
    rec.note("engine-access", engine_access(rec))
    rec.note("desktop-sharing", desktop_sharing())
