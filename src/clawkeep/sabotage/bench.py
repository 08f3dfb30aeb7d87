"""Sabotages of the gateway alone, committed on the agent bench in seconds.

The bench measures the gateway's own facts; all else that is judged is the recorded good host's: its engine, its
firewall, its log store. What is recorded is the difference between a good and a broken gateway of the bench.
"""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.repo import Repo
from clawkeep.base.verdict import Status
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.lab.bench.changes import NONE, Changes
from clawkeep.lab.bench.facts import KEYS, facts
from clawkeep.lab.bench.gateway import gateway
from clawkeep.lab.progress import say
from clawkeep.register import tiers
from clawkeep.register.tiers import Tier
from clawkeep.sabotage import record
from clawkeep.sabotage.campaign import NOT_GREEN, Outcome
from clawkeep.sabotage.difference import Operation, difference
from clawkeep.sabotage.world import Sabotage, broken, complaints, statuses
from clawkeep.verify.evaluate import Selection, evaluate
from clawkeep.verify.report import Report

# What is another with every run, by its key: process, times, and how random a random token is.
VOLATILE = frozenset({"pid", "at", "ended", "seconds", "bits", "different"})
RANDOM = re.compile(r"\b(clawkeep-)?(ckmark)?[0-9a-f]{20}\b")


@dataclass(frozen=True)
class Bench:
    """The bench for the gateway of a tier, beside the tier's recorded good host."""

    checkout: Repo
    tier: Tier

    @classmethod
    def of(cls, checkout: Repo, tier: str) -> Bench:
        """That of the tier called so."""
        return cls(checkout, tiers.load(checkout.tiers)[tier])

    @cached_property
    def recorded(self) -> Observation:
        """The recorded good host."""
        return record.recorded(self.checkout, self.tier.name)

    @cached_property
    def good(self) -> Observation:
        """The good host with what the bench measures of a gateway that nothing was changed of, turns included."""
        return self.with_gateway(self.measure(NONE, turns=True))

    def measure(self, changes: Changes, *, turns: bool) -> dict[str, Any]:
        """The facts of a gateway that is started for this alone."""
        with gateway(self.tier.name, changes, self.checkout) as agent:
            say(f"bench: the gateway of {self.tier.name} was ready in {agent.seconds:.1f} s")
            return facts(agent, self.tier, turns=turns)

    def with_gateway(self, found: Mapping[str, Any]) -> Observation:
        """The recorded good host with these facts in place of its own."""
        raw = copy.deepcopy(dict(_evidence(self.recorded)))
        raw["inside"]["facts"].update(copy.deepcopy(dict(found)))
        return replace(self.recorded, evidence=HostEvidence(self.recorded.host.name, raw))

    def green(self) -> Report:
        """The report of the good gateway; raises ClawkeepError when it is not green, naming what is not."""
        report = evaluate([self.good], checkout=self.checkout)
        wrong = [f"{r.control} {r.status}: {r.message}" for r in report.results if r.status in NOT_GREEN]
        if wrong:
            raise ClawkeepError(f"the bench's good gateway is not green: {'; '.join(wrong)}")
        return report

    def run(self, sabotage: Sabotage, *, keep: bool = False) -> Outcome:
        """Start the changed gateway, measure and judge it; record it (`keep`) when it is as promised."""
        began = time.monotonic()
        try:
            if sabotage.gateway is None:
                raise ClawkeepError(f"{sabotage.stem} changes more than the gateway: the bench cannot commit it")
            seen = self.with_gateway(self.measure(sabotage.gateway, turns=sabotage.turns))
            report = self._judge(seen, sabotage)
            name = seen.host.name
            found = complaints(sabotage, report, name)
            operations = self._record(sabotage, seen) if keep and not found else None
        except ClawkeepError as problem:
            return Outcome(sabotage, complaints=(str(problem),), seconds=time.monotonic() - began)
        red = statuses(report, name, Status.FAIL)
        return Outcome(sabotage, red, tuple(found), time.monotonic() - began, operations)

    def _judge(self, seen: Observation, sabotage: Sabotage) -> Report:
        return evaluate([seen], Selection(turns=sabotage.turns), checkout=self.checkout)

    def _record(self, sabotage: Sabotage, seen: Observation) -> int:
        """Write the smallest patch from the bench's good gateway to its broken one; the recorded host must take it."""
        patch = record.smallest(self.good, seen, sabotage.stem, self.checkout, Selection(turns=sabotage.turns))
        world = broken(self.recorded, self.recorded.host.name, patch, sabotage.stem)
        wrong = complaints(sabotage, self._judge(world, sabotage), world.host.name)
        if wrong:
            raise ClawkeepError(f"the patch does not fit the recorded host: {'; '.join(wrong)}")
        return record.keep(sabotage, patch)

    def differences(self) -> list[Operation]:
        """How the bench's good gateway differs from the machine's, apart from what no two runs have in common."""
        machine, bench = (
            {key: _evidence(one)["inside"]["facts"][key] for key in KEYS} for one in (self.recorded, self.good)
        )
        return difference(normalised(machine), normalised(bench), "/inside/facts")


def _evidence(seen: Observation) -> Mapping[str, Any]:
    if seen.evidence is None:
        raise ClawkeepError(f"nothing was measured of {seen.host.name}: {seen.message}")
    return seen.evidence.raw


def normalised(value: Any) -> Any:
    """Facts without what is another in every run: process numbers, times, random words."""
    if isinstance(value, dict):
        return {key: 0 if key in VOLATILE else normalised(one) for key, one in value.items()}
    if isinstance(value, list):
        return [normalised(one) for one in value]
    return RANDOM.sub("RANDOM", value) if isinstance(value, str) else value
