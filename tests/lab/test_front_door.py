"""The front door on this machine, with real nginx, the real gate and a gateway that counts: `pytest -m lab`."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clawkeep.evidence.document import HostEvidence
from clawkeep.measure.probes.vantage import run_probe
from clawkeep.site.inventory import Vantage
from clawkeep.subjects.entry.web import Web
from tests.lab.front import ADDRESSES, PASSWORD, PEERS, STRANGERS, FrontDoor, run
from tests.unit.roles.conftest import render  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("nginx") is None, reason="needs root and Debian's nginx"),
]

RATE = {"attempts": 5, "per_seconds": 60, "lockout_seconds": 300}


@pytest.fixture(scope="module")
def door(render: Callable[..., str]) -> Iterator[FrontDoor]:  # noqa: F811
    # Not pytest's own folder, which the gate's account cannot pass through.
    with tempfile.TemporaryDirectory(prefix="t2x-web-") as folder, FrontDoor(Path(folder), render) as made:
        made.gate("user", "add", "anna", stdin=PASSWORD + "\n")
        yield made


@pytest.fixture(scope="module")
def facts(door: FrontDoor) -> dict[str, Any]:
    found = run_probe("clawkeep.measure.probes.web", Vantage(kind="netns", name=door.peer), door.wishes(), seconds=300)
    return {**found, "count": door.count()}


@pytest.fixture(scope="module")
def web(door: FrontDoor, facts: dict[str, Any]) -> Web:
    shown = run("ip", "netns", "exec", door.host, "nginx", "-T", "-q", "-c", str(door.conf)).splitlines()
    report = door.gate("report")
    commands = {
        "nginx-T": {"argv": ["nginx", "-T"], "status": 0, "lines": shown},
        "gate-report": {"argv": ["clawkeep-gate", "report"], "status": 0, "json": json.loads(report)},
    }
    inside = {"schema": 1, "commands": commands, "facts": {}, "problems": {}}
    seen = {"schema": 1, "commands": {}, "facts": facts, "problems": {}}
    return HostEvidence("here", {"schema": 1, "host": "here", "inside": inside, "vantages": {"web": seen}}).subject(Web)


def test_the_rendered_front_door_keeps_every_promise(web: Web) -> None:
    found = {
        "WEB-01": web.handshakes(("TLSv1.2", "TLSv1.3"))
        + web.certificates()
        + web.manners()
        + web.stray_listeners(ADDRESSES),
        "WEB-02": web.passed_without_session() + web.unguarded(),
        "WEB-03": web.spoofed(),
        "WEB-04": web.unthrottled(5) + web.lenient_gate(RATE, ADDRESSES) + web.unlimited(RATE, ADDRESSES),
        "WEB-05": web.weak_accounts(),
        "WEB-06": web.long_sessions(15, 240) + web.immortal_sessions(),
        "WEB-07": web.loose_cookies(),
        "WEB-08": web.foreign_origins() + web.frameable(),
    }
    assert {name: said for name, said in found.items() if said} == {}


def test_the_gateway_counted_only_requests_with_a_session(facts: dict[str, Any]) -> None:
    own = sum(one["own"] for one in facts["web-origins"])
    meant = len(facts["web-admitted"]) + own
    # Besides: the sessions before their end and one page through the door; the short one is used until it ends.
    assert meant + 3 <= facts["count"]
    assert not any(one["by"] == "other" for one in facts["web-anonymous"])


COUNTED = "            limit_req zone=requests burst=200 nodelay;\n"


@pytest.mark.parametrize(
    ("source", "path", "options"),
    [
        (PEERS[2], "/login", {}),
        (PEERS[0], "/login", {"method": "HEAD"}),
        (PEERS[0], "/", {}),
        (PEERS[1], "/healthz", {"host": "foreign.invalid"}),
        (STRANGERS[2], "/gate/session", {}),
    ],
)
def test_a_flood_is_refused_and_the_login_page_is_there_for_others(
    door: FrontDoor, source: str, path: str, options: dict[str, Any]
) -> None:
    seen = door.flood(source, path, **options)
    assert seen.get(429, 0) > 200, seen
    assert door.flood(PEERS[3], "/login", count=8) == {200: 8}


def test_without_its_own_line_the_login_page_is_not_limited(door: FrontDoor) -> None:
    """The control experiment: a location with a limit of its own inherits none, and the one of its own counts POST."""
    assert COUNTED in door.settings()
    door.reload(lambda text: text.replace(COUNTED, ""))
    try:
        assert door.flood(PEERS[2], "/login") == {200: 640}
    finally:
        door.reload(lambda text: text)


def test_a_peer_that_guesses_locks_out_nobody_but_itself(door: FrontDoor) -> None:
    guesses = [door.login(PEERS[4], f"nobody{number}", "wrong") for number in range(6)]
    assert guesses == [401] * 5 + [429]
    assert door.login(PEERS[5], "anna", PASSWORD) == 303


def test_whoever_changes_addresses_within_a_network_is_bounded(door: FrontDoor) -> None:
    guesses = [door.login(STRANGERS[number % 2], f"nobody{number}", "wrong") for number in range(11)]
    assert guesses == [401] * 10 + [429]
    assert door.login(STRANGERS[2], "anna", PASSWORD) == 303
