"""Each rule of waivers, seen red, with the line that broke it."""

from __future__ import annotations

import datetime

import pytest
from tests.unit.engine.conftest import Checkout

from clawkeep.base.verdict import Status
from clawkeep.verify.report import Exit, Report

from .conftest import GOOD, TODAY, Judge, MakeHost, waivers


def statuses(report: Report) -> dict[tuple[str, str], Status]:
    return {(r.host, r.control): r.status for r in report.results}


def test_a_fail_that_is_waived_is_green_and_told_with_its_waiver(judge: Judge, host: MakeHost) -> None:
    report = judge(host(red="NET-01"), waived=waivers({}))
    assert (report.exit_status, report.objections, report.warnings) == (Exit.GREEN, (), ())
    (result,) = (r for r in report.results if r.control == "NET-01")
    assert (result.status, result.message) == (Status.WAIVED, "NET-01 is broken")
    assert result.waiver is not None
    assert (result.waiver.scope, result.waiver.ticket, result.waiver.days_left) == ("host alpha", "OPS-1", 49)
    assert [r.waiver for r in report.results if r is not result] == [None, None]


@pytest.mark.parametrize(
    ("scope", "red"),
    [("{host: alpha}", {"beta", "gamma"}), ("{group: edge}", {"gamma"}), ("{tier: tier1_x}", set())],
)
def test_a_waiver_excuses_its_scope_and_nobody_else(judge: Judge, host: MakeHost, scope: str, red: set[str]) -> None:
    hosts = [host(name, red="NET-01") for name in ("alpha", "beta", "gamma")]
    report = judge(*hosts, waived=waivers({"scope": scope}))
    assert {r.host for r in report.results if r.status is Status.FAIL} == red
    assert report.objections == ()


@pytest.mark.parametrize("state", [{"dark": "NET-01"}, {"message": "ssh says no"}])
def test_what_was_not_measured_is_never_excused(judge: Judge, host: MakeHost, state: dict[str, str]) -> None:
    report = judge(host(**state), waived=waivers({}))
    assert statuses(report)["alpha", "NET-01"] is Status.INCONCLUSIVE
    assert report.exit_status is Exit.UNMEASURED
    assert report.objections == (), "what was not measured may still need its waiver"


RED = [
    ({"expires": "2026-11-21"}, "waivers.yml:3: the waiver of NET-01 for host alpha expired on 2026-11-21"),
    ({"control": "NET-77"}, "waivers.yml:3: there is no control NET-77"),
    ({"control": "AGT-07"}, "waivers.yml:3: the control AGT-07 is planned"),
    ({"scope": "{host: delta}"}, "waivers.yml:3: NET-01 for host delta matches no host of the inventory"),
    ({"scope": "{group: alpha}"}, "NET-01 for group alpha matches no host"),
    ({"scope": "{tier: x}"}, "NET-01 for tier x matches no host"),
    ({"control": "NET-03"}, "waivers.yml:3: NET-03 accepts no waiver"),
    ({"expires": "2027-01-31"}, "it is to stand for 91 days, at most 90 for a control of severity high"),
    ({"control": "NET-02", "expires": "2026-12-02"}, "31 days, at most 30 for a control of severity critical"),
    ({"created": "2026-11-23"}, "it is created on 2026-11-23, which is after today, 2026-11-22 (UTC)"),
    ({"expires": "2026-10-31"}, "it expires on 2026-10-31, before it is created on 2026-11-01"),
    ({"approved_by": "anna  EXAMPLE"}, "anna EXAMPLE approves a waiver of their own"),
    ({"approved_by": '"Anna\\u200bExample"'}, "approves a waiver of their own"),
]


@pytest.mark.parametrize(("changes", "sentence"), RED)
def test_a_waiver_that_breaks_a_rule_is_told_and_excuses_nothing(
    judge: Judge, host: MakeHost, changes: dict[str, str], sentence: str
) -> None:
    report = judge(host(red="NET-01 NET-02 NET-03"), waived=waivers(changes))
    assert any(sentence in objection for objection in report.objections), report.objections
    assert len(report.objections) == 1
    assert report.exit_status is Exit.WAIVERS
    assert report.counts[Status.WAIVED] == 0
    assert report.counts[Status.FAIL] == 3, "the controls were judged all the same"


@pytest.mark.parametrize(
    ("control", "expires"),
    [("NET-01", "2027-01-30"), ("NET-02", "2026-12-01")],
)
def test_the_longest_age_is_allowed(judge: Judge, host: MakeHost, control: str, expires: str) -> None:
    report = judge(host(red=control), waived=waivers({"control": control, "expires": expires}))
    assert (report.objections, report.counts[Status.WAIVED]) == ((), 1)


