"""BGL-03: Emergency access is sealed, time-limited and alarmed."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.host.emergency import Emergency

pytestmark = pytest.mark.control("BGL-03")


def test_there_is_one_way_in_and_it_takes_the_offline_key(emergency: Emergency, tier: Tier, site: Site) -> None:
    assert tier["breakglass_emergency_account"]
    assert emergency.missing(site.emergency_key) == []


def test_it_is_sealed_and_nothing_of_an_opening_is_left(emergency: Emergency) -> None:
    assert emergency.unsealed() == []
