"""The suite's own modules for DKR, HST and BGL, evaluated on constructed hosts: good, broken, and not measured."""

from __future__ import annotations

from typing import Any

import pytest

from clawkeep.base import repo
from clawkeep.base.verdict import Status
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register import tiers
from clawkeep.site.inventory import Host, Operator, Site
from clawkeep.verify.evaluate import Selection, evaluate

from .world import good

TIER = tiers.load(repo.find().tiers)["tier1_personal"]
SITE = Site(
    name="test",
    operators=(Operator(name="Ada Byron", role="owner", contact="+44 20 0000"),),
    console="`clawkeep-kill`",
)
TOPOLOGY = {
    "ip-addr",
    "ip-route",
    "ip-route6",
    "docker-networks",
    "docker-containers",
}  # its parser has tests of its own
AUTOMATED = (*("BGL-01", "BGL-04", "BGL-05", "DKR-01", "DKR-02", "DKR-03", "DKR-04", "HST-01", "HST-02", "HST-03"),)


def _statuses(inside: dict[str, Any]) -> dict[str, Status]:
    evidence = HostEvidence("alpha", {"schema": 1, "host": "alpha", "inside": inside})
    seen = Observation(Host("alpha", TIER), SITE, evidence)
    report = evaluate([seen], Selection((*AUTOMATED, "BGL-02"), inside_only=True))
    return {result.control: result.status for result in report.results}


def test_the_good_host_passes_and_waits_for_its_drill() -> None:
    assert _statuses(good()) == dict.fromkeys(AUTOMATED, Status.PASS) | {"BGL-02": Status.MANUAL}


def test_a_host_that_told_nothing_passes_nothing() -> None:
    empty = {"schema": 1, "commands": {}, "facts": {}, "problems": {"host": "python3 is missing"}}
    assert set(_statuses(empty).values()) == {Status.INCONCLUSIVE}


@pytest.mark.parametrize("junk", [None, 7, "text", [], {}, [[]], {"a": None}])
def test_junk_in_every_place_is_an_error_of_nobody(junk: object) -> None:
    world = good()
    world["facts"] = dict.fromkeys(world["facts"], junk)
    for key in set(world["commands"]) - TOPOLOGY:
        world["commands"][key] = {"argv": ["x"], "status": 0, "json": junk, "truncated": False}
    assert Status.ERROR not in _statuses(world).values()
    assert Status.PASS not in _statuses(world).values()
