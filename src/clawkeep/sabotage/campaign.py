"""Commit sabotages on the lab host, see that exactly the promised controls turn red, and record what changed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.repo import Repo
from clawkeep.base.verdict import Status
from clawkeep.evidence.observation import Observation
from clawkeep.lab import inventory as lab_inventory
from clawkeep.lab import lab as labs
from clawkeep.lab import ssh, state
from clawkeep.lab.topology import Lab
from clawkeep.measure.observe import observe
from clawkeep.sabotage import record
from clawkeep.sabotage.world import AWAIT_SECONDS, Kind, Sabotage, complaints, statuses
from clawkeep.site import inventory
from clawkeep.verify.evaluate import Selection, evaluate
from clawkeep.verify.report import Exit, Report

NOT_GREEN = {Status.FAIL, Status.ERROR, Status.INCONCLUSIVE}
SNAPSHOT = "green"
DO_SECONDS = 600  # for one shell text on the lab host; `undo` may start the gateway again, minutes under emulation
POLL_SECONDS = 2.0  # each look costs the lab host a login


@dataclass(frozen=True)
class Outcome:
    """What came of one sabotage: `complaints` are sentences about what differed from its promise, none when it held."""

    sabotage: Sabotage
    red: frozenset[str] = frozenset()
    complaints: tuple[str, ...] = ()
    seconds: float = 0.0
    operations: int | None = field(default=None)  # of the recorded patch


@dataclass(frozen=True)
class Campaign:
    """Sabotages on one lab host. The lab must be up and have the snapshot `green` of the proven host."""

    lab: Lab
    checkout: Repo

    def green(self, *, turns: bool = False) -> Report:
        """The report of the restored snapshot; raises ClawkeepError when it is not green, naming what is not."""
        labs.restore(self.lab, SNAPSHOT)
        report = self._judge(self._observe(turns=turns), turns=turns)
        if report.exit_status is not Exit.GREEN:
            wrong = [f"{r.control} {r.status}: {r.message}" for r in report.results if r.status in NOT_GREEN]
            wrong += [host.message for host in report.hosts if not host.reached]
            raise ClawkeepError(
                f"the snapshot {SNAPSHOT} is not green, so nothing can be broken in it: {'; '.join(wrong)}"
            )
        return report

    def run(self, sabotage: Sabotage, *, keep: bool = False, undo: bool = False) -> Outcome:
        """Restore, break, wait until it is in force, verify; then record it (`keep`) or undo it when asked to."""
        began = time.monotonic()
        try:
            labs.restore(self.lab, SNAPSHOT)
            if sabotage.do:
                self._root(sabotage, "do", sabotage.do)
            if sabotage.here:
                self._here(sabotage)
            self._await(sabotage)
            observed = self._observe(turns=sabotage.turns)
            report = self._judge(observed, turns=sabotage.turns)
            name = observed.host.name
            found = [f"the host was not measured: {observed.message}"] if not observed.reached else []
            found = found or complaints(sabotage, report, name)
            operations = record.write(sabotage, observed, self.checkout) if keep and not found else None
            if undo and sabotage.undo:
                found += self._undone(sabotage)
            red = statuses(report, name, Status.FAIL)
        except ClawkeepError as problem:
            return Outcome(sabotage, complaints=(str(problem),), seconds=time.monotonic() - began)
        finally:
            if sabotage.here:
                labs.renew_inventory(self.lab)
        return Outcome(sabotage, red, tuple(found), time.monotonic() - began, operations)

    def _undone(self, sabotage: Sabotage) -> list[str]:
        self._root(sabotage, "undo", sabotage.undo)
        report = self._judge(self._observe(turns=sabotage.turns), turns=sabotage.turns)
        return [f"after undo, {r.control} {r.status}: {r.message}" for r in report.results if r.status in NOT_GREEN]

    def _observe(self, *, turns: bool) -> Observation:
        hosts = inventory.load(lab_inventory.folder(self.lab), self.checkout)
        (observation,) = observe(hosts, self.checkout, turns=turns)
        return observation

    def _judge(self, observed: Observation, *, turns: bool) -> Report:
        return evaluate([observed], Selection(turns=turns), checkout=self.checkout)

    def _here(self, sabotage: Sabotage) -> None:
        """Break what lies beside the inventory, on this machine."""
        done = here(sabotage.here, lab_inventory.folder(self.lab), lab_inventory.ledger(self.lab))
        if done.returncode:
            raise ClawkeepError(f"`here` of {sabotage.stem} ended with status {done.returncode}: {_last(done)}")

    def _await(self, sabotage: Sabotage) -> None:
        deadline = time.monotonic() + AWAIT_SECONDS
        while sabotage.awaiting:
            done = self._shell(sabotage.awaiting, AWAIT_SECONDS)
            if done.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise ClawkeepError(f"the sabotage was not in force within {AWAIT_SECONDS} s: {_last(done)}")
            time.sleep(POLL_SECONDS)

    def _root(self, sabotage: Sabotage, which: str, text: str) -> None:
        done = self._shell(text, DO_SECONDS)
        if done.returncode:
            raise ClawkeepError(f"`{which}` of {sabotage.stem} ended with status {done.returncode}: {_last(done)}")

    def _shell(self, text: str, seconds: float) -> subprocess.CompletedProcess[str]:
        running = state.load(self.lab)
        if running is None:
            raise ClawkeepError(f"the lab {self.lab.scenario.name} is not up")
        command = ssh.as_root(["bash", "-euo", "pipefail", "-c", text])
        return ssh.run(self.lab, running.port, command, seconds)


def here(text: str, inventory_folder: Path, ledger: Path) -> subprocess.CompletedProcess[str]:
    """Run the shell text of a sabotage's `here` in the folder of an inventory, its schedule's ledger in $LEDGER."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=inventory_folder,
        env={**os.environ, "LEDGER": str(ledger)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DO_SECONDS,
        check=False,
    )


def representative(sabotages: Sequence[Sabotage]) -> list[Sabotage]:
    """One of each area of the register: the first subtle sabotage that the lab can commit, else the first crude one.

    Those of the gateway alone are left out: all of them are committed on the bench.
    """
    chosen: dict[str, Sabotage] = {}
    for sabotage in sorted(sabotages, key=lambda s: (s.kind is not Kind.SUBTLE, s.stem)):
        if not sabotage.constructed and sabotage.gateway is None:
            chosen.setdefault(sabotage.control.partition("-")[0], sabotage)
    return sorted(chosen.values(), key=lambda s: s.stem)


def _last(done: subprocess.CompletedProcess[str]) -> str:
    said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return said[-1].strip() if said else "it said nothing"
