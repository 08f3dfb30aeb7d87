"""VPN-01: Remote access enters only through the VPN."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.entry.colleague import Colleague
from clawkeep.subjects.network.openings import INTERFACES, PEOPLE, declared
from clawkeep.subjects.network.outside import Outside
from clawkeep.subjects.network.ruleset import Ruleset
from clawkeep_host.addresses import VPN_INTERFACE

pytestmark = pytest.mark.control("VPN-01")


@pytest.fixture(name="vpn")
def _vpn(tier: Tier) -> str:
    """The interface of the tier's VPN."""
    return INTERFACES.get(tier["vpn_provider"], VPN_INTERFACE)


def test_the_tier_has_a_vpn(ruleset: Ruleset, tier: Tier, vpn: str) -> None:
    assert tier["vpn_provider"] in INTERFACES
    assert ruleset.refused_by_vpn(PEOPLE, vpn) == []


def test_rules_admit_people_by_the_vpns_interface_alone(ruleset: Ruleset, tier: Tier, site: Site, vpn: str) -> None:
    expected = declared(tier["firewall_ingress"], site.admin_networks, site.management_interface, vpn)
    assert ruleset.entered_beside(PEOPLE, expected, vpn) == []


def test_the_management_network_is_out_of_band(ruleset: Ruleset, site: Site) -> None:
    assert (ruleset.loud_management(site.management_interface) if site.management_interface else []) == []


@pytest.mark.vantage("outside")
def test_ssh_and_the_web_entry_are_silent_outside(outside: Outside) -> None:
    assert outside.answering(PEOPLE) == []


@pytest.mark.vantage("outside")
def test_the_vpns_port_looks_like_any_silent_one(outside: Outside, tier: Tier) -> None:
    public = [entry for entry in tier["firewall_ingress"] if entry["from"] == "any"]
    assert [entry["proto"] for entry in public] == ["udp"]
    assert outside.told_apart(public[0]["port"]) == []


@pytest.mark.vantage("vpn")
def test_ssh_and_the_web_entry_answer_a_colleague(colleague: Colleague) -> None:
    assert colleague.closed(PEOPLE) == []
