"""WEB-04: Repeated wrong logins are throttled."""

import pytest

from clawkeep.base.verdict import NotApplicable
from clawkeep.evidence.document import HostEvidence
from clawkeep.register.tiers import Tier
from clawkeep.subjects.entry.web import Gateways, Web

pytestmark = pytest.mark.control("WEB-04")


def test_the_gateway_limits_attempts_from_loopback_too(gateways: Gateways) -> None:
    assert gateways.unlimited() == []


def test_a_burst_of_wrong_tokens_is_refused_and_others_are_served(gateways: Gateways) -> None:
    assert gateways.untiring() == []


@pytest.mark.vantage("web")
@pytest.mark.vantage("web")
def test_a_burst_of_wrong_logins_is_refused_and_others_are_asked(evidence: HostEvidence, tier: Tier) -> None:
    if not tier["web_enabled"]:
        raise NotApplicable("the tier has no login page")
    assert evidence.subject(Web).unthrottled() == []


@pytest.mark.vantage("web")
def test_the_gate_has_the_tiers_limits(evidence: HostEvidence, tier: Tier) -> None:
    if not tier["web_enabled"]:
        raise NotApplicable("the tier has no login page")
    rate = tier["web_login_rate"]
    web = evidence.subject(Web)
    assert web.patient_gate(rate["attempts"], rate["per_seconds"], rate["lockout_seconds"]) == []
