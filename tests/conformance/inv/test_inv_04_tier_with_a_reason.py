"""INV-04: Each host holds exactly one tier with a recorded reason."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.governance.estate import Estate

pytestmark = pytest.mark.control("INV-04")


def test_the_host_is_in_one_tier_group(estate: Estate, tier: Tier) -> None:
    assert estate.beside(tier.name) == []


def test_the_host_was_brought_to_that_tier(estate: Estate, tier: Tier) -> None:
    assert estate.recorded_otherwise(tier.name) == []


def test_the_site_says_why(estate: Estate, tier: Tier) -> None:
    assert estate.unreasoned(tier.name) == []


def test_the_reason_was_reviewed(estate: Estate, tier: Tier) -> None:
    assert estate.unreviewed(tier["estate_review_days"]) == []


def test_the_tier_admits_the_data(estate: Estate, tier: Tier) -> None:
    assert estate.data_beyond(tier["estate_data_classes"]) == []


def test_the_tier_takes_the_credentials(estate: Estate, tier: Tier) -> None:
    assert estate.credentials_beyond(tier["secrets_kind"]) == []
