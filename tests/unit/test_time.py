"""The verdict is the evidence's: whatever day it is where somebody judges, the same evidence is judged the same."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import time_machine

from clawkeep.base import clock, repo
from clawkeep.base.verdict import Status
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register import register, tiers
from clawkeep.sabotage import world
from clawkeep.sabotage.record import recorded
from clawkeep.site.inventory import EgressDomain
from clawkeep.verify.evaluate import Selection, evaluate
from clawkeep.verify.report import Report, Result

CHECKOUT = repo.find(Path(__file__))
KNOWN = tiers.load(CHECKOUT.tiers)
RECORDED = sorted(path.name for path in CHECKOUT.recorded.iterdir() if path.name in KNOWN)
LONG_BEFORE, LONG_AFTER = "1999-12-31T23:59:59Z", "2062-02-28T00:00:00Z"
DATED = {"BGL-01", "BGL-03", "EGR-02", "HST-04", "INV-04", "LOG-05", "LOG-09", "LOG-10", "VPN-02", "WEB-01"}
ZONES = ("UTC", "Pacific/Kiritimati", "Etc/GMT+12")  # no two of them have the same date for long


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Set this process's time zone."""

    def wear(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield wear
    monkeypatch.undo()
    time.tzset()


@cache
def hosts(tier: str) -> tuple[Observation, ...]:
    """The good host of a tier, and one broken world of each control that dates something, and of each family."""
    good = recorded(CHECKOUT, tier)
    sabotages = world.of_tier(world.load(CHECKOUT.sabotages), register.load(CHECKOUT.controls), KNOWN[tier].rank)
    chosen: dict[str, world.Sabotage] = {}
    for one in sabotages.values():
        if one.patch.exists():
            chosen.setdefault(one.control if one.control in DATED else one.control[:3], one)
    return good, *(world.broken(good, one.stem, world.read_patch(one), one.stem) for one in chosen.values())


def judged_on(day: str, observations: tuple[Observation, ...], *controls: str) -> Report:
    """What is found when somebody judges on that day; nothing in the evidence remembers an earlier look."""
    fresh = [
        dataclasses.replace(one, evidence=one.evidence and HostEvidence(one.host.name, one.evidence.raw))
        for one in observations
    ]
    with time_machine.travel(clock.moment(day), tick=True):
        report = evaluate(fresh, Selection(controls), checkout=CHECKOUT)
    assert report.started[:10] == day[:10], "the clock was not moved"
    return report


def told(report: Report) -> dict[tuple[str, str], Result]:
    return {(result.host, result.control): result for result in report.results}


@pytest.mark.parametrize("tier", RECORDED)
def test_no_verdict_knows_what_day_it_is(tier: str, zone: Callable[[str], None]) -> None:
    zone(ZONES[1])
    before = judged_on(LONG_BEFORE, hosts(tier))
    zone(ZONES[2])
    after = judged_on(LONG_AFTER, hosts(tier))
    assert {status for status in Status if before.counts[status]} >= {Status.PASS, Status.FAIL}
    assert told(before) == told(after)
    assert (before.hosts, before.warnings, before.objections) == (after.hosts, after.warnings, after.objections)


@pytest.mark.parametrize("tier", RECORDED)
def test_a_report_tells_when_its_host_was_measured_by_the_clock_of_who_asked(tier: str) -> None:
    good = hosts(tier)[:1]
    assert good[0].evidence is not None
    controller = good[0].evidence.raw["vantages"]["controller"]["facts"]
    (row,) = judged_on(LONG_AFTER, good, "INV-04").hosts
    assert row.measured == controller.get("measured", {}).get("began", controller["asked"])


def measured(tier: str, began: str, host: datetime.timedelta = datetime.timedelta()) -> Observation:
    """The good host as if it had been measured then, its own clock ahead by `host`."""
    good = recorded(CHECKOUT, tier)
    assert good.evidence is not None
    raw: dict[str, Any] = copy.deepcopy(dict(good.evidence.raw))
    at = clock.moment(began)
    ended = clock.written(at + datetime.timedelta(minutes=3))
    raw["vantages"]["controller"]["facts"] |= {"asked": began, "measured": {"began": began, "ended": ended}}
    raw["inside"]["facts"]["clock-now"] = (at + host + datetime.timedelta(seconds=9)).timestamp()
    return dataclasses.replace(good, evidence=HostEvidence(good.host.name, raw))


def approved_until(observed: Observation, review: datetime.date) -> Observation:
    """The same host at a site whose approvals are all to be looked at again by that day."""

    def until(one: EgressDomain) -> EgressDomain:
        return one.model_copy(update={"review": review})

    site = observed.site.model_copy(update={"egress_domains": tuple(map(until, observed.site.egress_domains))})
    assert site.egress_domains
    return dataclasses.replace(observed, site=site)


@pytest.mark.parametrize(
    ("began", "status"),
    [
        ("2026-12-24T23:59:59Z", Status.PASS),
        ("2026-12-25T23:59:59Z", Status.PASS),  # the last day counts
        ("2026-12-26T00:00:00Z", Status.FAIL),
    ],
)
@pytest.mark.parametrize("now", [LONG_BEFORE, LONG_AFTER])
def test_an_approval_is_judged_by_the_day_of_the_measurement(began: str, status: Status, now: str) -> None:
    observed = approved_until(measured("tier2_team", began), datetime.date(2026, 12, 25))
    (result,) = judged_on(now, (observed,), "EGR-02").results
    assert result.status is status, result.message
    if status is Status.FAIL:
        assert "the host was measured on 2026-12-26" in result.message


@pytest.mark.parametrize("years", [-5, 5])
def test_a_host_with_a_wrong_clock_does_not_choose_the_day_of_its_judgement(years: int) -> None:
    off = datetime.timedelta(days=365 * years)
    lapsed = approved_until(measured("tier2_team", "2027-06-01T10:00:00Z", off), datetime.date(2027, 5, 31))
    found = {result.control: result for result in judged_on(LONG_AFTER, (lapsed,), "EGR-02", "HST-04").results}
    assert found["EGR-02"].status is Status.FAIL
    assert found["HST-04"].status is Status.FAIL
    assert f"{'ahead of' if years > 0 else 'behind'} that of the machine that verifies" in found["HST-04"].message


def test_evidence_that_does_not_tell_its_time_dates_nothing() -> None:
    observed = measured("tier2_team", "2026-12-01T00:00:00Z")
    assert observed.evidence is not None
    raw: dict[str, Any] = copy.deepcopy(dict(observed.evidence.raw))
    del raw["vantages"]["controller"]
    mute = dataclasses.replace(observed, evidence=HostEvidence(observed.host.name, raw))
    report = judged_on(LONG_BEFORE, (mute,), "EGR-02", "HST-04", "INV-04")
    assert {result.status for result in report.results} == {Status.INCONCLUSIVE}
    assert [host.measured for host in report.hosts] == [""]
