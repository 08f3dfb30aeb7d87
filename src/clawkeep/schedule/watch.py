"""The staleness watch: it looks at the ledger and at the timer, and shouts when verification has stopped.

It runs from a timer of its own, so that it lives on when the other one dies; that it lives, LOG-09 sees.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clawkeep.base import clock
from clawkeep.base.errors import ClawkeepError
from clawkeep.schedule import metrics
from clawkeep.schedule.config import Config
from clawkeep.schedule.notice import Level, Notice
from clawkeep.schedule.tell import tell
from clawkeep.site import ledger
from clawkeep.site.ledger import Ledger, Watch

REMIND = 86400  # seconds after which people are told again of the same trouble
FUTURE = 3600  # seconds by which a recorded time may be ahead of our clock
PROPERTIES = ("LoadState", "UnitFileState", "ActiveState")

Ask = Callable[[str], Mapping[str, str]]


@dataclass(frozen=True)
class Outcome:
    """What the watch saw and whom it told; `problems` are its own."""

    complaints: tuple[str, ...]
    told: Mapping[str, str]
    problems: tuple[str, ...]


def timer_state(unit: str) -> dict[str, str]:
    """systemd's properties of a timer; raises ClawkeepError when systemd cannot be asked."""
    argv = ["systemctl", "show", f"--property={','.join(PROPERTIES)}", unit]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise ClawkeepError(f"systemd cannot be asked for {unit}: {type(problem).__name__}") from None
    if done.returncode:
        raise ClawkeepError(f"systemd cannot be asked for {unit}: {done.stderr.strip()}")
    return {name: value for name, _, value in (line.partition("=") for line in done.stdout.splitlines())}


def complaints(config: Config, known: Ledger, at: str, ask: Ask = timer_state) -> tuple[str, ...]:
    """Sentences about what has stopped; none when verification goes on as it should."""
    found = [*_overdue(config, known, at)]
    if config.timer:
        try:
            found += _stopped(config.timer, ask(config.timer))
        except ClawkeepError as problem:
            found.append(str(problem))
    return tuple(found)


def _overdue(config: Config, known: Ledger, at: str) -> list[str]:
    last = known.last_complete
    age = clock.since(last.finished if last else known.established, at)
    if age < -FUTURE:
        return [f"the last run is dated {clock.spoken(-age)} in the future: look at the clock"]
    if age <= config.stale_seconds:
        return []
    due = f"one is due every {clock.spoken(config.stale_seconds / config.stale_after)}"
    if last is None:
        return [f"no run has counted since the schedule was set up {clock.spoken(age)} ago; {due}"]
    return [f"the last run that counts ended {clock.spoken(age)} ago ({last.finished}); {due}"]


def _stopped(timer: str, state: Mapping[str, str]) -> list[str]:
    load, file, active = (state.get(name, "unknown") for name in PROPERTIES)
    if load != "loaded":
        return [f"the timer {timer} is not there (systemd says {load})"]
    found = []
    if file != "enabled":
        found.append(f"the timer {timer} is {file}: it will not be there after the next start")
    if active != "active":
        found.append(f"the timer {timer} is {active}: nothing will start verification")
    return found


def look(config: Config, *, ask: Ask = timer_state, now: Callable[[], str] = clock.now) -> Outcome:
    """Look once, remember it, and tell people what changed; raises ClawkeepError when there is no ledger to look at."""
    at = now()
    ledger.establish(config.ledger, config.node, config.period, at)
    before = ledger.read(config.ledger)
    found = complaints(config, before, at, ask)
    problems: list[str] = []
    told: Mapping[str, str] = {}
    heard = before.watch.told
    if found and _due(before.watch, at):
        told = tell(config, _alarm(config.node, found))
        heard = at if any(not why for why in told.values()) else None
    elif not found and before.watch.complaints:
        told = tell(config, Notice.of(Level.INFO, f"{config.node}: verification goes on again", []))
        heard = None
    seen = Watch(looked=at, complaints=found, told=heard, invocation=os.environ.get("INVOCATION_ID", ""))
    after = ledger.change(config.ledger, lambda known: known.model_copy(update={"watch": seen}))
    try:
        metrics.write(config.metrics, metrics.WATCH, metrics.of_watch(after))
    except ClawkeepError as problem:
        problems.append(str(problem))
    problems += [f"nobody was told by {channel}: {why}" for channel, why in told.items() if why]
    return Outcome(found, told, tuple(problems))


def _due(watch: Watch, at: str) -> bool:
    """Whether people are to be told: nobody has heard yet, or not for a day."""
    return not watch.complaints or watch.told is None or clock.since(watch.told, at) >= REMIND


def _alarm(node: str, found: tuple[str, ...]) -> Notice:
    lines = [*found, "While this lasts nobody knows whether the hosts keep their promises: docs/guides/schedule.md"]
    data = {"node": node, "stale": True, "complaints": list(found)}
    return Notice.of(Level.ERROR, f"{node}: verification has stopped: {found[0]}", lines, data)
