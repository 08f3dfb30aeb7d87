"""NET-06: Host input drops unsolicited traffic in both families."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.network.firewall import Firewall
from clawkeep.subjects.network.openings import INTERFACES, Declared, agents_services, declared
from clawkeep.subjects.network.ruleset import Ruleset
from clawkeep_host.addresses import VPN_INTERFACE

pytestmark = pytest.mark.control("NET-06")


def expected(tier: Tier, site: Site) -> Declared:
    vpn = INTERFACES.get(tier["vpn_provider"], VPN_INTERFACE)
    services = agents_services(tier["egress_mode"])
    return declared(tier["firewall_ingress"], site.admin_networks, site.management_interface, vpn, services)


def test_nothing_but_the_declared_reaches_the_host_unasked(ruleset: Ruleset, tier: Tier, site: Site) -> None:
    assert ruleset.accepted_unasked(expected(tier, site)) == []


def test_administrators_reach_what_is_declared_for_them(ruleset: Ruleset, tier: Tier, site: Site) -> None:
    assert ruleset.refused_administrators(expected(tier, site)) == []


def test_one_program_manages_the_packet_filter(firewall: Firewall, tier: Tier) -> None:
    assert firewall.rivals(tier["firewall_manager"]) == []


def test_no_rule_is_hidden_in_the_kernels_old_packet_filter(firewall: Firewall) -> None:
    assert firewall.unseen() == []
