"""The agents' containers, whatever they are called: found, and each taken out of life in steps of its own."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from clawkeep_host import agents, engine_api
from clawkeep_host.engine_api import EngineError

ENDED = ("created", "exited", "dead", "removing")  # states without a process
NEVER = {"Name": "no"}
GONE = 404
SECONDS = engine_api.SECONDS


@dataclass(frozen=True)
class Container:
    """A container with agent work, as the engine's list tells it; that list comes even while one container hangs."""

    id: str
    name: str
    role: str
    state: str  # the engine's word
    networks: tuple[str, ...] = ()  # names

    @property
    def running(self) -> bool:
        """Whether it has a process, frozen or not; one of an unknown state counts as running."""
        return self.state not in ENDED


@dataclass(frozen=True)
class Inspection:
    """A container's settings as the engine tells them, environment values taken out, and its restart policy."""

    settings: dict[str, Any]
    restart: dict[str, Any]
    environment: tuple[str, ...]  # names of its variables
    passing: bool  # removed by the engine as soon as it has ended

    @property
    def restarts(self) -> bool:
        """Whether the engine would start it again."""
        return self.restart.get("Name", "no") not in ("", "no")


def containers(roles: Collection[str]) -> list[Container]:
    """Every container that is an agent's, running or not, and every other whose label is one of `roles`.

    With no `roles` any label of Clawkeep's counts.
    """
    listed = json.loads(engine_api.ask("GET", "/containers/json?all=true"))
    known = agents.among([_as_inspected(row) for row in listed])
    found = []
    for row in listed:
        role = (row.get("Labels") or {}).get(agents.ROLE, "")
        name = _name(row)
        if name in known or (role in roles if roles else role):
            networks = ((row.get("NetworkSettings") or {}).get("Networks") or {}).keys()
            found.append(Container(row["Id"], name, role, row.get("State") or "", tuple(networks)))
    return found


def bridges(found: Collection[Container], seconds: float = SECONDS) -> list[str]:
    """The host's interfaces of the bridge networks that containers are on."""
    names = {name for one in found for name in one.networks}
    return [
        str((row.get("Options") or {}).get("com.docker.network.bridge.name") or f"br-{row['Id'][:12]}")
        for row in json.loads(engine_api.ask("GET", "/networks", seconds=seconds))
        if row.get("Driver") == "bridge" and row.get("Name") in names
    ]


def _name(row: dict[str, Any]) -> str:
    names = [name[1:] for name in row.get("Names") or [] if name.rfind("/") == 0]  # others are a link's alias
    return str((names or [row["Id"][:12]])[0])


def _as_inspected(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the engine's list in the form in which agents are known; it holds no environment."""
    return {
        "Name": _name(row),
        "Id": row["Id"],
        "Image": row.get("ImageID"),
        "Config": {"Labels": row.get("Labels"), "Image": row.get("Image"), "Cmd": row.get("Command")},
        "HostConfig": row.get("HostConfig"),
        "Mounts": row.get("Mounts"),
    }


def inspect(one: Container, seconds: float = SECONDS) -> Inspection | None:
    """Look at a container's settings; None when it is gone."""
    try:
        settings = json.loads(engine_api.ask("GET", _path(one.id, "json"), seconds=seconds))
    except EngineError as refused:
        if refused.code == GONE:
            return None
        raise
    names = [line.partition("=")[0] for line in settings["Config"].get("Env") or []]
    settings["Config"]["Env"] = names
    host = settings["HostConfig"]
    return Inspection(settings, dict(host.get("RestartPolicy") or {}), tuple(names), bool(host.get("AutoRemove")))


def freeze(one: Container, seconds: float = SECONDS) -> None:
    """Stop every process of a container where it stands; one that has ended, or starts just now, has none to stop."""
    if one.state not in (*ENDED, "paused", "restarting"):
        _unless_ended(one.id, "pause", seconds)


def end(one: Container, seconds: float = SECONDS) -> None:
    """Kill every process of a container."""
    if one.running:
        _unless_ended(one.id, "kill", seconds)


def set_restart_policy(identity: str, policy: dict[str, Any], seconds: float = SECONDS) -> None:
    """Change whether the engine starts a container again; one that is gone needs no policy."""
    try:
        engine_api.ask("POST", _path(identity, "update"), {"RestartPolicy": policy}, seconds=seconds)
    except EngineError as refused:
        if refused.code != GONE:
            raise


def ask(one: Container, what: str, seconds: float, limit: int = engine_api.LIMIT) -> bytes:
    """What the engine tells of a container, say its `top`."""
    return engine_api.ask("GET", _path(one.id, what), seconds=seconds, limit=limit)


def _unless_ended(identity: str, action: str, seconds: float) -> None:
    """Act on a container; what the engine refuses is no failure when the container has no process any more."""
    try:
        engine_api.ask("POST", _path(identity, action), seconds=seconds)
    except EngineError as refused:
        if refused.code is None or (refused.code != GONE and _runs(identity, seconds)):
            raise


def _runs(identity: str, seconds: float) -> bool:
    try:
        state = json.loads(engine_api.ask("GET", _path(identity, "json"), seconds=seconds))["State"]
    except EngineError as refused:
        return refused.code != GONE
    return bool(state["Running"])


def _path(identity: str, what: str) -> str:
    return f"/containers/{urllib.parse.quote(identity, safe='')}/{what}"
