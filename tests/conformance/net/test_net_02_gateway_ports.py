"""NET-02: Gateway ports never answer from outside."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.network.neighbour import Neighbour
from clawkeep.subjects.network.outside import Outside
from clawkeep.subjects.network.reach import Reach

pytestmark = pytest.mark.control("NET-02")

# The gateway and everything it may start: MCP apps, browser control and browsers' debugging ports, the port of old
# guides, the development gateway, and the sandbox browser's debugger and screens.
GUARDED = (18789, 18790, 18791, 3000, *range(18800, 18900), 19001, 9222, 5900, 6080)


def test_a_gateway_is_there_to_be_exposed(reach: Reach) -> None:
    reach.require_gateway()


@pytest.mark.vantage("outside")
def test_no_gateway_port_answers_an_outsider(outside: Outside, tier: Tier) -> None:
    assert outside.answering({*GUARDED, tier["openclaw_port"]}) == []


@pytest.mark.vantage("neighbour")
def test_no_gateway_port_answers_a_neighbour(neighbour: Neighbour, tier: Tier) -> None:
    assert neighbour.answering({*GUARDED, tier["openclaw_port"]}) == []
