"""The catalogue as it was agreed: how many controls each area, tier and severity has, and which take no waiver."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from clawkeep.base import repo
from clawkeep.register import register
from clawkeep.register.register import Control, Proof

# New at tier 1, 2 and 3, by area.
AREAS = {
    "INV": (5, 0, 0),
    "NET": (9, 0, 1),
    "VPN": (0, 3, 0),
    "WEB": (3, 5, 0),
    "EGR": (1, 5, 0),
    "IMD": (3, 1, 0),
    "CTR": (10, 0, 0),
    "MNT": (4, 0, 1),
    "SBX": (3, 1, 0),
    "SEC": (6, 1, 0),
    "SKL": (5, 1, 0),
    "AGT": (10, 0, 0),
    "DKR": (4, 0, 1),
    "HST": (3, 2, 1),
    "LOG": (5, 5, 1),
    "PAT": (2, 1, 1),
    "BGL": (4, 1, 0),
}
UNWAIVABLE = {
    *("INV-02", "NET-02", "NET-04", "WEB-02", "WEB-03", "EGR-01", "IMD-01", "CTR-01", "CTR-02", "CTR-06", "MNT-01"),
    *("MNT-02", "SBX-01", "SEC-02", "SKL-02", "DKR-02", "BGL-01"),
}


@pytest.fixture(scope="module")
def controls() -> dict[str, Control]:
    return register.load(repo.find(Path(__file__)).controls)


def test_every_area_has_its_controls_at_each_tier(controls: dict[str, Control]) -> None:
    found = Counter((control.area, control.tier) for control in controls.values())
    assert {area: tuple(found[area, tier] for tier in (1, 2, 3)) for area in AREAS} == AREAS
    assert {control.area for control in controls.values()} == AREAS.keys()


def test_ids_are_counted_without_a_gap(controls: dict[str, Control]) -> None:
    assert set(controls) == {f"{area}-{n:02}" for area, new in AREAS.items() for n in range(1, sum(new) + 1)}


def test_tiers_and_severities_add_up(controls: dict[str, Control]) -> None:
    assert len(controls) == 109
    assert Counter(control.tier for control in controls.values()) == {1: 77, 2: 26, 3: 6}
    assert Counter(control.severity.value for control in controls.values()) == {
        "critical": 24,
        "high": 65,
        "medium": 20,
    }


def test_the_readme_counts_as_the_register_does(controls: dict[str, Control]) -> None:
    readme = " ".join((repo.find(Path(__file__)).root / "README.md").read_text(encoding="utf-8").split())
    found = Counter(control.proof for control in controls.values())
    attested = ", ".join(sorted(c.id for c in controls.values() if c.proof is Proof.MANUAL))
    assert f"each of its {len(controls)} controls: {found[Proof.AUTOMATED]} are `automated`" in readme
    assert f"{found[Proof.MANUAL]} rest on what a person attests beside what is measured ({attested})" in readme
    assert f"{found[Proof.PLANNED]} are `planned`" in readme


def test_absolute_promises_take_no_waiver(controls: dict[str, Control]) -> None:
    assert {control.id for control in controls.values() if not control.waivable} == UNWAIVABLE
