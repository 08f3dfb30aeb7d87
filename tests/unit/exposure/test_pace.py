"""How fast the scans of a vantage are, and that a scan whose probes were lost is made again more slowly."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from clawkeep.base import repo
from clawkeep.evidence import store
from clawkeep.evidence.observation import Observation
from clawkeep.measure import probes
from clawkeep.register import tiers
from clawkeep.site.inventory import Site, Vantage

CHECKOUT = repo.find(Path(__file__))


@pytest.fixture(scope="module")
def recorded() -> Observation:
    (seen,) = store.load(CHECKOUT.recorded / "tier1_personal", tiers.load(CHECKOUT.tiers))
    return seen


def paces(recorded: Observation, monkeypatch: pytest.MonkeyPatch, vantage: Vantage, fast: int) -> list[int]:
    """The paces at which a host is scanned from outside when nothing arrives of a scan that is faster than `fast`."""
    assert recorded.evidence is not None
    raw = recorded.evidence.raw
    seen = copy.deepcopy(raw["vantages"]["outside"]["facts"])
    grown = seen.pop("counters")
    used: list[int] = []

    def run(module: str, _: Vantage, wishes: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        assert (module, seconds) == ("clawkeep.measure.probes.outside", probes.SECONDS)
        used.append(wishes["pace"])
        return {**copy.deepcopy(seen), "scan-problems": []}

    def ask(_: Sequence[str]) -> str:
        return json.dumps(grown["after" if used[-1] <= fast else "before"])

    monkeypatch.setattr(probes, "run_probe", run)
    monkeypatch.setattr(probes, "_first_counters", lambda _: grown["before"])
    site = Site.model_validate({**recorded.site.model_dump(), "vantages": {"outside": vantage.model_dump()}})
    documents = probes.measure(recorded.host, site, raw["inside"], ask)
    assert set(documents) == {"outside"}
    return used


def test_a_scan_has_the_pace_of_its_vantage(recorded: Observation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paces(recorded, monkeypatch, Vantage(kind="local"), 7500) == [7500]
    assert paces(recorded, monkeypatch, Vantage(kind="local", pace=20_000), 20_000) == [20_000]


def test_what_was_lost_on_the_way_is_scanned_again_more_slowly(
    recorded: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paces(recorded, monkeypatch, Vantage(kind="local"), 2500) == [7500, 2500]
    assert paces(recorded, monkeypatch, Vantage(kind="local", pace=30_000), 6000) == [30_000, 10_000, 6000]
    assert paces(recorded, monkeypatch, Vantage(kind="local"), 0) == [7500, 2500, 1500]


@pytest.mark.parametrize("pace", [0, 99, 100_001, -1])
def test_a_pace_that_no_path_has_is_refused(pace: int) -> None:
    with pytest.raises(ValidationError):
        Vantage(kind="local", pace=pace)
