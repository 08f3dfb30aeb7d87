"""BGL-01, -02, -04 and -05: what the evidence of the emergency tools must and must not show."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.subjects.containers.releases import Releases
from clawkeep.subjects.host.killplan import KILLED, KillPlan
from clawkeep.subjects.host.runbook import Runbook
from clawkeep.subjects.network.changes import FirewallChanges

from .world import AGENT, COMPOSE, RULESET, World, asked, command, container, entry, fact, journal, network, said

PEOPLE = ["Ada Byron", "+44 20 0000"]


def _changes(changes: FirewallChanges) -> list[str]:
    return [
        *changes.unconfirmed(),
        *changes.self_confirmed(),
        *changes.saved_early(),
        *changes.changed_by_hand(),
        *changes.stale_timers(),
    ]


def _journal(*lines: str, boot: str = "b1") -> Callable[[World], object]:
    return lambda world: world["commands"].update({"firewall-journal": command(journal(*lines, boot=boot))})


def _timer(world: World) -> None:
    line = "clawkeep-firewall-rollback.timer loaded active waiting /usr/local/sbin/clawkeep-firewall rollback"
    world["commands"]["rollback-timers"] = command(line)


ARMED = "armed id=01 conn=10:100"
CONFIRMED = "confirmed id=01 conn=20:200"
SAVED = f"saved id=01 sha256={RULESET}"


def test_good_changes_have_no_complaint() -> None:
    assert _changes(asked(FirewallChanges)) == []


def test_a_rolled_back_change_is_a_good_end() -> None:
    lines = (ARMED, CONFIRMED, SAVED, "armed id=02 conn=30:300", "rolled-back id=02")
    assert _changes(asked(FirewallChanges, _journal(*lines))) == []


def test_a_reboot_rolls_back_what_was_armed() -> None:
    def change(world: World) -> None:
        older = journal("armed id=00 conn=1:1", boot="b0", first=1)
        newer = journal(ARMED, CONFIRMED, SAVED, boot="b1", first=10)
        world["commands"]["firewall-journal"] = command(f"{older}\n{newer}")

    assert _changes(asked(FirewallChanges, change)) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            _journal(ARMED, CONFIRMED, SAVED, "armed id=02 conn=30:300"),
            "change 02 was armed, and neither confirmed nor rolled back",
        ),
        (_journal(ARMED, "confirmed id=01 conn=10:100", SAVED), "over the connection that armed it"),
        (_journal(ARMED, "confirmed id=01 conn=console", SAVED), "over no connection"),
        (_journal(ARMED, SAVED, CONFIRMED), "change 01 was saved before it was confirmed"),
        (_journal(ARMED, CONFIRMED, "rolled-back id=01", SAVED), "was rolled back, and saved nevertheless"),
        (
            lambda w: fact(w, "firewall-files", **{"clawkeep.nft": {"sha256": "0" * 64}}),
            "changed without arm and confirm",
        ),
        (_timer, "clawkeep-firewall-rollback.timer is armed, and no change waits for it"),
    ],
)
def test_each_careless_change_is_told(change: Callable[[World], object], complaint: str) -> None:
    complaints = _changes(asked(FirewallChanges, change))
    assert len(complaints) == 1
    assert complaint in complaints[0]


def _in_flight(world: World) -> None:
    _journal(ARMED, CONFIRMED, SAVED, "armed id=02 conn=30:300")(world)
    world["facts"]["firewall-armed"] = {"id": "02", "conn": [30, 300]}
    _timer(world)


@pytest.mark.parametrize(
    "change",
    [
        _journal("loaded"),
        lambda w: w["commands"].update({"firewall-journal": command("")}),
        lambda w: w["commands"].update({"firewall-journal": command("-- No entries --")}),
        lambda w: w["commands"].pop("firewall-journal"),
        lambda w: w["commands"].pop("rollback-timers"),
        lambda w: w["facts"].update({"firewall-files": {}}),
        lambda w: w["commands"].update(
            {"firewall-journal": command(json.dumps({"MESSAGE": ARMED, "__REALTIME_TIMESTAMP": "²"}))}
        ),
        _journal(ARMED, CONFIRMED),
        _in_flight,
    ],
)
def test_unknown_changes_never_pass(change: Callable[[World], object]) -> None:
    with pytest.raises(Unmeasured):
        _changes(asked(FirewallChanges, change))


# --- the runbook ----------------------------------------------------------------------------------------------------


def _runbook(runbook: Runbook) -> list[str]:
    complaints = runbook.unusable()
    if runbook.text:
        complaints += [*runbook.stale_addresses(), *runbook.missing(PEOPLE), *runbook.missing_commands()]
    return complaints


def _text(old: str, new: str) -> Callable[[World], object]:
    def change(world: World) -> None:
        file = world["facts"]["runbook"]
        assert old in file["text"]
        file["text"] = file["text"].replace(old, new)

    return change


def test_the_good_runbook_has_no_complaint() -> None:
    assert _runbook(asked(Runbook)) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda w: w["facts"].update(runbook={"text": None}), "is missing or empty"),
        (lambda w: fact(w, "runbook", mode=0o666), "rewritten by others than root"),
        (_text("203.0.113.10,", "203.0.113.10, 203.0.113.77,"), "203.0.113.77, which this host no longer has"),
        (_text("2001:db8:113::10", "none"), "does not name 2001:db8:113::10"),
        (_text("Addresses", "Where"), "does not say at which addresses"),
        (_text("Ada Byron", "Ada Lovelace"), "does not mention 'Ada Byron'"),
        (_text("rollback.yml", "the playbook"), "does not show the command rollback.yml"),
    ],
)
def test_each_weakness_of_the_runbook_is_told(change: Callable[[World], object], complaint: str) -> None:
    complaints = _runbook(asked(Runbook, change))
    assert len(complaints) == 1
    assert complaint in complaints[0]


def test_wrapped_lines_still_mention() -> None:
    assert _runbook(asked(Runbook, _text("Ada Byron", "Ada\n  Byron"))) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w["facts"].pop("runbook"),
        lambda w: w["facts"].update({"route-sources": {"ipv4": None, "ipv6": None}}),
        lambda w: w["commands"].pop("ip-addr"),
        lambda w: w["facts"].update(runbook={"text": "words"}),
    ],
)
def test_an_unknown_runbook_never_passes(change: Callable[[World], object]) -> None:
    with pytest.raises(Unmeasured):
        _runbook(asked(Runbook, change))


# --- releases -------------------------------------------------------------------------------------------------------


def _releases(releases: Releases) -> list[str]:
    return [*releases.unproven(), *releases.lost_images(), *releases.weaker(1000, True)]


def _former(old: str, new: str) -> Callable[[World], object]:
    assert old in COMPOSE
    return lambda world: world["facts"]["releases"]["kept"][0].update(compose=COMPOSE.replace(old, new))


def _record(index: int, **changes: Any) -> Callable[[World], object]:
    return lambda world: world["facts"]["releases"]["kept"][index]["record"].update(changes)


def test_good_releases_have_no_complaint() -> None:
    assert _releases(asked(Releases)) == []


def test_a_failed_release_needs_no_image() -> None:
    assert _releases(asked(Releases, _record(0, state="failed", image_id="sha256:gone"))) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_record(1, state="candidate"), "release 2 is in use and candidate, not proven"),
        (_record(0, image_id="sha256:" + "9" * 64), "release 1 is kept, but its image"),
        (lambda w: fact(w, "releases", current="7"), "does not keep the current release 7"),
        (lambda w: fact(w, "releases", current=None), "does not keep the current release (none is marked)"),
        (
            lambda w: fact(w, "releases", **{"in-use": COMPOSE.replace("512", "513")}),
            "Compose file in use is not the one that release 2 keeps",
        ),
        (_former("    read_only: true\n", ""), "release 1 would run with a writable root file system"),
        (_former("cap_drop: [ALL]", "cap_drop: [NET_RAW]"), "release 1 would keep capabilities"),
        (_former("pids_limit: 512", "pids_limit: 512\n    cap_add: [NET_RAW]"), "would add capabilities"),
        (_former("1000:1000", "1000:0"), "would run as another user"),
        (_former("no-new-privileges:true", "label:disable"), "would let processes gain privileges"),
        (_former('["no-new', '["seccomp=unconfined", "no-new'), "would run unconfined"),
        (_former("pids_limit: 512", "pids_limit: 512\n    pid: host"), "would share a namespace"),
        (_former('"127.0.0.1:', '"'), "would publish a port beyond loopback"),
        (_former("    pids_limit: 512\n", ""), "would not bound its processes"),
        (_former("gateway:", "other:"), "keeps no readable Compose file"),
    ],
)
def test_each_bad_way_back_is_told(change: Callable[[World], object], complaint: str) -> None:
    complaints = _releases(asked(Releases, change))
    assert len(complaints) == 1
    assert complaint in complaints[0]


def test_a_container_of_another_release_is_told() -> None:
    other = container(Config={"Labels": {"clawkeep.role": "agent", "clawkeep.release": "1"}})
    complaints = _releases(asked(Releases, lambda world: world["commands"]["docker-containers"].update(json=[other])))
    assert complaints == ["container openclaw runs release 1, the current one is 2"]


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w["facts"].pop("releases"),
        lambda w: fact(w, "releases", kept=None),
        lambda w: w["commands"]["docker-containers"].update(json=[]),
        lambda w: w["facts"].update({"engine-images": []}),
    ],
)
def test_unknown_releases_never_pass(change: Callable[[World], object]) -> None:
    with pytest.raises(Unmeasured):
        _releases(asked(Releases, change))


# --- the kill command -----------------------------------------------------------------------------------------------


def _plan(plan: KillPlan) -> list[str]:
    images = {"sha256:" + "1" * 64}
    return [
        *plan.missed_containers(images),
        *plan.missed_bridges(images),
        *plan.unlisted_bridges(),
        *plan.revivers(images),
        *plan.nothing_to_revoke(),
        *plan.tampered_tools(),
    ]


def _second_agent(world: World) -> None:
    other = container(
        Id="b" * 64,
        Name="/helper",
        Config={"Image": "retagged:1", "Labels": {}},
        NetworkSettings={"Networks": {"none": {}}},
    )
    world["commands"]["docker-containers"]["json"].append(other)


def _second_network(world: World) -> None:
    world["commands"]["docker-networks"]["json"].append(network("side", "side0"))
    world["commands"]["docker-containers"]["json"][0]["NetworkSettings"]["Networks"]["side"] = {}


def _reviver(where: str, line: str, words: str, gates: list[str] | None = None) -> Callable[[World], object]:
    row = {"where": where, "line": line, "words": words, "gates": gates or []}
    return lambda world: world["facts"]["revivers"].append(row)


def test_the_good_plan_has_no_complaint() -> None:
    assert _plan(asked(KillPlan)) == []


def test_a_unit_that_the_kill_keeps_down_is_no_reviver() -> None:
    change = _reviver("openclaw.service", "clawkeep-release start", "clawkeep-release start", [KILLED])
    assert _plan(asked(KillPlan, change)) == []


def test_a_unit_that_the_plan_stops_or_that_means_others_is_no_reviver() -> None:
    def change(world: World) -> None:
        said(world, "kill-plan", units=["openclaw-up.service"])
        _reviver("openclaw-up.service", "/usr/bin/docker compose up", "compose up")(world)
        _reviver("web.service", "/usr/bin/docker start web", "docker start")(world)

    assert _plan(asked(KillPlan, change)) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda w: said(w, "kill-plan", containers=[]), "clawkeep-kill does not stop container openclaw"),
        (
            lambda w: said(
                w, "kill-plan", containers=[{"id": AGENT, "name": "openclaw", "restart_policy": "on-failure"}]
            ),
            "its policy on-failure starts it again",
        ),
        (_second_agent, "does not stop container helper"),
        (lambda w: said(w, "kill-plan", bridges=[]), "clawkeep0 is no target"),
        (_second_network, "side0 is no target"),
        (lambda w: w["facts"].update({"kill-settings": "bridges = clawkeep01 docker0"}), "does not list clawkeep0"),
        (lambda w: w["facts"].update({"kill-settings": None}), "kill.conf is missing"),
        (
            _reviver("keepalive.service", "/usr/local/bin/keep", "/usr/local/bin/keep: docker start openclaw"),
            "keepalive.service would start the agent again",
        ),
        (
            _reviver("/etc/cron.d/x", f"* * * * * root docker start {AGENT[:12]}", "docker start"),
            "/etc/cron.d/x would start",
        ),
        (
            _reviver("/etc/cron.d/x", "* * * * * root docker start $(docker ps -aq)", "docker start"),
            "would start the agent",
        ),
        (lambda w: said(w, "kill-plan", revoke=[]), "names no token to revoke"),
        (lambda w: said(w, "kill-plan", revoke=[{"name": "x"}]), "without saying where"),
        (lambda w: w["facts"]["break-glass-files"].append(entry("/etc/x", 0o777)), "/etc/x can be changed"),
    ],
)
def test_each_gap_of_the_plan_is_told(change: Callable[[World], object], complaint: str) -> None:
    complaints = _plan(asked(KillPlan, change))
    assert len(complaints) == 1
    assert complaint in complaints[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w["commands"].update({"kill-plan": command({}, status=1, stderr="kill.conf is missing")}),
        lambda w: w["commands"].pop("kill-plan"),
        lambda w: said(w, "kill-plan", bridges="clawkeep0"),
        lambda w: said(w, "kill-plan", containers=None),
        lambda w: w["commands"]["docker-containers"].update(json=[]),
        lambda w: w["commands"]["docker-networks"].update(json=[]),
        lambda w: w["commands"]["docker-networks"]["json"][1].pop("Labels"),
        lambda w: w["facts"].pop("kill-settings"),
        lambda w: w["facts"].pop("revivers"),
        lambda w: w["facts"].update({"break-glass-files": []}),
    ],
)
def test_an_unknown_plan_never_passes(change: Callable[[World], object]) -> None:
    with pytest.raises(Unmeasured):
        _plan(asked(KillPlan, change))
