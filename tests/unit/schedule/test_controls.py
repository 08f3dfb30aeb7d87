"""INV-04 and LOG-09 on made-up worlds: what the controller knows of a host, and what is said of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base import repo
from clawkeep.base.verdict import Status, Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register import tiers
from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Host, Site
from clawkeep.subjects.governance.estate import Estate
from clawkeep.subjects.governance.schedule import Schedule
from clawkeep.verify.evaluate import Selection, evaluate
from clawkeep.verify.report import Result

CHECKOUT = repo.find(Path(__file__))
PERSONAL = tiers.load(CHECKOUT.tiers)["tier1_personal"]
TODAY = "2026-11-20T12:00:00Z"

RUN = {
    "name": "20261115T000000Z",
    "finished": "2026-11-15T00:00:00Z",
    "expected": 3,
    "reached": 3,
    "measured": 3,
    "left_out": 0,
    "signed": True,
    "trouble": "",
    "here": "measured",
}
GOOD: dict[str, Any] = {
    "asked": TODAY,
    "tiers": ["tier1_personal"],
    "estate": {
        "host": "alpha",
        "tier": "tier1_personal",
        "reason": "One person's assistant.",
        "data": ["public", "own"],
        "credentials": "test",
        "reviewed": "2026-06-01",
    },
    "schedule": {
        "node": "watcher",
        "period": "weekly",
        "established": "2026-01-01T00:00:00Z",
        "watch": {"looked": "2026-11-20T11:00:00Z", "complaints": []},
        "runs": [RUN],
    },
}

Change = Callable[[dict[str, Any]], None]


def world(change: Change | None = None, record: str | None = "tier1_personal\n", tier: Tier = PERSONAL) -> Observation:
    facts = copy.deepcopy(GOOD)
    if change is not None:
        change(facts)
    inside = {"schema": 1, "commands": {}, "facts": {"recorded-tier": {"text": record}}, "problems": {}}
    controller = {"schema": 1, "commands": {}, "facts": facts, "problems": {}}
    raw = {"schema": 1, "host": "alpha", "inside": inside, "vantages": {"controller": controller}}
    return Observation(Host("alpha", tier), Site(name="x"), HostEvidence("alpha", raw))


def judged(control: str, observation: Observation) -> Result:
    (result,) = evaluate([observation], Selection((control,)), checkout=CHECKOUT).results
    return result


def put(path: str, value: object) -> Change:
    """Set the fact at a path such as `estate/data`."""
    *way, last = path.split("/")

    def change(facts: dict[str, Any]) -> None:
        for step in way:
            facts = facts[int(step)] if isinstance(facts, list) else facts[step]
        facts[int(last) if isinstance(facts, list) else last] = value

    return change


def test_the_good_world_passes_both() -> None:
    results = evaluate([world()], Selection(("INV-04", "LOG-09")), checkout=CHECKOUT).results
    assert [(result.control, result.status, result.message) for result in results] == [
        ("INV-04", Status.PASS, ""),
        ("LOG-09", Status.PASS, ""),
    ]
    sources = {result.control: {one.source for one in result.evidence} for result in results}
    assert {"controller: estate", "controller: tiers", "controller: asked"} <= sources["INV-04"]
    assert {"controller: schedule", "controller: asked"} <= sources["LOG-09"]


def runs(*changes: dict[str, Any]) -> Change:
    return put("schedule/runs", [{**RUN, **change} for change in changes])


OLD = {"finished": "2026-11-06T11:59:59Z"}

# What turns a control red, and what is then said.
WITHOUT_REASON: list[tuple[Change, str]] = [
    (put("tiers", ["tier1_personal", "tier2_team"]), "its tier groups are tier1_personal, tier2_team"),
    (put("tiers", []), "its tier groups are none: leave it in exactly one"),
    (put("tiers", ["tier2_team"]), "this host is judged as tier1_personal, and its tier groups are tier2_team"),
    (put("estate", None), "estate.yml has no entry for this host: write down why it is in tier1_personal"),
    (put("estate/tier", "tier2_team"), "the reason in estate.yml is for tier2_team"),
    (put("estate/reason", " "), "the reason in estate.yml is empty"),
    (put("estate/reviewed", "2025-11-19"), "was reviewed 366 days ago, on 2025-11-19; 365 are allowed"),
    (put("estate/reviewed", "2026-11-21"), "is dated 2026-11-21, which is after 2026-11-20"),
    (put("estate/data", ["own", "payment"]), "the agent meets payment data"),
    (put("estate/data", ["financial"]), "the agent meets financial data"),
    (put("estate/credentials", "live"), "the agent holds live credentials"),
    (put("estate/credentials", "borrowed"), "the agent holds borrowed credentials"),
]
BROUGHT_ELSEWHERE: list[tuple[str | None, str]] = [
    (None, "/etc/clawkeep/tier is missing: no play has brought this host to tier1_personal yet"),
    ("", "is missing"),
    ("tier2_team\n", "/etc/clawkeep/tier says tier2_team, and the inventory tier1_personal"),
]
SILENT: list[tuple[Change, str]] = [
    (put("schedule", None), "no host of the inventory is in control_nodes: nothing verifies this host by itself"),
    (runs(OLD), "the last run on watcher that counts for this host ended 14 d 1 s ago; one is due weekly"),
    (runs(), "no run on watcher has counted for this host in the 323 d 12 h of its schedule"),
    (runs(OLD, {"expected": 0, "reached": 0, "measured": 0, "here": None}), "does not count: it verified no host"),
    (runs(OLD, {"reached": 2, "measured": 2}), "does not count: 1 of 3 hosts were not reached"),
    (runs(OLD, {"measured": 0, "here": "reached"}), "does not count: on 3 of 3 hosts nothing could be judged"),
    (runs(OLD, {"left_out": 2}), "does not count: 2 controls were left out"),
    (runs(OLD, {"signed": False}), "does not count: its evidence is not signed"),
    (runs(OLD, {"trouble": "it was stopped after 1 h"}), "does not count: it was stopped after 1 h"),
    (runs(OLD, {"here": None}), "does not count: this host is not in its inventory"),
    (runs({"finished": "2026-11-20T14:00:00Z"}), "is dated 2 h in the future: look at its clock"),
    (put("schedule/watch/looked", "2026-11-13T11:00:00Z"), "has not looked for 7 d 1 h"),
    (put("schedule/watch/looked", "2027-11-20T11:00:00Z"), "in the future: look at its clock"),
    (put("schedule/watch/looked", None), "has not looked for 323 d 12 h"),
    (put("schedule/watch/complaints", ["the timer is disabled"]), "watcher complains: the timer is disabled"),
]
RED = [
    *(("INV-04", world(change), said) for change, said in WITHOUT_REASON),
    *(("INV-04", world(record=record), said) for record, said in BROUGHT_ELSEWHERE),
    *(("LOG-09", world(change), said) for change, said in SILENT),
]


@pytest.fixture(scope="module")
def verdicts() -> dict[tuple[str, str], Result]:
    """All red worlds judged in one run, by control and the number of the world."""
    hosts = [replace(seen, host=replace(seen.host, name=str(number))) for number, (_, seen, _) in enumerate(RED)]
    report = evaluate(hosts, Selection(("INV-04", "LOG-09")), checkout=CHECKOUT)
    return {(result.control, result.host): result for result in report.results}


@pytest.mark.parametrize("number", range(len(RED)), ids=[said for _, _, said in RED])
def test_a_world_turns_its_control_red_and_says_why(number: int, verdicts: dict[tuple[str, str], Result]) -> None:
    control, _, said = RED[number]
    result = verdicts[control, str(number)]
    assert result.status is Status.FAIL, result.message
    assert said in " ".join(one.excerpt for one in result.evidence if one.source.startswith("test: "))
    (other,) = {"INV-04", "LOG-09"} - {control}
    assert verdicts[other, str(number)].status is Status.PASS


def test_a_review_is_good_on_its_last_day() -> None:
    result = judged("INV-04", world(put("estate/reviewed", "2025-11-20")))
    assert result.status is Status.PASS


def test_a_higher_tier_takes_live_credentials() -> None:
    assert Estate.read(world(put("estate/credentials", "live")).evidence).credentials_beyond("live") == []  # type: ignore[arg-type]


def test_an_incomplete_run_behind_a_good_one_is_no_alarm_yet() -> None:
    result = judged("LOG-09", world(runs({}, {"reached": 0, "measured": 0, "finished": "2026-11-20T00:00:00Z"})))
    assert result.status is Status.PASS


def test_a_node_that_verifies_too_rarely_is_told() -> None:
    tier = tiers.parse("tier1_personal", {**PERSONAL.settings, "verify_period": "daily"}, "a test")
    result = judged("LOG-09", world(tier=tier))
    assert result.status is Status.FAIL
    assert result.message.startswith("watcher verifies weekly, and this host's tier wants it daily")


def test_a_young_schedule_passes_and_says_on_what_that_rests() -> None:
    def young(facts: dict[str, Any]) -> None:
        watch: dict[str, Any] = {"looked": None, "complaints": []}
        facts["schedule"] |= {"established": "2026-11-18T12:00:00Z", "runs": [], "watch": watch}

    result = judged("LOG-09", world(young))
    assert result.status is Status.PASS
    assert result.message == "no run has counted yet: the schedule was set up 2 d ago, and its first run has 14 d"


def test_a_silent_log_store_is_not_passed_over_where_a_tier_has_one() -> None:
    tier = tiers.parse("tier1_personal", {**PERSONAL.settings, "log_agent_remote": "rsyslog"}, "a test")
    result = judged("LOG-09", world(tier=tier))
    assert result.status is Status.INCONCLUSIVE


def test_a_bundle_without_the_controllers_word_is_not_measured() -> None:
    observation = world()
    assert observation.evidence is not None
    observation.evidence.raw["vantages"].clear()
    results = evaluate([observation], Selection(("INV-04", "LOG-09")), checkout=CHECKOUT).results
    assert [result.control for result in results] == ["INV-04", "LOG-09"]
    for result in results:
        assert result.status is Status.INCONCLUSIVE
        assert "was not measured from the controller vantage" in result.message


def test_a_node_that_did_not_answer_is_not_measured() -> None:
    observation = world(lambda facts: facts.pop("schedule"))
    assert observation.evidence is not None
    observation.evidence.raw["vantages"]["controller"]["problems"]["schedule"] = "watcher is unreachable"
    result = judged("LOG-09", observation)
    assert result.status is Status.INCONCLUSIVE
    assert "watcher is unreachable" in result.message


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, [{}], {"node": 1}, "\u202e", -1, True])
@pytest.mark.parametrize(
    "path",
    [
        "asked",
        "tiers",
        "estate",
        "estate/tier",
        "estate/reason",
        "estate/data",
        "estate/credentials",
        "estate/reviewed",
        "schedule",
        "schedule/node",
        "schedule/period",
        "schedule/established",
        "schedule/watch",
        "schedule/watch/looked",
        "schedule/watch/complaints",
        "schedule/runs",
        "schedule/runs/0/finished",
        "schedule/runs/0/expected",
        "schedule/runs/0/reached",
        "schedule/runs/0/signed",
        "schedule/runs/0/trouble",
        "schedule/runs/0/here",
    ],
)
def test_no_value_breaks_the_reading(path: str, value: object) -> None:
    evidence = world(put(path, value)).evidence
    assert evidence is not None
    for kind in (Estate, Schedule):
        try:
            found = kind.read(evidence)
        except Unmeasured:
            continue
        if isinstance(found, Estate):
            found.unreasoned("x"), found.unreviewed(1), found.data_beyond(["x"]), found.credentials_beyond("test")
        else:
            found.overdue("daily"), found.rare("daily"), found.unwatched("daily"), found.rests_on("daily")
