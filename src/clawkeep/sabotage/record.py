"""Keep what a sabotage changed as the smallest patch on the recorded good host; no host is contacted for it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.repo import Repo
from clawkeep.base.verdict import Status
from clawkeep.collector.programs import KEY
from clawkeep.evidence import store
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register import tiers
from clawkeep.sabotage.difference import Operation, difference
from clawkeep.sabotage.minimise import minimise
from clawkeep.sabotage.world import Sabotage, broken
from clawkeep.verify.evaluate import EVERYTHING, Selection, evaluate

Verdict = tuple[str, str]

WORLDS_AT_ONCE = 64  # candidate worlds judged in one run of the suite


def write(sabotage: Sabotage, observed: Observation, checkout: Repo) -> int:
    """Write the patch of what was observed beside the sabotage; returns how many operations it has."""
    selection = Selection(turns=sabotage.turns)
    return keep(
        sabotage, smallest(recorded(checkout, observed.host.tier.name), observed, sabotage.stem, checkout, selection)
    )


def keep(sabotage: Sabotage, patch: list[Operation]) -> int:
    """Write a patch beside the sabotage; returns how many operations it has."""
    sabotage.patch.write_text(json.dumps(patch, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(patch)


def recorded(checkout: Repo, tier: str) -> Observation:
    """The one host of a tier's recorded good bundle; raises ClawkeepError saying how to record it."""
    folder = checkout.recorded / tier
    if not folder.is_dir():
        raise ClawkeepError(f"{folder} is missing: record it with `clawkeep verify -i ... --save-evidence {folder}`")
    observations = store.load(folder, tiers.load(checkout.tiers))
    if len(observations) != 1 or not observations[0].reached:
        raise ClawkeepError(f"{folder} must hold the evidence of exactly one host that was reached")
    return _without_programs(observations[0])


def _without_programs(observed: Observation) -> Observation:
    """Leave out which host programs were installed: a later checkout installs others, and would find these too old."""
    if observed.evidence is None:
        return observed
    raw = copy.deepcopy(dict(observed.evidence.raw))
    raw["inside"]["facts"].pop(KEY, None)
    return replace(observed, evidence=HostEvidence(observed.evidence.name, raw))


def smallest(
    good: Observation, observed: Observation, stem: str, checkout: Repo, selection: Selection = EVERYTHING
) -> list[Operation]:
    """The smallest patch on `good` by which what is selected is judged as on `observed`, with the same complaints.

    It is sought by the controls alone that the sabotage changed, which is fast, and proved by all of them; should that
    fail, it is sought by all.
    """
    if good.evidence is None or observed.evidence is None:
        raise ClawkeepError("a world that was not measured cannot be recorded")
    whole = difference(good.evidence.raw, observed.evidence.raw)
    before, wanted = _judged(good, [[], whole], stem, checkout, selection)
    changed = tuple(name for name in wanted if wanted[name] != before[name])
    for controls in (changed, tuple(wanted)):
        goal = {name: wanted[name] for name in controls}

        def same(patches: Sequence[list[Operation]], goal: Mapping[str, Verdict] = goal) -> list[bool]:
            return [
                seen == goal
                for seen in _judged(good, patches, stem, checkout, replace(selection, controls=tuple(goal)))
            ]

        patch = minimise(whole, same) if controls else []
        if list(_judged(good, [patch], stem, checkout, selection)) == [wanted]:
            return patch
    raise ClawkeepError(f"the patch of {stem} does not replay as it was seen")


def _judged(
    good: Observation,
    patches: Sequence[list[Operation]],
    stem: str,
    checkout: Repo,
    selection: Selection,
) -> Iterator[dict[str, Verdict]]:
    """For each patch on `good`: by control its status, and what is said where it fails."""
    for start in range(0, len(patches), WORLDS_AT_ONCE):
        some = patches[start : start + WORLDS_AT_ONCE]
        worlds = [broken(good, f"world-{i}", patch, stem) for i, patch in enumerate(some)]
        report = evaluate(worlds, selection, checkout=checkout)
        for world in worlds:
            yield {
                r.control: (r.status.value, r.message if r.status is Status.FAIL else "")
                for r in report.results
                if r.host == world.host.name
            }
