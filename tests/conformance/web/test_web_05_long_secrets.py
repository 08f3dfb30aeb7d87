"""WEB-05: Passwords and tokens are long, random and slowly hashed."""

import pytest

from clawkeep.base.verdict import NotApplicable
from clawkeep.evidence.document import HostEvidence
from clawkeep.register.tiers import Tier
from clawkeep.subjects.entry.web import Gateways, Web

pytestmark = pytest.mark.control("WEB-05")


def test_the_gateways_token_is_long_and_random(gateways: Gateways) -> None:
    assert gateways.weak_tokens() == []


@pytest.mark.vantage("web")
@pytest.mark.vantage("web")
def test_passwords_are_hashed_slowly_and_no_default_opens(evidence: HostEvidence, tier: Tier) -> None:
    if not tier["web_enabled"]:
        raise NotApplicable("the tier has no accounts of people")
    assert evidence.subject(Web).weak_accounts() == []
