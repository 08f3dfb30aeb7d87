"""The suite has teeth: the good host is green, and each recorded broken world turns exactly its controls red.

No host is contacted. Every world is one host of a single run of the suite.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from clawkeep import repo
from clawkeep.observation import Observation
from clawkeep.report.model import Report
from clawkeep.run import evaluate
from clawkeep.sabotage import world
from clawkeep.sabotage.record import recorded
from clawkeep.sabotage.world import Sabotage
from clawkeep.verdict import Status

CHECKOUT = repo.find(Path(__file__))
SABOTAGES = world.load(CHECKOUT.sabotages)
GREEN = {Status.PASS, Status.MANUAL, Status.NOT_APPLICABLE, Status.NOT_REQUIRED}


@pytest.fixture(scope="module")
def good() -> Observation:
    return recorded(CHECKOUT, "tier1_personal")


def test_the_good_host_is_green(good: Observation) -> None:
    report = evaluate([good], checkout=CHECKOUT)
    wrong = [f"{r.control} {r.status}: {r.message}" for r in report.results if r.status not in GREEN]
    assert wrong == []
    assert any(result.status is Status.PASS for result in report.results)


@pytest.fixture(scope="module")
def replayed(good: Observation) -> Report:
    """All worlds that have a patch, judged in one run."""
    worlds = [
        world.broken(good, sabotage.stem, world.read_patch(sabotage), str(sabotage.patch))
        for sabotage in SABOTAGES.values()
        if sabotage.patch.exists()
    ]
    return evaluate(worlds, checkout=CHECKOUT)


@pytest.mark.parametrize("sabotage", SABOTAGES.values(), ids=SABOTAGES)
def test_each_broken_world_turns_exactly_its_controls_red(sabotage: Sabotage, replayed: Report) -> None:
    world.read_patch(sabotage)
    assert world.complaints(sabotage, replayed, sabotage.stem) == []
