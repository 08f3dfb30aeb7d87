"""Every way around the proxy, tried against real Squid, dnsmasq and nftables with the roles' own configurations.

Needs root and Squid with TLS inspection; three network namespaces of this test's own hold everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clawkeep.collector.experiments.bypass_cases import CASES, DIRECT
from clawkeep.subjects.network.bypass import Bypass
from tests.unit.exposure import worlds

from . import rig

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(bool(rig.missing()), reason=f"needs {', '.join(rig.missing())} for a proxy of its own"),
]
CONTROLS = ("EGR-01", "EGR-02", "EGR-03", "EGR-04", "IMD-03")


@pytest.fixture(scope="module")
def built(render: Callable[..., str]) -> Iterator[rig.Rig]:
    """The namespaces and the world, with the tier's rules loaded."""
    with rig.built(render) as made:
        made.filter(made.ruleset())
        yield made


def judged(found: dict[str, Any]) -> Bypass:
    own = worlds.inside()
    own["facts"]["bypass"] = found["bypass"]
    for when in ("before", "after"):
        own["commands"][f"bypass-counters-{when}"] = worlds.command("nft -j list counters", json=found[when])
    return Bypass.read(worlds.host(own))


def test_every_way_is_closed_and_every_control_experiment_holds(built: rig.Rig) -> None:
    with built.daemons():
        bypass = judged(built.tried())
    assert {name: bypass.passed(name) for name in CONTROLS} == {name: [] for name in CONTROLS}
    assert bypass.unreachable() == []
    log = (built.folder / "log" / "access.log").read_text(encoding="utf-8").splitlines()
    clients = {entry["client"] for entry in map(json.loads, log) if entry["hop"] == "3128"}
    assert clients == {"172.30.0.2"}


def test_a_secret_in_an_address_is_not_written_down(built: rig.Rig) -> None:
    secret = "clawkeep-canary-0123456789abcdef"  # noqa: S105 - a dummy
    with built.daemons():
        url = f"http://secret-probe.invalid/?api_key={secret}"
        rig.within(rig.AGENT, "curl", "-sS", "-m", "10", "-o", "/dev/null", "-x", "http://172.30.0.1:3128", url)
    log = (built.folder / "log" / "access.log").read_text(encoding="utf-8")
    assert "secret-probe.invalid" in log
    assert secret not in log


def test_without_the_rules_every_direct_way_is_open(built: rig.Rig) -> None:
    built.filter("add table inet clawkeep\ndelete table inet clawkeep\n")
    try:
        with built.daemons():
            (agent,) = judged({**built.tried(), "before": worlds.counters(), "after": worlds.counters()}).agents
    finally:
        built.filter(built.ruleset())
    direct = [one for one in agent.attempts if one.case.way in DIRECT]
    assert len(direct) == len([case for case in CASES if case.way in DIRECT])
    assert {one.case.id for one in direct if one.outcome not in ("open", "answered")} == set()


def swapped(name: str, old: str, new: str) -> Callable[[dict[str, str]], None]:
    def change(files: dict[str, str]) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new)

    return change


@pytest.mark.parametrize(
    ("control", "case", "change"),
    [
        pytest.param(
            "EGR-03",
            "sni-other",
            swapped("squid.conf", "ssl_bump peek hello", "ssl_bump splice all"),
            id="no-inspection",
        ),
        pytest.param(
            "EGR-02",
            "approved-plain",
            swapped("squid.conf", "http_access deny !tunnel", "http_access allow approved\nhttp_access deny !tunnel"),
            id="allow-first",
        ),
        pytest.param("EGR-04", "name-a", swapped("dnsmasq.conf", "address=/#/", "server=198.51.100.53"), id="asks-on"),
        pytest.param("EGR-04", "name-below", swapped("dnsmasq.conf", "address=/*.", "#address=/*."), id="labels-below"),
    ],
)
def test_a_hole_is_seen(built: rig.Rig, control: str, case: str, change: Callable[[dict[str, str]], None]) -> None:
    with built.daemons(change):
        found = judged(built.tried()).passed(control)
    assert [sentence for sentence in found if f" {case}, " in sentence]


@pytest.mark.usefixtures("built")
def test_an_account_of_the_host_that_may_not_send_does_not() -> None:
    target = "http://198.51.100.10/"
    curl = ("curl", "-s", "-o", "/dev/null", "-m", "5", "-w", "%{http_code}", target)

    def status(uid: int) -> str:
        owner = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
        return rig.run("ip", "netns", "exec", rig.HOST, *owner, *curl, check=False)

    assert {uid: status(uid) for uid in (0, 13, 42)} == {0: "200", 13: "200", 42: "200"}
    assert {uid: status(uid) for uid in (rig.AGENT_UID, 33)} == {rig.AGENT_UID: "000", 33: "000"}