def test_a_waiver_stands_through_its_last_day(judge: Judge, host: MakeHost) -> None:
    text = waivers({"expires": "2026-11-22"})
    last = judge(host(red="NET-01"), waived=text)
    assert (last.exit_status, [w.partition(" ends ")[2] for w in last.warnings]) == (
        Exit.GREEN,
        ["on 2026-11-22, today"],
    )
    after = judge(host(red="NET-01"), waived=text, day=TODAY + datetime.timedelta(1))
    assert (after.exit_status, after.counts[Status.FAIL]) == (Exit.WAIVERS, 1)


@pytest.mark.parametrize(("days", "warned"), [(0, True), (1, True), (14, True), (15, False)])
def test_two_weeks_before_its_end_a_waiver_warns_and_changes_no_status(
    judge: Judge, host: MakeHost, days: int, warned: bool
) -> None:
    expires = TODAY + datetime.timedelta(days)
    report = judge(host(red="NET-01"), waived=waivers({"expires": str(expires)}))
    assert (len(report.warnings), report.exit_status) == (int(warned), Exit.GREEN)


def test_a_waiver_of_what_passes_is_stale(judge: Judge, host: MakeHost) -> None:
    report = judge(host(), waived=waivers({}))
    assert report.objections[0].endswith("NET-01 for host alpha is stale, nothing there fails (pass): delete it")
    assert report.exit_status is Exit.WAIVERS


@pytest.mark.parametrize(
    ("hosts", "stale"),
    [
        ([{"name": "alpha"}, {"name": "beta"}], True),
        ([{"name": "alpha"}, {"name": "beta", "red": "NET-01"}], False),
        ([{"name": "alpha"}, {"name": "beta", "dark": "NET-01"}], False),
        ([{"name": "alpha"}, {"name": "beta", "message": "ssh says no"}], False),
    ],
)
def test_a_waiver_of_a_group_is_stale_when_nobody_of_it_needs_it(
    judge: Judge, host: MakeHost, hosts: list[dict[str, str]], stale: bool
) -> None:
    report = judge(*(host(**one) for one in hosts), waived=waivers({"scope": "{group: edge}"}))
    assert bool(report.objections) is stale


def test_two_waivers_of_one_control_on_one_host(judge: Judge, host: MakeHost) -> None:
    text = waivers({"scope": "{group: edge}"}, {})
    report = judge(host(red="NET-01"), host("beta", red="NET-01"), waived=text)
    (objection,) = report.objections
    assert ":12: it waives NET-01 on alpha, as " in objection
    assert objection.endswith("waivers.yml:3 does already")
    assert report.exit_status is Exit.WAIVERS


def test_entries_on_one_line_are_told_apart(judge: Judge, host: MakeHost) -> None:
    keys = ", ".join(f'{key}: "{value}"' for key, value in GOOD.items() if key != "scope")
    text = f"schema: 1\nwaivers: [{{scope: {{host: alpha}}, {keys}}}, {{scope: {{host: beta}}, {keys}}}]\n"
    report = judge(host(red="NET-01"), host("beta"), waived=text)
    assert statuses(report)["alpha", "NET-01"] is Status.WAIVED
    assert ["host beta is stale" in objection for objection in report.objections] == [True]


# --- what was left out on purpose -----------------------------------------------------------------------------------


def test_a_limited_run_says_nothing_of_hosts_that_it_left_out(judge: Judge, host: MakeHost) -> None:
    text = waivers({"scope": "{host: beta}"}, {"scope": "{group: edge}", "control": "NET-02", "expires": "2026-11-30"})
    report = judge(host(), waived=text, complete=False)
    assert report.objections == ()
    stale = judge(host(), waived=waivers({}), complete=False)
    assert len(stale.objections) == 1, "a waiver of this very host is known to be stale"


def test_a_run_of_one_control_says_nothing_of_the_others(judge: Judge, host: MakeHost) -> None:
    report = judge(host(), waived=waivers({}), controls=("NET-02",))
    assert (report.objections, report.exit_status) == ((), Exit.GREEN)


def test_a_control_that_was_judged_in_part_has_no_stale_waiver(
    register_of: Checkout, judge: Judge, host: MakeHost
) -> None:
    body = "def test_outside(evidence):\n    assert evidence.vantage('outside').fact('open') == []\n"
    register_of.test("NET-01", body, name="outside", mark='@pytest.mark.vantage("outside")\n')
    report = judge(host(), waived=waivers({}), inside_only=True)
    assert statuses(report)["alpha", "NET-01"] is Status.PASS
    assert report.objections == ()
