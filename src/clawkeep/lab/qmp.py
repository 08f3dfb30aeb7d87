"""QEMU's monitor: one command at a time over its socket, spoken by QEMU's own client for its Machine Protocol."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qemu.qmp import ExecuteError, QMPClient, QMPError, StateError

from clawkeep.lab.errors import LabError

_PATIENCE = 120.0  # seconds; gigabytes of memory on a slow disk take the longest
_START_PATIENCE = 10.0  # seconds until a QEMU that was just started opens its socket
_POLL = 0.02


@dataclass(frozen=True)
class Monitor:
    """An open connection; every method raises `LabError` when QEMU refuses."""

    loop: asyncio.Runner
    client: QMPClient

    def execute(self, command: str, **arguments: object) -> Any:
        """Run one command; what it returned."""
        try:
            return self.loop.run(asyncio.wait_for(self.client.execute(command, arguments), _PATIENCE))
        except ExecuteError as refusal:
            raise LabError(f"the machine refused {command}: {refusal}") from None

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
    client = QMPClient()
    with asyncio.Runner() as loop:
        try:
            loop.run(asyncio.wait_for(client.connect(_opened(path)), _PATIENCE))
            yield Monitor(loop, client)
        except (QMPError, OSError, EOFError) as error:  # asyncio's TimeoutError is an OSError
            why = {TimeoutError: "it said nothing in time", StateError: "it has ended"}.get(type(error), error)
            raise LabError(f"the machine's monitor does not answer ({why}): see `clawkeep lab status`") from error
        finally:
            # How a connection ends matters to nobody: what it was for has been done, or its failure is on its way.
            with contextlib.suppress(QMPError, OSError, EOFError):
                loop.run(asyncio.wait_for(client.disconnect(), _PATIENCE))


def _opened(path: Path) -> socket.socket:
    """A socket to the machine, which may need a moment until it listens."""
    deadline = time.monotonic() + _START_PATIENCE
    connection = socket.socket(socket.AF_UNIX)
    try:
        while connection.connect_ex(str(path)) != 0:
            if time.monotonic() > deadline:
                raise LabError("the machine's monitor does not answer: see `clawkeep lab status`")
            time.sleep(_POLL)
    except BaseException:
        connection.close()
        raise
    return connection
