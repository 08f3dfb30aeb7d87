"""EGR-01: Agent containers have no direct way out."""

from ipaddress import ip_network

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.network.agent_paths import AgentPaths
from clawkeep.subjects.network.bypass import Bypass
from clawkeep.subjects.network.openings import agents_services

pytestmark = pytest.mark.control("EGR-01")

EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def test_no_packet_past_the_proxy_is_answered(bypass: Bypass) -> None:
    assert bypass.passed("EGR-01") == []


def test_forward_rules_drop_everything_from_the_agent(agent_paths: AgentPaths) -> None:
    assert agent_paths.forwarded_to(EVERYWHERE) == []


def test_input_rules_accept_proxy_and_name_server_alone(agent_paths: AgentPaths, tier: Tier) -> None:
    assert agent_paths.accepted_by_host(agents_services(tier["egress_mode"])) == []
