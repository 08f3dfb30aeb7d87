"""QEMU's monitor: one command at a time over its socket, in the QEMU Machine Protocol."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from clawkeep.lab.errors import LabError

_PATIENCE = 120.0  # seconds; gigabytes of memory on a slow disk take the longest
_START_PATIENCE = 10.0  # seconds until a QEMU that was just started opens its socket
_POLL = 0.02


@dataclass(frozen=True)
class Monitor:
    """An open connection; every method raises `LabError` when QEMU refuses."""

    channel: TextIO

    def execute(self, command: str, **arguments: object) -> Any:
        """Run one command; what it returned."""
        self.channel.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.channel.flush()
        while True:
            answer = json.loads(self.channel.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise LabError(f"the machine refused {command}: {answer['error']['desc']}")

    def prefer(self, capability: str) -> None:
        """Turn a capability of migration on where this QEMU has it."""
        if any(known["capability"] == capability for known in self.execute("query-migrate-capabilities")):
            self.execute("migrate-set-capabilities", capabilities=[{"capability": capability, "state": True}])

    def await_migration(self) -> None:
        """Wait until the memory that goes out or comes in is complete."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            found = self.execute("query-migrate")
            if found.get("status") == "completed":
                return
            if found.get("status") in ("failed", "cancelled"):
                raise LabError(f"the machine's memory was not moved: {found.get('error-desc', found['status'])}")
            time.sleep(_POLL)
        raise LabError(f"the machine's memory was not moved within {_PATIENCE:.0f} s")


@contextmanager
def connected(path: Path) -> Iterator[Monitor]:
    """A connection to the socket of a machine that runs or is just starting. Raises `LabError` when none answers."""
    deadline = time.monotonic() + _START_PATIENCE
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        try:
            while connection.connect_ex(str(path)) != 0:
                if time.monotonic() > deadline:
                    raise LabError("the machine's monitor does not answer: see `clawkeep lab status`")
                time.sleep(_POLL)
            with connection.makefile("rw", encoding="utf-8") as channel:
                json.loads(channel.readline())  # the greeting
                monitor = Monitor(channel)
                monitor.execute("qmp_capabilities")
                yield monitor
        except (OSError, ValueError) as error:
            raise LabError(f"the machine's monitor does not answer ({error}): see `clawkeep lab status`") from error
