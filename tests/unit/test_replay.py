"""The suite has teeth: the good host is green, and each recorded broken world turns exactly its controls red.

No host is contacted. Every world of a tier is one host of a single run of the suite.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from clawkeep.base import repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.verdict import Status
from clawkeep.evidence.observation import Observation
from clawkeep.register import register, tiers
from clawkeep.sabotage import world
from clawkeep.sabotage.record import recorded
from clawkeep.sabotage.world import Sabotage
from clawkeep.verify.evaluate import Selection, evaluate
from clawkeep.verify.report import Report

CHECKOUT = repo.find(Path(__file__))
SABOTAGES = world.load(CHECKOUT.sabotages)
GREEN = {Status.PASS, Status.MANUAL, Status.NOT_APPLICABLE, Status.NOT_REQUIRED}


KNOWN = tiers.load(CHECKOUT.tiers)
RECORDED = sorted(path.name for path in CHECKOUT.recorded.iterdir() if path.name in KNOWN)
CONTROLS = register.load(CHECKOUT.controls)


def good(tier: str) -> Observation:
    """The recorded good host of a tier."""
    try:
        return recorded(CHECKOUT, tier)
    except ClawkeepError as problem:
        pytest.fail(str(problem), pytrace=False)


@pytest.mark.parametrize("tier", RECORDED)
def test_the_good_host_is_green(tier: str) -> None:
    report = evaluate([good(tier)], checkout=CHECKOUT)
    wrong = [f"{r.control} {r.status}: {r.message}" for r in report.results if r.status not in GREEN]
    assert wrong == []
    assert any(result.status is Status.PASS for result in report.results)


def test_the_report_says_on_what_an_old_engine_rests() -> None:
    (result,) = evaluate([good("tier1_personal")], Selection(("DKR-01",)), checkout=CHECKOUT).results
    assert "guard of NET-05" in result.message


@cache
def replayed(tier: str) -> tuple[Report, dict[str, str]]:
    """All worlds of a tier judged in one run, and by stem why some could not be made."""
    host = good(tier)
    worlds, missing = [], {}
    for sabotage in world.of_tier(SABOTAGES, CONTROLS, KNOWN[tier].rank).values():
        try:
            patch = world.read_patch(sabotage)
            worlds.append(world.broken(host, sabotage.stem, patch, str(sabotage.patch)))
        except ClawkeepError as problem:
            missing[sabotage.stem] = str(problem)
    if not worlds:
        pytest.fail("no sabotage has a patch that can be replayed", pytrace=False)
    return evaluate(worlds, checkout=CHECKOUT), missing


@pytest.mark.parametrize("sabotage", [pytest.param(one, id=stem) for stem, one in SABOTAGES.items()])
def test_each_broken_world_turns_exactly_its_controls_red(sabotage: Sabotage) -> None:
    rank = sabotage.rank(CONTROLS)
    report, missing = replayed(next(tier.name for tier in KNOWN.values() if tier.rank == rank))
    why = [missing[sabotage.stem]] if sabotage.stem in missing else world.complaints(sabotage, report, sabotage.stem)
    if why:
        pytest.fail("\n".join(why), pytrace=False)
