"""VPN-01: the rendered firewall of tier 2, judged by sending packets through it: good, and broken in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_interface

import pytest
from tests.unit.net.conftest import scratch

from clawkeep.base import repo
from clawkeep.netfilter.model import RuleTables, read_tables
from clawkeep.register import tiers
from clawkeep.subjects.network.openings import PEOPLE, declared
from clawkeep.subjects.network.ruleset import Ruleset
from clawkeep.subjects.network.topology import Interface, Topology

TIER = tiers.load(repo.find().tiers)["tier2_team"]
ADMINS = ("192.0.2.0/24", "2001:db8:ad::/64")
MANAGEMENT = "mgmt"


def interface(name: str, *addresses: str) -> Interface:
    return Interface(name, "", None, tuple(ip_interface(address) for address in addresses))


TOPOLOGY = Topology(
    (
        interface("lo", "127.0.0.1/8", "::1/128"),
        interface("lab0", "203.0.113.10/24", "2001:db8:113::10/64"),
        interface(MANAGEMENT, "10.0.2.15/24"),
        interface("wg0", "10.78.0.1/24", "fd5e:c1a0:78::1/64"),
    ),
    (),
)
INPUT = 'iifname "lo" accept\n\n\t\t# No service'
EXPECTED = declared(TIER["firewall_ingress"], ADMINS, MANAGEMENT)


@pytest.fixture(scope="session")
def text(render: Callable[..., str]) -> str:
    return render(
        "firewall",
        "etc/clawkeep/firewall/clawkeep.nft.j2",
        firewall_ingress=TIER["firewall_ingress"],
        firewall_admin_networks=list(ADMINS),
        firewall_management_interface=MANAGEMENT,
    )


def judged(text: str, rule: str = "") -> Ruleset:
    assert INPUT in text
    changed = text.replace(INPUT, INPUT.replace("accept", f"accept\n\t\t{rule}", 1))
    listing = json.loads(scratch(f"nft -f - <<'EOF'\n{changed}\nEOF\nnft -j list ruleset"))
    return Ruleset(RuleTables(tuple(read_tables(listing).tables)), RuleTables(()), TOPOLOGY)


def test_people_come_in_by_the_vpn_and_by_the_management_network_alone(text: str) -> None:
    ruleset = judged(text)
    assert ruleset.entered_beside(PEOPLE, EXPECTED, "wg0") == []
    assert ruleset.refused_by_vpn(PEOPLE, "wg0") == []
    assert ruleset.loud_management(MANAGEMENT) == []


def test_a_site_without_a_management_network_has_no_other_way(text: str) -> None:
    """The rules with the management interface, judged by a site that does not declare it, are one way in too many."""
    nowhere = declared(TIER["firewall_ingress"], ADMINS)
    said = judged(text).entered_beside(PEOPLE, nowhere, "wg0")
    assert said
    assert all("mgmt" in sentence for sentence in said)


@pytest.mark.parametrize(
    "rule",
    [
        "tcp dport 443 accept",
        "ip saddr 100.64.0.0/10 tcp dport 22 accept",
        "ip saddr 10.78.0.0/24 tcp dport { 22, 443 } accept",
        'iifname "lab0" ip6 saddr fd5e:c1a0:78::/64 tcp dport 443 accept',
        "ip saddr @admin4 tcp dport 22 accept",
        'iifname "wg*" tcp dport 22 accept',
    ],
)
def test_any_other_way_in_is_told(text: str, rule: str) -> None:
    assert judged(text, rule).entered_beside(PEOPLE, EXPECTED, "wg0")


def test_a_vpn_that_leads_nowhere_is_told(text: str) -> None:
    assert len(judged(text, 'iifname "wg0" tcp dport 443 drop').refused_by_vpn(PEOPLE, "wg0")) == 2
    assert judged(text).refused_by_vpn(PEOPLE, "wg9")


def test_a_management_interface_that_the_world_reaches_is_told(text: str) -> None:
    assert len(judged(text).loud_management("lab0")) == 2
    assert "is not on this host" in judged(text).loud_management("mgmt9")[0]
