"""What this lab has started, on disk, so that a later command can find and end it, whatever happened in between."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from clawkeep.lab.errors import LabError
from clawkeep.lab.topology import SCENARIOS, Lab

# Every process of a lab carries its state folder in this environment variable: what was started but not yet
# recorded when `up` was killed is found by it.
MARK = "CLAWKEEP_LAB_STATE"
_TIER = "tier"
_PATIENCE = 5.0  # seconds between a polite and an impolite end


def home() -> Path:
    """Where the labs' folders are: $CLAWKEEP_LAB_HOME, or ~/.local/state/clawkeep/lab."""
    return Path(os.environ.get("CLAWKEEP_LAB_HOME") or Path.home() / ".local/state/clawkeep/lab").absolute()


def lab(scenario: str) -> Lab:
    """The lab of a scenario in this user's home. Raises `LabError` when there is no such scenario."""
    if scenario not in SCENARIOS:
        raise LabError(f"no scenario {scenario!r}: choose from {', '.join(SCENARIOS)}")
    return Lab(SCENARIOS[scenario], home() / scenario)


def tier(of: Lab) -> str:
    """The tier as which the lab's inventory names its host: the scenario's first, until `set_tier` says another one."""
    try:
        return (of.state / _TIER).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return of.scenario.tiers[0]


def set_tier(of: Lab, name: str) -> None:
    """Name the lab's host as one of another tier from now on."""
    (of.state / _TIER).write_text(name + "\n", encoding="ascii")


@dataclass(frozen=True)
class Process:
    """A process and when it started (clock ticks since boot), so that a reused number is never mistaken for it."""

    name: str
    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return start_of(self.pid) == self.started


def start_of(pid: int) -> int | None:
    """The start time of a running process in clock ticks since boot; None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold blanks and parentheses
    return None if fields[0] in "ZX" else int(fields[19])


@dataclass(frozen=True)
class State:
    """The record of one lab: where it answers and what runs for it."""

    port: int
    image: str  # the folder of the host's image: snapshots start with the kernel that they were taken with
    processes: tuple[Process, ...] = ()

    def process(self, name: str) -> Process | None:
        """The recorded process of that name."""
        return next((p for p in self.processes if p.name == name), None)


def load(of: Lab) -> State | None:
    """The lab's record; None when there is none or when its writer was cut short."""
    try:
        raw = json.loads((of.state / "state.json").read_text())
        return State(port=raw["port"], image=raw["image"], processes=tuple(Process(**p) for p in raw["processes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(of: Lab, state: State) -> None:
    """Write the record so that a reader sees the old or the new one, never half of it."""
    document = {"id": of.id, "port": state.port, "image": state.image, "processes": [vars(p) for p in state.processes]}
    temporary = of.state / "state.json.new"
    temporary.write_text(json.dumps(document, indent=2) + "\n")
    temporary.replace(of.state / "state.json")


def marked(of: Lab) -> list[Process]:
    """Every process on this machine that carries the lab's mark."""
    mark = f"{MARK}={of.state}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended, or is not ours to read
        started = start_of(int(entry.name))
        if mark in environment and started is not None:
            found.append(Process(name="marked", pid=int(entry.name), started=started))
    return found


def end(processes: list[Process]) -> None:
    """End the processes: politely, then after five seconds by force. Those that are gone already are left alone."""
    for force in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            if process.alive:
                os.kill(process.pid, force)
        deadline = time.monotonic() + _PATIENCE
        while any(p.alive for p in processes) and time.monotonic() < deadline:
            time.sleep(0.05)
