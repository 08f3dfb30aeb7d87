"""A tier's gateway on the bench, ready and reached as the collector reaches one that an engine started."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clawkeep.base import repo
from clawkeep.base.repo import Repo
from clawkeep.collector import namespaces
from clawkeep.collector.experiments import gateways
from clawkeep.lab.bench import container as containers
from clawkeep.lab.bench import isolation
from clawkeep.lab.bench.changes import NONE, Changes, merge
from clawkeep.lab.bench.isolation import Mount
from clawkeep.lab.bench.rendering import SETTINGS, rendered
from clawkeep.lab.bench.tree import unpacked
from clawkeep.lab.errors import LabError
from clawkeep.lab.progress import say

STATE = "/home/node/.openclaw"
ON_HOST = f"/etc/clawkeep/openclaw/{SETTINGS}"  # where the role has what is bound into the container
READY_SECONDS = 120.0  # on a busy machine; a free one takes eight
_POLL = 0.1


@dataclass(frozen=True)
class Agent:
    """A gateway that answers; `container` is shaped like `docker inspect`, and it took `seconds` to be ready."""

    pid: int
    port: int
    container: Mapping[str, Any]
    folder: Path
    seconds: float

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / "output.log"

    @property
    def token_file(self) -> Path:
        """Its gateway.env: the dummy token, made for this run."""
        return self.folder / "gateway.env"

    @property
    def settings(self) -> Path:
        """Its openclaw.json."""
        return self.folder / SETTINGS


@contextmanager
def gateway(tier: str, changes: Changes = NONE, checkout: Repo | None = None) -> Iterator[Agent]:
    """Run the gateway of a tier for as long as this lasts; raises LabError when it does not become ready.

    Its files go with it. When anything fails meanwhile what it printed stays, and where is told.
    """
    made = rendered(checkout or repo.find(), tier, (tree := unpacked()).image.id)
    folder = Path(tempfile.mkdtemp(prefix="clawkeep-bench-"))
    try:
        environment = containers.variables(made.service, tree.config, _env_file(folder, changes))
        mounts = containers.volumes(made.service, tree, folder)
        uid = int(str(made.service["user"]).partition(":")[0])
        _settings(folder, made.settings, changes, uid)
        _files(mounts, changes, uid)
        mounts += containers.binds(made.service, {ON_HOST: folder / SETTINGS})
        wanted = containers.container(made.service, tree, environment, mounts)
        (folder / "work").mkdir(mode=0o700)
        began = time.monotonic()
        with isolation.running(wanted, folder / "work", folder / "output.log") as pid:
            inspect = containers.inspected(made.service, tree, environment, pid)
            port = gateways.port_of(inspect)
            if port is None:
                raise LabError(f"the gateway of {tier} publishes no port")
            _await_ready(pid, port, folder / "output.log")
            yield Agent(pid, port, inspect, folder, time.monotonic() - began)
    except Exception:
        _keep_log(folder)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _env_file(folder: Path, changes: Changes) -> str:
    """gateway.env as the host has it: a token of 32 random bytes, and what is changed."""
    pairs = {gateways.VARIABLE: secrets.token_hex(32), **changes.environment}
    text = "".join(f"{name}={value}\n" for name, value in pairs.items())
    path = folder / "gateway.env"
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return text


def _settings(folder: Path, text: str, changes: Changes, uid: int) -> None:
    path = folder / SETTINGS
    if changes.settings:
        text = json.dumps(merge(json.loads(text), changes.settings), indent=2)
    path.write_text(text, encoding="utf-8")
    os.chown(path, uid, uid)
    path.chmod(0o400)


def _files(mounts: list[Mount], changes: Changes, uid: int) -> None:
    """Write the files below the state folder, each in the volume that is mounted deepest above it."""
    for name, text in changes.files.items():
        target = f"{STATE}/{name}"
        above = [one for one in mounts if target.startswith(f"{one.target}/")]
        volume = max(above, key=lambda one: len(one.target))
        path = volume.source / target.removeprefix(f"{volume.target}/")
        missing = [one for one in path.parents if not one.exists()]
        for one in (*reversed(missing), path):
            one.write_text(text, encoding="utf-8") if one == path else one.mkdir()
            one.chmod(0o600 if one == path else 0o700)
            os.chown(one, uid, uid)


def _await_ready(pid: int, port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            raise LabError(f"the gateway ended at its start: {isolation.last_line(log)}")
        if _healthy(pid, port):
            return
        time.sleep(_POLL)
    raise LabError(f"the gateway was not ready within {READY_SECONDS:.0f} s: {isolation.last_line(log)}")


def _healthy(pid: int, port: int) -> bool:
    def ask() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.client.OK
        finally:
            connection.close()

    try:
        return namespaces.in_network_of(pid, ask)
    except (OSError, http.client.HTTPException):
        return False


def _keep_log(folder: Path) -> None:
    log = folder / "output.log"
    if log.exists() and log.stat().st_size:
        kept = Path(tempfile.gettempdir(), f"{folder.name}.log")
        shutil.copyfile(log, kept)
        say(f"lab: what the gateway printed is in {kept}")
