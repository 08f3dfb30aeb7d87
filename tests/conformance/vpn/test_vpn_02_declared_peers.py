"""VPN-02: VPN peers are exactly the declared, in-date set."""

import pytest

from clawkeep.base.verdict import NotApplicable
from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.entry.colleague import Colleague
from clawkeep.subjects.entry.wireguard import Wireguard
from clawkeep_host.addresses import VPN_INTERFACE

pytestmark = pytest.mark.control("VPN-02")


@pytest.fixture(autouse=True)
def _where_wireguard_is_the_vpn(tier: Tier) -> None:
    if tier["vpn_provider"] == "tailscale":
        raise NotApplicable("the VPN is Tailscale, whose peers its own coordination server lists: see VPN-03")


def test_one_interface_listens_at_the_declared_port(wireguard: Wireguard, tier: Tier) -> None:
    ports = [entry["port"] for entry in tier["firewall_ingress"] if entry["proto"] == "udp"]
    assert wireguard.missing(VPN_INTERFACE, ports[0]) == []


def test_the_running_peers_are_the_declared_ones(wireguard: Wireguard, site: Site) -> None:
    assert wireguard.other_peers(site.vpn_peers) == []


def test_each_peer_speaks_for_itself_alone(wireguard: Wireguard, site: Site) -> None:
    assert wireguard.other_networks(site.vpn_peers) == []


def test_each_peer_has_a_preshared_key(wireguard: Wireguard) -> None:
    assert wireguard.without_preshared_key() == []


def test_no_peer_is_past_its_last_day(wireguard: Wireguard, site: Site) -> None:
    assert wireguard.expired(site.vpn_peers) == []


def test_no_peer_is_idle(wireguard: Wireguard, tier: Tier, site: Site) -> None:
    assert wireguard.idle(site.vpn_peers, tier["vpn_peer_idle_days"]) == []


def test_keys_are_roots_alone(wireguard: Wireguard) -> None:
    assert wireguard.readable_keys() == []


@pytest.mark.vantage("vpn")
def test_a_strangers_key_gets_no_answer(colleague: Colleague) -> None:
    assert colleague.strangers_answered() == []
