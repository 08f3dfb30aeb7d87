"""EGR-02: Approved domains, and only those, pass the proxy."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.site.approvals import approved, objections
from clawkeep.site.inventory import Site
from clawkeep.subjects.measurement import Measurement
from clawkeep.subjects.network.bypass import Bypass
from clawkeep.subjects.network.proxy import Proxy

pytestmark = pytest.mark.control("EGR-02")


def test_every_approved_name_passes(bypass: Bypass) -> None:
    assert bypass.unreachable() == []


def test_no_other_name_passes(bypass: Bypass) -> None:
    assert bypass.passed("EGR-02") == []


def test_the_list_in_force_is_the_declared_one(proxy: Proxy, tier: Tier, site: Site) -> None:
    assert proxy.not_in_force() == []
    assert proxy.list_differs(one.name for one in approved(tier, site)) == []


def test_somebody_answers_for_every_entry(proxy: Proxy, tier: Tier, site: Site, measurement: Measurement) -> None:
    assert proxy.proxy is not None
    assert objections(approved(tier, site), measurement.day) == []
