"""WEB-04: Repeated wrong logins are throttled."""

import pytest

from clawkeep.base.verdict import NotApplicable
from clawkeep.evidence.document import HostEvidence
from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.entry.web import Gateways, Web

pytestmark = pytest.mark.control("WEB-04")


def test_the_gateway_limits_attempts_from_loopback_too(gateways: Gateways) -> None:
    assert gateways.unlimited() == []


def test_a_burst_of_wrong_tokens_is_refused_and_others_are_served(gateways: Gateways) -> None:
    assert gateways.untiring() == []


@pytest.mark.vantage("web")
def test_a_burst_of_wrong_logins_is_refused_and_others_are_asked(evidence: HostEvidence, tier: Tier) -> None:
    if not tier["web_enabled"]:
        raise NotApplicable("the tier has no login page")
    assert evidence.subject(Web).unthrottled(tier["web_login_rate"]["attempts"]) == []


@pytest.mark.vantage("web")
def test_the_gate_counts_and_locks_as_the_tier_says(evidence: HostEvidence, tier: Tier, site: Site) -> None:
    if not tier["web_enabled"]:
        raise NotApplicable("the tier has no session gate")
    assert evidence.subject(Web).lenient_gate(tier["web_login_rate"], site.web_addresses) == []


@pytest.mark.vantage("web")
def test_nginx_limits_every_request_and_logins_more(evidence: HostEvidence, tier: Tier, site: Site) -> None:
    if not tier["web_enabled"]:
        raise NotApplicable("the tier has no browser entry")
    assert evidence.subject(Web).unlimited(tier["web_login_rate"], site.web_addresses) == []
