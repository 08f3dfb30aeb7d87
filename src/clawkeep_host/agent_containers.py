"""The agent's containers: found by their label or by what they are, and each taken out of life by itself."""

from __future__ import annotations

import contextlib
import json
import urllib.parse
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from clawkeep_host import agents, engine_api
from clawkeep_host.engine_api import EngineError, Missing

BRIDGE_NAME = "com.docker.network.bridge.name"
ENDED = ("created", "exited", "dead", "removing")  # states without a process
NEVER = {"Name": "no"}
SECONDS = engine_api.SECONDS


@dataclass(frozen=True)
class Container:
    """A container with agent work, as the engine's list tells it; that list comes even while one container hangs."""

    id: str
    name: str
    role: str
    state: str  # the engine's word
    networks: tuple[str, ...] = ()  # names of those that it is on

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
    """Every container whose label is one of `roles` (any label when there are none), running or not: one question."""
    wanted = urllib.parse.quote(json.dumps({"label": [agents.ROLE]}))
    rows = engine_api.get(f"/containers/json?all=true&filters={wanted}")
    return [one for one in map(_of, rows) if _has_role(one, roles)]


def unlabelled(
    roles: Collection[str], seconds: Callable[[], float] = lambda: SECONDS
) -> tuple[list[Container], list[str]]:
    """Agents' containers that have none of these labels, by what they are; and names of what could not be looked at.

    Each container is looked at, so this takes its time. `seconds` gives what the next question gets.
    """
    found = [_of(row) for row in engine_api.get("/containers/json?all=true", seconds=seconds())]
    inspected, unseen = {}, []
    for one in found:
        try:
            inspected[one.id] = _inspected(one.id, seconds())
        except Missing:
            continue
        except Exception:  # one that the engine cannot tell of costs no other
            if not _has_role(one, roles):
                unseen.append(one.name)
    known = agents.among(list(inspected.values()))
    ids = [identity for identity, seen in inspected.items() if agents.name_of(seen) in known]
    return [one for one in found if one.id in ids and not _has_role(one, roles)], unseen


def _has_role(one: Container, roles: Collection[str]) -> bool:
    return bool(one.role) and (not roles or one.role in roles)


def _of(row: dict[str, Any]) -> Container:
    names = [name[1:] for name in row.get("Names") or [] if name.rfind("/") == 0]  # others are a link's alias
    role = (row.get("Labels") or {}).get(agents.ROLE, "")
    networks = tuple((row.get("NetworkSettings") or {}).get("Networks") or {})
    return Container(row["Id"], (names or [row["Id"][:12]])[0], role, row.get("State") or "", networks)


def bridges(networks: Collection[str], seconds: float = SECONDS) -> list[str]:
    """The host's interfaces of those of `networks` that are bridges."""
    return [
        str((row.get("Options") or {}).get(BRIDGE_NAME) or f"br-{row['Id'][:12]}")
        for row in engine_api.get("/networks", seconds=seconds)
        if row.get("Driver") == "bridge" and row.get("Name") in networks
    ]


def _inspected(identity: str, seconds: float) -> dict[str, Any]:
    settings: dict[str, Any] = engine_api.get(_path(identity, "json"), seconds=seconds)
    return settings


def inspect(one: Container, seconds: float = SECONDS) -> Inspection | None:
    """Look at a container's settings; None when it is gone."""
    try:
        settings = _inspected(one.id, seconds)
    except Missing:
        return None
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
    with contextlib.suppress(Missing):
        engine_api.ask("POST", _path(identity, "update"), {"RestartPolicy": policy}, seconds=seconds)


def ask(one: Container, what: str, seconds: float, limit: int = engine_api.LIMIT) -> bytes:
    """What the engine tells of a container, say its `top`."""
    return engine_api.ask("GET", _path(one.id, what), seconds=seconds, limit=limit)


def _unless_ended(identity: str, action: str, seconds: float) -> None:
    """Act on a container; what the engine refuses is no failure when the container has no process any more."""
    try:
        engine_api.ask("POST", _path(identity, action), seconds=seconds)
    except Missing:
        pass
    except EngineError as refused:
        if refused.code is None or _runs(identity, seconds):
            raise


def _runs(identity: str, seconds: float) -> bool:
    try:
        return bool(_inspected(identity, seconds)["State"]["Running"])
    except Missing:
        return False
    except EngineError:
        return True


def _path(identity: str, what: str) -> str:
    return f"/containers/{urllib.parse.quote(identity, safe='')}/{what}"
