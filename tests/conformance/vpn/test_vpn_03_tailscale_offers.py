"""VPN-03: The Tailscale node offers only its declared services."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.entry.tailscale import Tailscale

pytestmark = pytest.mark.control("VPN-03")


def test_the_node_offers_only_what_is_declared(tailscale: Tailscale, tier: Tier) -> None:
    by_vpn = {entry["port"] for entry in tier["firewall_ingress"] if entry["from"] == "vpn"}
    assert tailscale.offers(by_vpn) == []


def test_the_nodes_key_expires(tailscale: Tailscale) -> None:
    assert tailscale.lasting_keys() == []
