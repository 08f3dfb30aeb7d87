"""Names and addresses have one definition: what roles and tiers set is what the programs and the suite read."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import pytest
import yaml

from clawkeep.base import repo
from clawkeep_host import addresses

CHECKOUT = repo.find()


def yaml_of(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHECKOUT.root / path).read_text(encoding="utf-8"))
    return found


V4, V6 = (next(i for i, one in enumerate(addresses.AGENT_GATEWAYS) if (":" in one) is six) for six in (False, True))


@pytest.mark.parametrize(
    ("role", "option", "value"),
    [
        ("breakglass", "breakglass_bridges", [addresses.AGENT_BRIDGE]),
        ("egress_proxy", "egress_proxy_address", addresses.AGENT_GATEWAYS[V4]),
        ("egress_proxy", "egress_proxy_bridge", addresses.AGENT_BRIDGE),
        ("egress_proxy", "egress_proxy_port", addresses.PROXY_PORT),
        ("egress_proxy", "egress_proxy_second_hop_port", addresses.SECOND_HOP_PORT),
        ("egress_proxy", "egress_proxy_subnets", [addresses.AGENT_SUBNETS[V4]]),
        ("firewall", "firewall_agent_bridges", [addresses.AGENT_BRIDGE]),
        ("firewall", "firewall_agent_gateways", list(addresses.AGENT_GATEWAYS)),
        ("firewall", "firewall_agent_subnets", list(addresses.AGENT_SUBNETS)),
        ("firewall", "firewall_proxy_port", addresses.PROXY_PORT),
        ("firewall", "firewall_proxy_second_hop_port", addresses.SECOND_HOP_PORT),
        ("firewall", "firewall_vpn_interface", addresses.VPN_INTERFACE),
        ("openclaw", "openclaw_bridge", addresses.AGENT_BRIDGE),
        ("openclaw", "openclaw_subnet", addresses.AGENT_SUBNETS[V4]),
        ("vpn", "vpn_interface", addresses.VPN_INTERFACE),
    ],
)
def test_a_roles_default_is_what_the_readers_know(role: str, option: str, value: object) -> None:
    assert yaml_of(f"roles/{role}/defaults/main.yml")[option] == value


def test_the_firewall_refuses_exactly_the_metadata_that_the_suite_asks_for() -> None:
    drawn = yaml_of("roles/firewall/vars/main.yml")
    assert set(drawn["__firewall_metadata"]) == set(addresses.metadata_networks())
    assert set(drawn["__firewall_platform"]) == set(addresses.PLATFORM)


def test_a_tier_trusts_the_host_on_the_agents_bridge_as_its_proxy() -> None:
    trusted = yaml_of("playbooks/group_vars/tier2_team.yml")["openclaw_trusted_proxies"]
    assert trusted == [f"{addresses.AGENT_GATEWAYS[V4]}/32"]


@pytest.mark.parametrize("version", [V4, V6])
def test_the_host_and_the_agents_are_on_the_agents_networks(version: int) -> None:
    subnet = ipaddress.ip_network(addresses.AGENT_SUBNETS[version])
    assert ipaddress.ip_address(addresses.AGENT_GATEWAYS[version]) == subnet[1]
    assert str(ipaddress.ip_network(addresses.AGENT_SUBNETS[V4])[2]) == addresses.FIRST_AGENT


@pytest.mark.parametrize(
    "address",
    [
        *addresses.METADATA,
        *addresses.PLATFORM,
        "169.254.1.1",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "fd00:ec2:0:0::254",
        "FD20:CE::254",
    ],
)
def test_metadata_is_known_in_every_spelling(address: str) -> None:
    assert addresses.is_metadata(address)


@pytest.mark.parametrize("address", ["169.253.255.255", "100.100.100.201", "fd00:ec2::255", "::1", "", "metadata", "1"])
def test_other_addresses_are_no_metadata(address: str) -> None:
    assert not addresses.is_metadata(address)


# Where an address may stand as a literal: its definition, and roles and tiers, which a test above holds to it.
LITERAL = re.compile(
    r"172\.30\.0\.|clawkeep0\b|(?<![\d.])31(?:28|29)\b|169\.254\.169\.254|fd00:ec2::|100\.100\.100\.200"
)
DEFINED = (
    "src/clawkeep_host/addresses.py",
    "src/clawkeep/collector/experiments/bypass_cases.py",  # ways to write them, and
    "src/clawkeep/collector/experiments/egress.py",  # other spellings
    "src/clawkeep/lab/",  # the world around the host, which plays the other side
)


def test_no_source_writes_one_of_them_again() -> None:
    found = [
        f"{path.relative_to(CHECKOUT.root)}:{number}"
        for path in sorted((CHECKOUT.root / "src").rglob("*.py"))
        if not str(path.relative_to(CHECKOUT.root)).startswith(DEFINED)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if LITERAL.search(line)
    ]
    assert found == []
