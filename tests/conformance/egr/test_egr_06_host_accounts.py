"""EGR-06: The host's own outbound traffic is limited to declared services."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.host.host_egress import HostEgress

pytestmark = pytest.mark.control("EGR-06")


def test_other_accounts_reach_nothing_while_the_proxy_does(host_egress: HostEgress, tier: Tier) -> None:
    permitted = host_egress.permitted(root=tier["egress_host_default"] != "drop_all")
    assert host_egress.reached(permitted) == []


def test_output_rules_drop_what_other_accounts_send(host_egress: HostEgress, tier: Tier) -> None:
    permitted = host_egress.permitted(root=tier["egress_host_default"] != "drop_all")
    assert host_egress.let_out(permitted - {tier["openclaw_uid"]}) == []
