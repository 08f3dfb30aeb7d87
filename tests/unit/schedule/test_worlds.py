"""The sabotages that are committed beside the inventory: each is made on a lab's inventory as `clawkeep lab up` writes
it, without its machine, and turns exactly its controls red; its recorded patch says the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base import clock, repo
from clawkeep.evidence.document import CONTROLLER as VANTAGE
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.lab import inventory as lab_inventory
from clawkeep.lab.containers import Image
from clawkeep.lab.topology import SCENARIOS, Lab
from clawkeep.measure.controller import Controller
from clawkeep.measure.transport import connections
from clawkeep.sabotage import campaign, record, world
from clawkeep.sabotage.world import Sabotage
from clawkeep.site import inventory
from clawkeep.verify.evaluate import evaluate

CHECKOUT = repo.find(Path(__file__))
BESIDE = {stem: one for stem, one in world.load(CHECKOUT.sabotages).items() if one.here}


def make(lab: Lab, good: Observation, sabotage: Sabotage | None) -> Observation:
    """The good host beside a lab's inventory, broken as `sabotage` says, at the time at which the host was recorded."""
    assert good.evidence is not None
    lab.state.mkdir()
    (lab.state / "id_ed25519").touch()
    folder = lab_inventory.write(lab, 22, (Image("clawkeep/openclaw:1", "sha256:" + "0" * 64),))
    if sabotage is not None:
        done = campaign.here(sabotage.here, folder, lab_inventory.ledger(lab))
        assert done.returncode == 0, done.stderr
    found = inventory.load(folder, CHECKOUT)
    node = found.control_node
    ways = connections(found, CHECKOUT.root / "ansible.cfg")
    known = Controller.look(found, ways[node.name].ask if node is not None else None)
    raw: dict[str, Any] = json.loads(json.dumps(good.evidence.raw))
    raw["vantages"][VANTAGE] = json.loads(json.dumps(known.document(found.hosts[0], clock.now(), clock.now())))
    return dataclasses.replace(good, evidence=HostEvidence(good.host.name, raw))


@pytest.fixture(scope="module")
def good() -> Observation:
    return record.recorded(CHECKOUT, "tier1_personal")


@pytest.fixture
def _then(good: Observation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the recording: patches hold times that are to be compared with it."""
    assert good.evidence is not None
    asked = good.evidence.vantage(VANTAGE).fact("asked")
    monkeypatch.setattr(clock, "now", lambda: asked)


@pytest.mark.usefixtures("_then")
def test_the_labs_own_inventory_is_in_order(tmp_path: Path, good: Observation) -> None:
    observed = make(Lab(SCENARIOS["tier1_personal"], tmp_path / "lab"), good, None)
    results = {result.control: result for result in evaluate([observed], checkout=CHECKOUT).results}
    assert (results["INV-04"].status, results["LOG-09"].status) == ("pass", "pass")
    assert "no run has counted yet" in results["LOG-09"].message


@pytest.fixture(scope="module")
def made(good: Observation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By sabotage how it differed from its promise; all of them judged in one run."""
    patch = pytest.MonkeyPatch()
    assert good.evidence is not None
    asked = good.evidence.vantage(VANTAGE).fact("asked")
    patch.setattr(clock, "now", lambda: asked)
    folder = tmp_path_factory.mktemp("labs")
    worlds = []
    for stem, sabotage in BESIDE.items():
        observed = make(Lab(SCENARIOS["tier1_personal"], folder / stem), good, sabotage)
        worlds.append(dataclasses.replace(observed, host=dataclasses.replace(observed.host, name=stem)))
    patch.undo()
    report = evaluate(worlds, checkout=CHECKOUT)
    return {stem: world.complaints(sabotage, report, stem) for stem, sabotage in BESIDE.items()}


@pytest.mark.parametrize("stem", BESIDE)
def test_a_sabotage_beside_the_inventory_turns_exactly_its_controls_red(stem: str, made: dict[str, list[str]]) -> None:
    assert made[stem] == []
