"""BGL-04: A container restriction that breaks service backs out to the last proven release."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.containers.releases import Releases

pytestmark = pytest.mark.control("BGL-04")


def test_what_runs_is_the_current_release_and_proven(releases: Releases) -> None:
    assert releases.unproven() == []


def test_kept_releases_still_have_their_image(releases: Releases) -> None:
    assert releases.lost_images() == []


def test_no_kept_release_is_weaker_than_the_tier(releases: Releases, tier: Tier) -> None:
    assert releases.weaker(tier["openclaw_uid"], tier["openclaw_read_only"]) == []
