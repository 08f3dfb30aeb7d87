"""WEB-04: Repeated wrong logins are throttled."""

import pytest

from clawkeep.evidence.web import Gateways

pytestmark = pytest.mark.control("WEB-04")


def test_the_gateway_limits_attempts_from_loopback_too(gateways: Gateways) -> None:
    assert gateways.unlimited() == []
