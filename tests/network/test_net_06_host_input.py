"""NET-06: Host input drops unsolicited traffic in both families."""

import pytest

from clawkeep.evidence.firewall import Firewall
from clawkeep.evidence.openings import agents_services, declared
from clawkeep.evidence.ruleset import Ruleset
from clawkeep.inventory import Site
from clawkeep.tiers import Tier

pytestmark = pytest.mark.control("NET-06")


def test_nothing_but_the_declared_reaches_the_host_unasked(ruleset: Ruleset, tier: Tier, site: Site) -> None:
    services = agents_services(tier["egress_mode"])
    assert ruleset.accepted_unasked(declared(tier["firewall_ingress"], site.admin_networks, services)) == []


def test_administrators_reach_what_is_declared_for_them(ruleset: Ruleset, tier: Tier, site: Site) -> None:
    assert ruleset.refused_administrators(declared(tier["firewall_ingress"], site.admin_networks)) == []


def test_one_program_manages_the_packet_filter(firewall: Firewall, tier: Tier) -> None:
    assert firewall.rivals(tier["firewall_manager"]) == []
