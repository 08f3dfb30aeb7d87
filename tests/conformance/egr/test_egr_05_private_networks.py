"""EGR-05: Agent containers reach no private network, host service or other container."""

from ipaddress import ip_address, ip_network

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.network.agent_paths import AgentPaths
from clawkeep.subjects.network.openings import agents_services
from clawkeep.subjects.network.reach import Reach

pytestmark = pytest.mark.control("EGR-05")

PRIVATE = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10")
)


def test_no_private_network_answers_the_agent(reach: Reach) -> None:
    assert reach.private_answers() == []


def test_no_address_of_the_host_answers_the_agent(reach: Reach, tier: Tier) -> None:
    assert reach.host_answers({service.port for service in agents_services(tier["egress_mode"])}) == []


def test_no_other_container_answers_the_agent(reach: Reach) -> None:
    assert reach.sibling_answers() == []


def test_forward_rules_drop_every_private_network(agent_paths: AgentPaths, site: Site, tier: Tier) -> None:
    resolvers = () if agents_services(tier["egress_mode"]) else site.resolvers
    assert agent_paths.forwarded_to(PRIVATE, [ip_address(text) for text in resolvers]) == []


def test_input_rules_accept_nothing_from_the_agent(agent_paths: AgentPaths, tier: Tier) -> None:
    assert agent_paths.accepted_by_host(agents_services(tier["egress_mode"])) == []
