"""EGR-03: Disguised destinations are refused."""

import pytest

from clawkeep.subjects.network.bypass import Bypass
from clawkeep.subjects.network.proxy import Proxy

pytestmark = pytest.mark.control("EGR-03")


def test_every_disguise_is_refused(bypass: Bypass) -> None:
    assert bypass.passed("EGR-03") == []


def test_the_proxy_decides_in_the_proved_order(proxy: Proxy) -> None:
    assert proxy.not_in_force() == []
    assert proxy.weak_decision() == []
