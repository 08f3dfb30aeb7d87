"""docs/tiers.md is what the register and the tier files say at this moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from clawkeep.base import repo
from clawkeep.register import register, tiers, tiers_page
from clawkeep.register.register import Control, Proof, Severity


@pytest.fixture(scope="module")
def checkout() -> repo.Repo:
    return repo.find(Path(__file__))


def test_the_page_in_the_repo_is_fresh(checkout: repo.Repo) -> None:
    fresh = tiers_page.render(register.load(checkout.controls), tiers.load(checkout.tiers))
    if (checkout.root / "docs" / "tiers.md").read_text(encoding="utf-8") != fresh:
        pytest.fail(f"docs/tiers.md is stale: `{tiers_page.COMMAND}` writes it again", pytrace=False)


def test_every_rank_of_the_register_and_of_the_tier_files_has_its_reason(checkout: repo.Repo) -> None:
    ranks = {reason.rank for reason in tiers_page.REASONS}
    assert {control.tier for control in register.load(checkout.controls).values()} <= ranks
    for tier in tiers.load(checkout.tiers).values():
        (reason,) = [reason for reason in tiers_page.REASONS if reason.rank == tier.rank]
        assert tier["tier"]["name"] == reason.name.lower()


def test_what_differs_is_told_apart_from_what_does_not() -> None:
    low = tiers.parse("tier1_a", {"tier": {"name": "a", "rank": 1}, "same": [1], "size": 1, "gone": "x|y"}, "a test")
    mid = tiers.parse("tier2_b", {"tier": {"name": "b", "rank": 2}, "same": [1], "size": 2}, "a test")
    top = tiers.parse("tier3_c", {"tier": {"name": "c", "rank": 3}, "same": [1], "size": 2, "new": True}, "a test")
    lines = tiers_page.render({}, {tier.name: tier for tier in (low, mid, top)}).splitlines()
    assert "| Setting | `tier1_a` | `tier2_b` | `tier3_c` |" in lines
    assert "| `size` | `1` | `2` |  |" in lines
    assert r'| `gone` | `"x\|y"` | not set |  |' in lines
    assert "| `new` | not set |  | `true` |" in lines
    assert "| `same` | `[1]` |" in lines


def test_each_control_stands_below_its_lowest_tier() -> None:
    one = Control("NET-10", "Zones exchange flows", 3, Severity.HIGH, Proof.PLANNED, True, "by hand")
    tier = tiers.parse("tier1_a", {"tier": {"name": "a", "rank": 1}}, "a test")
    said = tiers_page.render({"NET-10": one}, {"tier1_a": tier})
    head, _, tail = said.partition("### Added by tier 3, Enterprise: 1 (1 high)")
    assert "| [NET-10](controls/NET-10.md) | Zones exchange flows | high | planned |" in tail
    assert "NET-10" not in head
