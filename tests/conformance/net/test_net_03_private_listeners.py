"""NET-03: Gateway and helpers listen on loopback or the private bridge only."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.network.listeners import Listeners

pytestmark = pytest.mark.control("NET-03")

HELPERS = (18789, 18790, 18791, 3000, *range(18800, 18900), 19001, 9222, 5900, 6080)


def test_the_gateway_itself_holds_its_port(listeners: Listeners, tier: Tier) -> None:
    assert listeners.misowned_gateways(tier["openclaw_port"]) == []


def test_gateway_and_helpers_listen_on_private_ground(listeners: Listeners, tier: Tier) -> None:
    assert listeners.exposed({*HELPERS, tier["openclaw_port"]}) == []


def test_nothing_on_the_host_relays_to_them(listeners: Listeners, tier: Tier) -> None:
    assert listeners.relays({*HELPERS, tier["openclaw_port"]}) == []
