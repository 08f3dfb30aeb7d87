"""A container engine of a test's own, which acts on its containers, and refuses or keeps silent where it is told."""

from __future__ import annotations

import json
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from clawkeep_host import engine_api
from clawkeep_host.engine_api import EngineError, Missing

SECRET = "sk-not-to-be-stored-anywhere"  # noqa: S105 - what must not be found anywhere
NETWORKS = [
    {"Name": "bridge", "Id": "0" * 64, "Driver": "bridge", "Options": {"com.docker.network.bridge.name": "docker0"}},
    {"Name": "molbot_default", "Id": "1" * 64, "Driver": "bridge", "Options": None},
    {"Name": "host", "Id": "2" * 64, "Driver": "host"},
]
SILENCE = EngineError("Docker does not answer: timed out")


def refusal(code: int, words: str = "no") -> EngineError:
    """What the engine's client makes of a refusal."""
    kind = Missing if code == 404 else EngineError
    return kind(f"Docker refuses this: {words}", code)


def piece(text: str, stream: int = 1) -> bytes:
    """A piece of a container's log, with its header."""
    return bytes([stream, 0, 0, 0]) + len(text.encode()).to_bytes(4, "big") + text.encode()


@dataclass
class Fake:
    """A container as the engine keeps it."""

    name: str
    id: str
    state: str = "running"
    role: str | None = "agent"
    restart: dict[str, Any] = field(default_factory=lambda: {"Name": "on-failure", "MaximumRetryCount": 5})
    environment: list[str] | None = field(default_factory=lambda: ["HOME=/home/node", f"MODEL_API_KEY={SECRET}=="])
    passing: bool = False
    log: bytes = piece("2026-12-01T00:00:00Z hello\n")
    command: str = f"node openclaw.mjs --token {SECRET}"
    image: str = "sha256:agent"
    network: str = "clawkeep0"

    def labels(self) -> dict[str, str]:
        return {} if self.role is None else {"clawkeep.role": self.role}

    def row(self) -> dict[str, Any]:
        networks: dict[str, Any] = {"Networks": {self.network: {}}}
        return {
            "Id": self.id,
            "Names": [f"/{self.name}"],
            "Labels": self.labels(),
            "State": self.state,
            "NetworkSettings": networks,
        }

    def inspected(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "State": {"Running": self.state in ("running", "paused", "restarting")},
            "Image": self.image,
            "Config": {
                "Env": self.environment,
                "Labels": {**self.labels(), "note": f"Authorization: Bearer {SECRET}"},
            },
            "HostConfig": {
                "RestartPolicy": self.restart,
                "AutoRemove": self.passing,
                "NetworkMode": self.network,
            },
        }


class Engine:
    """Answers what `engine_api.ask` is asked; `done` is what it was told to do and to tell of one container."""

    def __init__(self, done: list[str], *containers: Fake) -> None:
        self.done = done
        self.containers = list(containers)
        self.trouble: dict[str, Exception] = {}  # by the word in `done`, or by that and the name
        self.asked: list[tuple[str, str, float, int]] = []

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        seconds: float = engine_api.SECONDS,
        limit: int = engine_api.LIMIT,
        engine: str = engine_api.SOCKET,
    ) -> bytes:
        assert engine == "/run/docker.sock"
        self.asked.append((method, path, seconds, limit))
        if path == "/networks":
            self._refuse("networks", "")
            return json.dumps(NETWORKS).encode()
        _, _, identity, what = f"{path}/".split("/", 3)
        what = what.partition("?")[0].rstrip("/")
        if not what:
            labelled = "filters=" in path
            self._refuse("list", "labelled" if labelled else "all")
            return json.dumps([one.row() for one in self.containers if one.role or not labelled]).encode()
        one = next((one for one in self.containers if one.id == urllib.parse.unquote(identity)), None)
        word = f"{what} {one.name}" if one else what
        if what == "update" and body:
            word += f" {body['RestartPolicy']['Name']}"
        if what != "json":
            self.done.append(word)
        self._refuse(what, one.name if one else "")
        if one is None:
            raise refusal(404, "no such container")
        return self._act(one, method, what, body)[:limit]

    def _refuse(self, what: str, name: str) -> None:
        for word in (what, f"{what} {name}"):
            if word in self.trouble:
                raise self.trouble[word]

    def _act(self, one: Fake, method: str, what: str, body: dict[str, Any] | None) -> bytes:
        if method == "GET":
            told = {
                "json": json.dumps(one.inspected()).encode(),
                "top": json.dumps({"Titles": ["PID", "CMD"], "Processes": [["1", one.command]]}).encode(),
                "changes": b'[{"Kind": 1, "Path": "/home/node/x"}]',
                "logs": one.log,
            }
            return told[what]
        if what == "update":
            assert body
            one.restart = body["RestartPolicy"]
        elif what == "pause":
            one.state = "paused"
        elif what == "kill":
            one.state = "exited"
            if one.passing:
                self.containers.remove(one)
        else:
            raise AssertionError(what)
        return b""
