"""NET-01: Only listed TCP and UDP ports answer from outside."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.network.outside import Outside

pytestmark = [pytest.mark.control("NET-01"), pytest.mark.vantage("outside")]


def test_nothing_answers_that_is_not_listed(outside: Outside, tier: Tier, site: Site) -> None:
    assert outside.answering_beyond(tier["firewall_ingress"], site.admin_networks) == []


def test_whatever_answers_is_a_socket_of_the_host(outside: Outside) -> None:
    assert outside.unexplained() == []
