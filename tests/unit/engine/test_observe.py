"""Observing hosts: in parallel, each for itself, and never an outside scan without the inside."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.conftest import Observe

from clawkeep.base import clock
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.repo import Repo
from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.measure import probes
from clawkeep.measure.probes import Ask
from clawkeep.measure.transport import TransportError
from clawkeep.site.inventory import Host, Inventory, Site, Vantage
from clawkeep.subjects.measurement import Measurement

INSIDE = {"schema": 1, "commands": {}, "facts": {"ports": []}, "problems": {}}


Run = Callable[..., list[Observation]]


class Way:
    """A connection that answers as the test says."""

    def __init__(self, answer: Mapping[str, object] | Exception, barrier: threading.Barrier | None = None) -> None:
        self.answer, self.barrier, self.asked = answer, barrier, 0
        self.parameters: Mapping[str, object] = {}

    def collect(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked += 1
        self.parameters = parameters
        if self.barrier is not None:
            self.barrier.wait(5)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def ask(self, argv: Sequence[str]) -> str:
        return " ".join(argv)


def seen(observed: Observation) -> HostEvidence:
    assert observed.evidence is not None
    return observed.evidence


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, observe: Observe) -> Run:
    tier = observe().host.tier
    site = Site(name="x", console="a secret door", vantages={"outside": Vantage(kind="local")})

    def go(ways: Mapping[str, Way], **options: bool) -> list[Observation]:
        hosts = tuple(Host(name, tier, ("192.0.2.1",)) for name in ways)
        inventory = Inventory(tmp_path, hosts, site, {})
        monkeypatch.setattr("clawkeep.measure.observe.connections", lambda *_: ways)
        from clawkeep.measure.observe import observe as live

        return live(inventory, Repo(tmp_path), **options)

    return go


def test_hosts_are_collected_at_the_same_time_and_told_in_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "measure", lambda *_: {})
    barrier = threading.Barrier(12)
    ways = {f"host{i:02}": Way(INSIDE, barrier) for i in range(12)}
    observed = run(ways)
    assert [o.host.name for o in observed] == list(ways)
    assert all(o.reached for o in observed)
    assert {way.asked for way in ways.values()} == {1}


def test_each_host_is_dated_by_this_machine_from_its_question_to_its_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "measure", lambda *_: {})
    times = iter(f"2026-11-23T09:10:0{second}Z" for second in range(9))
    monkeypatch.setattr(clock, "now", lambda: next(times))

    class Slow(Way):
        def collect(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
            next(times)  # a moment of it
            return super().collect(parameters)

    (observed,) = run({"alpha": Slow(INSIDE)})
    controller = seen(observed).vantage("controller")
    assert controller.fact("asked") == controller.raw["started"] == "2026-11-23T09:10:00Z"
    assert controller.fact("measured") == {"began": "2026-11-23T09:10:01Z", "ended": "2026-11-23T09:10:03Z"}
    assert controller.raw["finished"] == "2026-11-23T09:10:03Z"
    assert seen(observed).subject(Measurement).day == datetime.date(2026, 11, 23)


def test_a_host_that_gives_nothing_is_there_with_its_reason_and_is_not_probed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = []
    monkeypatch.setattr(probes, "measure", lambda host, *_: probed.append(host.name) or {})
    up, down = run({"up": Way(INSIDE), "down": Way(TransportError("down is unreachable"))})
    assert (up.reached, down.reached, down.message) == (True, False, "down is unreachable")
    assert probed == ["up"]


def test_the_probes_get_the_inside_and_a_way_to_ask(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(host: Host, site: Site, inside: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
        return {"outside": {"schema": 1, "facts": {"heard": [host.name, site.name, inside["facts"], ask(["a", "b"])]}}}

    monkeypatch.setattr(probes, "measure", measure)
    (observed,) = run({"alpha": Way(INSIDE)})
    assert seen(observed).vantage("outside").fact("heard") == ["alpha", "x", {"ports": []}, "a b"]


@pytest.mark.parametrize("problem", [ClawkeepError("nmap is missing"), RuntimeError("nmap is missing")])
def test_probes_that_break_cost_only_themselves(run: Run, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def measure(*_: object) -> None:
        raise problem

    monkeypatch.setattr(probes, "measure", measure)
    (observed,) = run({"alpha": Way(INSIDE)})
    assert seen(observed).inside.fact("ports") == []
    with pytest.raises(Unmeasured, match="nmap is missing"):
        seen(observed).vantage("outside").fact("open")


def test_what_probes_found_is_what_a_bundle_would_give_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "measure", lambda *_: {"outside": {"schema": 1, "facts": {"b": (1,), "a": 2}}})
    (observed,) = run({"alpha": Way(INSIDE)})
    assert json.dumps(seen(observed).raw["vantages"]["outside"]) == '{"facts": {"a": 2, "b": [1]}, "schema": 1}'


def test_what_the_controller_knows_is_there_without_a_probe(run: Run) -> None:
    (observed,) = run({"alpha": Way(INSIDE)}, inside_only=True)
    assert seen(observed).raw["vantages"].keys() == {"controller"}
    assert seen(observed).vantage("controller").fact("estate") is None


def test_inside_only_probes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "measure", lambda *_: pytest.fail("probed"))
    (observed,) = run({"alpha": Way(INSIDE)}, inside_only=True)
    with pytest.raises(Unmeasured, match="not measured from the outside"):
        seen(observed).vantage("outside")


def test_the_collector_is_told_no_person_and_no_secret_of_the_site(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "measure", lambda *_: {})
    way = Way(INSIDE)
    run({"alpha": way})
    assert way.parameters["host"] == {"name": "alpha", "addresses": ["192.0.2.1"]}
    assert way.parameters["tier"]["openclaw_port"] == 18789  # type: ignore[index]
    assert way.parameters["site"].keys().isdisjoint({"operators", "signers", "console", "images"})  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("asked", "told"), [({}, True), ({"turns": False}, False), ({"inside_only": True, "turns": True}, False)]
)
def test_agents_take_a_turn_unless_less_is_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], told: bool
) -> None:
    monkeypatch.setattr(probes, "measure", lambda *_: {})
    way = Way(INSIDE)
    run({"alpha": way}, **asked)
    assert way.parameters["turns"] is told
