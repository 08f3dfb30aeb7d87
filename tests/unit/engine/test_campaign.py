"""A campaign of sabotages on a lab that is played: every way in which one can end is told, none passes for success."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.engine.conftest import Checkout, Observe

from clawkeep.base.clock import now
from clawkeep.base.errors import ClawkeepError
from clawkeep.cli.sabotage import choose
from clawkeep.evidence import store
from clawkeep.lab import ssh
from clawkeep.lab.topology import SCENARIOS, Lab
from clawkeep.sabotage import campaign, world
from clawkeep.sabotage.campaign import Campaign

Make = Callable[..., tuple[Campaign, world.Sabotage]]

OPEN = """\
control: NET-01
kind: crude
title: A port is open
do: open
await: is-open
red: [NET-01]
undo: shut
"""


class Host:
    """The lab host: its shell knows `open`, `shut` and `is-open`; verification sees what they did."""

    def __init__(self) -> None:
        self.facts: dict[str, object] = {"ports": [], "quiet": [], "pid": 1}
        self.restored: list[str] = []
        self.statuses: dict[str, int] = {}
        self.shut_works = True

    def restore(self, _: Lab, name: str) -> None:
        self.restored.append(name)
        self.facts = {"ports": [], "quiet": [], "pid": len(self.restored)}

    def run(self, _lab: Lab, _port: int, command: str, _seconds: float) -> subprocess.CompletedProcess[str]:
        word = command.split()[-1].strip("'\"")
        if word == "open":
            self.facts["ports"] = ["80 is open"]
        if word == "shut" and self.shut_works:
            self.facts["ports"] = []
        return subprocess.CompletedProcess([], self.statuses.get(word, 0), "", "first\nno such thing\n")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, observe: Observe) -> Host:
    played = Host()
    monkeypatch.setattr("clawkeep.lab.lab.restore", played.restore)
    monkeypatch.setattr(ssh, "run", played.run)
    monkeypatch.setattr("clawkeep.lab.state.load", lambda _: SimpleNamespace(port=22))
    monkeypatch.setattr(Campaign, "_observe", lambda *_, **__: observe(facts=dict(played.facts)))
    monkeypatch.setattr(campaign, "AWAIT_SECONDS", 0.2)
    monkeypatch.setattr(campaign, "POLL_SECONDS", 0.05)
    return played


@pytest.fixture
def make(checkout: Checkout, tmp_path: Path) -> Make:
    for control, fact in (("NET-01", "ports"), ("NET-02", "quiet")):
        checkout.page(control)
        checkout.test(control, f"def test_it(evidence):\n    assert evidence.inside.fact('{fact}') == []\n")
    checkout.repo.sabotages.mkdir()

    def write(text: str = OPEN) -> tuple[Campaign, world.Sabotage]:
        path = checkout.repo.sabotages / "NET-01-open.yml"
        path.write_text(text)
        return Campaign(Lab(SCENARIOS["tier1_personal"], tmp_path / "lab"), checkout.repo), world.read(path)

    return write


def test_a_sabotage_that_turns_exactly_its_controls_red(host: Host, make: Make) -> None:
    staged, sabotage = make()
    staged.green()
    outcome = staged.run(sabotage, undo=True)
    assert (outcome.complaints, outcome.red) == ((), frozenset({"NET-01"}))
    assert host.restored == ["green", "green"]


def test_what_it_does_is_root_shell_that_stops_at_the_first_error(
    host: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    played = host.run
    monkeypatch.setattr(ssh, "run", lambda *a: (commands.append(a[2]), played(*a))[1])
    staged, sabotage = make()
    staged.run(sabotage)
    assert len(commands) == 2
    assert all(command.startswith("exec sudo -n -- bash -c") for command in commands)
    assert all("bash -euo pipefail -c" in command for command in commands)


@pytest.mark.parametrize(
    ("text", "statuses", "sentence"),
    [
        (OPEN.replace("do: open", "do: nothing"), {}, "NET-01 stayed green"),
        (OPEN.replace("red: [NET-01]", "red: [NET-01, NET-02]"), {}, "NET-02 stayed green"),
        (OPEN, {"open": 3}, "`do` of NET-01-open ended with status 3: no such thing"),
        (OPEN, {"is-open": 1}, "was not in force within 0.2 s: no such thing"),
        (OPEN, {"shut": 1}, "`undo` of NET-01-open ended with status 1"),
    ],
)
def test_a_sabotage_that_does_not_keep_its_promise(
    host: Host, make: Make, text: str, statuses: dict[str, Any], sentence: str
) -> None:
    host.statuses = statuses
    staged, sabotage = make(text)
    outcome = staged.run(sabotage, undo=True)
    (complaint,) = outcome.complaints
    assert sentence in complaint


def test_an_undo_that_leaves_the_host_red_is_told(host: Host, make: Make) -> None:
    host.shut_works = False
    staged, sabotage = make()
    assert staged.run(sabotage).complaints == ()
    assert staged.run(sabotage, undo=True).complaints == ("after undo, NET-01 fail: 80 is open",)


@pytest.mark.usefixtures("host")
def test_a_host_that_is_lost_is_no_red(make: Make, monkeypatch: pytest.MonkeyPatch, observe: Observe) -> None:
    monkeypatch.setattr(Campaign, "_observe", lambda *_, **__: observe(message="alpha is unreachable"))
    staged, sabotage = make()
    assert staged.run(sabotage).complaints == ("the host was not measured: alpha is unreachable",)


@pytest.mark.usefixtures("host")
def test_a_snapshot_that_is_not_green_stops_the_campaign(
    make: Make, monkeypatch: pytest.MonkeyPatch, observe: Observe
) -> None:
    monkeypatch.setattr(Campaign, "_observe", lambda *_, **__: observe(facts={"ports": [], "quiet": ["loud"]}))
    staged, _ = make()
    with pytest.raises(ClawkeepError, match="not green, so nothing can be broken in it: NET-02 fail: loud"):
        staged.green()


@pytest.mark.usefixtures("host")
def test_a_world_is_recorded_on_the_good_bundle(make: Make, checkout: Checkout, observe: Observe) -> None:
    staged, sabotage = make()
    good = checkout.repo.recorded / "tier1_x"
    checkout.repo.tiers.mkdir(parents=True)
    (checkout.repo.tiers / "tier1_x.yml").write_text("tier: {name: x, rank: 1}\n")
    lost = staged.run(sabotage, keep=True)
    assert "is missing: record it with `clawkeep verify" in lost.complaints[0]
    store.save(good, [observe(facts={"ports": [], "quiet": [], "pid": 99})], now())
    outcome = staged.run(sabotage, keep=True)
    assert (outcome.complaints, outcome.operations) == ((), 1)
    assert world.read_patch(sabotage) == [{"op": "add", "path": "/inside/facts/ports/0", "value": "80 is open"}]


@pytest.mark.usefixtures("host")
def test_what_did_not_keep_its_promise_is_not_recorded(make: Make) -> None:
    staged, sabotage = make(OPEN.replace("do: open", "do: nothing"))
    assert staged.run(sabotage, keep=True).operations is None
    assert not sabotage.patch.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "say which sabotages"),
        ({"every": True, "some": True}, "say which sabotages"),
        ({"stems": ["NET-01-shut"]}, "there is no tests/sabotage/NET-01-shut.yml"),
        ({"stems": ["NET-01-made"]}, "NET-01-made is constructed"),
    ],
)
def test_a_wrong_choice_is_one_sentence(make: Make, arguments: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    _, sabotage = make()
    made = Path(tmp_path / "NET-01-made.yml")
    made.write_text("control: NET-01\nkind: subtle\ntitle: x\nred: [NET-01]\nconstructed: true\n")
    known = [sabotage, world.read(made)]
    with pytest.raises(ClawkeepError, match=sentence):
        choose(known, **{"stems": [], "every": False, "some": False, **arguments})
    assert choose(known, [], every=True, some=False) == [sabotage]
