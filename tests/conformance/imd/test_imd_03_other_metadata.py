"""IMD-03: No other metadata endpoint, family, spelling or redirect works."""

from ipaddress import ip_network

import pytest

from clawkeep.evidence.document import HostEvidence
from clawkeep.register.tiers import Tier
from clawkeep.subjects.network.agent_paths import AgentPaths
from clawkeep.subjects.network.bypass import Bypass
from clawkeep.subjects.network.reach import Reach
from clawkeep_host.addresses import PLATFORM, metadata_networks

pytestmark = pytest.mark.control("IMD-03")

# All of the link-local block, not one address of it: container and pod services sit elsewhere in it.
ENDPOINTS = tuple(ip_network(text) for text in (*metadata_networks(), *PLATFORM))


def test_no_other_endpoint_or_spelling_answers(reach: Reach) -> None:
    assert reach.other_metadata_answers() == []


def test_forward_rules_drop_every_endpoint_in_both_families(agent_paths: AgentPaths) -> None:
    assert agent_paths.forwarded_to(ENDPOINTS) == []


def test_the_proxy_leads_to_no_endpoint(evidence: HostEvidence, tier: Tier, reach: Reach) -> None:
    assert reach.agents
    if tier["egress_mode"] == "proxy_allowlist":
        assert evidence.subject(Bypass).passed("IMD-03") == []
