"""WEB-03: The gateway authenticates for itself and trusts only its proxy."""

import pytest

from clawkeep.evidence.web import Gateways
from clawkeep.tiers import Tier

pytestmark = pytest.mark.control("WEB-03")


def test_the_gateway_asks_for_its_token_and_trusts_its_proxy_alone(gateways: Gateways, tier: Tier) -> None:
    assert gateways.open_doors(tier["openclaw_trusted_proxies"]) == []
