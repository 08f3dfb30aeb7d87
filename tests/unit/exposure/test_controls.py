"""The controls themselves, run by the engine on made-up hosts: green, red, and never green by default."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.exposure import worlds

from clawkeep.base import repo
from clawkeep.base.verdict import Status
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register import tiers
from clawkeep.site.inventory import Host, Site, Vantage
from clawkeep.verify.evaluate import Selection, evaluate

CONTROLS = ("NET-01", "NET-02", "NET-03", "NET-04")
VANTAGES = {name: Vantage(kind="local") for name in ("outside", "neighbour")}


def judged(own: dict[str, Any] | None, **vantages: dict[str, Any]) -> dict[str, Status]:
    """The status of each control on a host with these documents."""
    tier = tiers.load(repo.find().tiers)["tier1_personal"]
    raw = {"schema": 1, "host": "alpha", "inside": own, "vantages": vantages}
    site = Site(name="test", vantages=VANTAGES)
    host = Host("alpha", tier, ("203.0.113.10",))
    report = evaluate([Observation(host, site, HostEvidence("alpha", raw))], Selection(CONTROLS))
    return {result.control: result.status for result in report.results if result.control in CONTROLS}


def neighbour() -> dict[str, Any]:
    """A neighbour's document in which every guarded port was probed."""
    document = worlds.neighbour()
    document["facts"]["tcp"]["203.0.113.10"].update(probed=None, states={"filtered": 108})
    return document


def test_the_good_host_is_green() -> None:
    found = judged(worlds.inside(), outside=worlds.outside(), neighbour=neighbour())
    assert found == dict.fromkeys(CONTROLS, Status.PASS)


def test_a_host_that_nobody_measured_is_never_green() -> None:
    unknown = dict.fromkeys(CONTROLS, Status.INCONCLUSIVE)
    assert judged(None) == unknown
    assert judged({"schema": 1, "commands": {}, "facts": {}, "problems": {}}) == unknown


def test_without_the_other_vantages_what_they_prove_is_inconclusive() -> None:
    found = judged(worlds.inside())
    assert (found["NET-01"], found["NET-02"]) == (Status.INCONCLUSIVE, Status.INCONCLUSIVE)
    assert (found["NET-03"], found["NET-04"]) == (Status.PASS, Status.PASS)


def test_a_guarded_port_that_answers_the_neighbour_alone_is_red() -> None:
    near = neighbour()
    near["facts"]["tcp"]["203.0.113.10"]["ports"] = {"18790": "open"}
    found = judged(worlds.inside(), outside=worlds.outside(), neighbour=near)
    assert (found["NET-01"], found["NET-02"]) == (Status.PASS, Status.FAIL)


@pytest.mark.parametrize("control", CONTROLS)
def test_one_violation_turns_its_control_red(control: str) -> None:
    own, seen = worlds.inside(), worlds.outside()
    if control in ("NET-01", "NET-02"):
        seen["facts"]["tcp"]["203.0.113.10"]["ports"] = {"3000": "open"}
    if control == "NET-03":
        own["commands"]["ss"]["lines"].append('tcp LISTEN 0 5 *:3000 *:* users:(("socat",pid=9,fd=5))')
    if control == "NET-04":
        own["commands"]["docker-containers"]["json"][0]["HostConfig"]["PublishAllPorts"] = True
    assert judged(own, outside=seen, neighbour=neighbour())[control] is Status.FAIL


def test_a_port_that_answers_is_red_even_where_no_agent_runs() -> None:
    own, seen = worlds.inside(), worlds.outside()
    own["facts"]["reach"]["containers"] = []
    assert judged(own, outside=seen, neighbour=neighbour())["NET-02"] is Status.INCONCLUSIVE
    seen["facts"]["tcp"]["203.0.113.10"]["ports"] = {"3000": "open"}
    assert judged(own, outside=seen, neighbour=neighbour())["NET-02"] is Status.FAIL
