"""WEB-03: The gateway authenticates for itself and trusts only its proxy."""

import pytest

from clawkeep.base.verdict import NotApplicable
from clawkeep.evidence.document import HostEvidence
from clawkeep.register.tiers import Tier
from clawkeep.subjects.entry.web import Gateways, Web

pytestmark = pytest.mark.control("WEB-03")


def test_the_gateway_asks_for_its_token_and_trusts_its_proxy_alone(gateways: Gateways, tier: Tier) -> None:
    assert gateways.open_doors(tier["openclaw_trusted_proxies"]) == []


@pytest.mark.vantage("web")
def test_nginx_overwrites_what_a_client_says_of_itself(evidence: HostEvidence, tier: Tier) -> None:
    if not tier["web_enabled"]:
        raise NotApplicable("the tier has no browser entry")
    assert evidence.subject(Web).spoofed() == []
