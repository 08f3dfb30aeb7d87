"""What is kept of a stopped agent for those who ask later: a folder for root alone, in which no secret is stored."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from clawkeep_host import agent_containers, files
from clawkeep_host.agent_containers import Container, Inspection
from clawkeep_host.redaction import redact, redact_text
from clawkeep_host.steps import Budget, Disk, Steps

SECONDS = 180.0  # for all that the engine is asked; it compares whole file systems
ANSWER_BYTES = 32 << 20
LOG_BYTES = 4 << 20
PROCESSES, CHANGES = "top", "changes"  # what the engine is asked for, as the end of a path
LOG = "logs?stdout=true&stderr=true&timestamps=true&tail=5000"
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
HEADER = 8  # bytes before each piece of a log: the stream's number, three zeros, the length
STREAMS = (0, 1, 2)
ENDINGS = {PROCESSES: "processes.json", LOG: "log", CHANGES: "changes.json"}


@dataclass(frozen=True)
class Halted:
    """A container that was stopped, and what was learnt while it was frozen; `told` is by question."""

    container: Container
    inspection: Inspection | None
    told: dict[str, bytes]


class Evidence:
    """A folder in the making. Each piece is a step: one that is lost costs no other."""

    def __init__(self, state: Path, steps: Steps, disk: Disk) -> None:
        """Make the folder below `state`; where that fails nothing is kept."""
        self._steps, self._disk = steps, disk
        self.folder: Path | None = steps.attempt("no evidence is kept", disk.do, make_folder, state)

    def keep(self, of: str, name: str, content: Callable[..., str], *arguments: Any) -> None:
        """Write one file, of what `content` makes of the arguments."""
        if self.folder is not None:
            path = self.folder / name
            self._steps.attempt(
                f"evidence of {of} is incomplete, {name} is missing",
                lambda: self._disk.do(files.write, path, content(*arguments)),
            )

    def keep_containers(self, halted: list[Halted]) -> None:
        """Write what is known already, then ask the engine for the rest."""
        for one in halted:
            if one.inspection is not None:
                self._keep(one.container, "inspect.json", as_json, one.inspection.settings)
            for what, content in one.told.items():
                self._keep(one.container, ENDINGS[what], legible, what, content)
        left = Budget(SECONDS, SECONDS)
        for what in (LOG, CHANGES):
            for one in halted:
                if what not in one.told:
                    self._keep(one.container, ENDINGS[what], _asked, one.container, what, left)

    def _keep(self, container: Container, ending: str, content: Callable[..., str], *arguments: Any) -> None:
        self.keep(container.name, f"{file_name(container)}.{ending}", content, *arguments)


def _asked(container: Container, what: str, left: Budget) -> str:
    return legible(what, ask(container, what, left()))


def ask(container: Container, what: str, seconds: float) -> bytes:
    """What the engine tells of a container: PROCESSES, LOG or CHANGES; raises EngineError."""
    return agent_containers.ask(container, what, seconds, LOG_BYTES if what == LOG else ANSWER_BYTES)


def legible(what: str, content: bytes) -> str:
    """An answer as text without secrets; raises ValueError for JSON that is none, say because it was cut off."""
    return log(content) if what == LOG else as_json(json.loads(content))


def make_folder(state: Path) -> Path:
    """Make a folder below `state` that is named after this second (UTC), and return it; raises OSError."""
    files.make_folder(state)
    name = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    for number in itertools.count(1):
        folder = state / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)
            break
    return folder


def file_name(container: Container) -> str:
    """The start of a container's file names: its name, or what is harmless of it and its id."""
    if SAFE.fullmatch(container.name):
        return container.name
    return "-".join((UNSAFE.sub("_", container.name)[:64], UNSAFE.sub("_", container.id)[:12]))


def as_json(value: Any) -> str:
    """A JSON value as text, without secrets."""
    return json.dumps(redact(value), indent=2)


def log(content: bytes) -> str:
    """A container's log as the engine sends it, as plain text without secrets; bytes that are no text are escaped.

    Of a log that was cut off the last line goes: half a secret looks like none.
    """
    text = demultiplexed(content).decode("utf-8", "backslashreplace")
    if len(content) >= LOG_BYTES:
        text = text[: text.rfind("\n") + 1] + "[the rest was left out]\n"
    return redact_text(text)


def demultiplexed(content: bytes) -> bytes:
    """A log without the headers that stand between its pieces; a terminal's log has none and stays as it is."""
    pieces: list[bytes] = []
    at = 0
    while at < len(content):
        header = content[at : at + HEADER]
        if len(header) < HEADER or header[0] not in STREAMS or header[1:4] != b"\0\0\0":
            return b"".join([*pieces, content[at:]])
        length = int.from_bytes(header[4:], "big")
        pieces.append(content[at + HEADER : at + HEADER + length])
        at += HEADER + length
    return b"".join(pieces)
