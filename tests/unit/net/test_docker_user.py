"""DOCKER-USER that looks right and is not, and what Docker's chain may accept."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from clawkeep.netfilter.model import RuleTables
from clawkeep.netfilter.xtables import read_save
from clawkeep.subjects.network.docker_user import DockerUser
from clawkeep.subjects.network.ruleset import Ruleset
from clawkeep.subjects.network.topology import Topology

DOCKER = {
    "ip": """*filter
:FORWARD DROP [0:0]
:CLAWKEEP - [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o clawkeep0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o clawkeep0 -j DOCKER
-A FORWARD -i clawkeep0 ! -o clawkeep0 -j ACCEPT
-A DOCKER -d 172.30.0.2/32 ! -i clawkeep0 -o clawkeep0 -p tcp -m tcp --dport 18789 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-USER -j CLAWKEEP
-A DOCKER-USER -j RETURN
-A CLAWKEEP -i clawkeep0 -d 169.254.0.0/16 -j DROP
-A CLAWKEEP -i clawkeep0 -d 192.0.0.192/32 -j DROP
-A CLAWKEEP -i clawkeep0 -d 168.63.129.16/32 -j DROP
-A CLAWKEEP -i clawkeep0 -d 10.0.0.0/8 -j DROP
-A CLAWKEEP -i clawkeep0 -d 100.64.0.0/10 -j DROP
-A CLAWKEEP -i clawkeep0 -d 172.16.0.0/12 -j DROP
-A CLAWKEEP -i clawkeep0 -d 192.168.0.0/16 -j DROP
-A CLAWKEEP -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A CLAWKEEP -i clawkeep0 -j RETURN
-A CLAWKEEP -j DROP
COMMIT
""",
    "ip6": """*filter
:FORWARD ACCEPT [0:0]
:CLAWKEEP - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j CLAWKEEP
-A CLAWKEEP -i clawkeep0 -d fc00::/7 -j DROP
-A CLAWKEEP -i clawkeep0 -d fe80::/10 -j DROP
-A CLAWKEEP -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A CLAWKEEP -i clawkeep0 -j RETURN
-A CLAWKEEP -j DROP
COMMIT
""",
}
PUBLISHED = frozenset({("172.30.0.2", "tcp", 18789)})

Layer = Callable[..., DockerUser]


@pytest.fixture
def layer(topology: Topology) -> Layer:
    """DOCKER-USER of a host: `layer(("ip", old, new), ...)`."""

    def build(*changes: tuple[str, str, str], backend: str = "iptables") -> DockerUser:
        saves = dict(DOCKER)
        for family, old, new in changes:
            assert old in saves[family]
            saves[family] = saves[family].replace(old, new)
        tables = [table for family, text in saves.items() for table in read_save(text.splitlines(), family)]
        return DockerUser(backend, Ruleset(RuleTables(()), RuleTables(tuple(tables)), topology), PUBLISHED)

    return build


def test_the_good_layer_holds(layer: Layer) -> None:
    assert layer().gaps() == []
    assert layer().unexplained_accepts() == []


JUMP, OURS, OTHERS = "-A FORWARD -j DOCKER-USER\n", "-A DOCKER-USER -j CLAWKEEP\n", "-A DOCKER-USER -j RETURN\n"
LAST, STATES = "-A CLAWKEEP -j DROP\n", "--ctstate RELATED,ESTABLISHED -j RETURN"
ISOLATION = "-A FORWARD -j DOCKER-ISOLATION-STAGE-1\n"
PUBLISHED_FIRST = "-A FORWARD -o clawkeep0 -j DOCKER\n-A FORWARD -j DOCKER-USER\n"
GAPS = {
    "appended after a return": ("ip", OURS + OTHERS, OTHERS + OURS),
    "the jump from FORWARD is gone": ("ip", JUMP, ""),
    "the jump is behind Docker's": ("ip", JUMP + ISOLATION, PUBLISHED_FIRST + ISOLATION),
    "the jump is for one NIC": ("ip", JUMP, "-A FORWARD -i eth0 -j DOCKER-USER\n"),
    "an accept comes first": ("ip", OURS, f"-A DOCKER-USER -i eth1 -j ACCEPT\n{OURS}"),
    "our chain is empty": ("ip6", LAST, ""),
    "IPv6 is bare": ("ip6", OURS, ""),
    "there is no IPv6 chain": ("ip6", f":DOCKER-USER - [0:0]\n{JUMP}{OURS}", ""),
    "metadata is open": ("ip", "-A CLAWKEEP -i clawkeep0 -d 169.254.0.0/16 -j DROP\n", ""),
    "shared address space is open": ("ip", "-A CLAWKEEP -i clawkeep0 -d 100.64.0.0/10 -j DROP\n", ""),
    "new among the established": ("ip", STATES, STATES.replace("RELATED", "NEW,RELATED")),
    "the policy alone drops": ("ip", LAST, LAST.replace("DROP", "RETURN")),
}


@pytest.mark.parametrize("change", GAPS.values(), ids=list(GAPS))
def test_a_layer_that_does_not_hold_is_found(layer: Layer, change: tuple[str, str, str]) -> None:
    found = layer(change).gaps()
    assert found
    assert all(sentence.startswith({"ip": "iptables", "ip6": "ip6tables"}[change[0]]) for sentence in found)


NEWER = """-A FORWARD -j DOCKER-FORWARD
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i clawkeep0 -j ACCEPT
-A DOCKER-CT -o clawkeep0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-BRIDGE -m set --match-set docker-ext-bridges-v4 dst -o clawkeep0 -j DOCKER
-A DOCKER ! -i clawkeep0 -o clawkeep0 -j DROP
"""
NEWER_CHAINS = ":DOCKER-FORWARD - [0:0]\n:DOCKER-CT - [0:0]\n:DOCKER-BRIDGE - [0:0]\n"


@pytest.mark.parametrize(("jumps", "holds"), [(f"{JUMP}{NEWER}", True), (f"{NEWER}{JUMP}", False), (NEWER, False)])
def test_the_chains_of_engines_from_28_on_are_understood(layer: Layer, jumps: str, holds: bool) -> None:
    changes = (("ip", JUMP, jumps), ("ip", ":DOCKER-USER - [0:0]\n", f"{NEWER_CHAINS}:DOCKER-USER - [0:0]\n"))
    newer = layer(*changes)
    assert (newer.gaps() == []) == holds
    assert newer.unexplained_accepts() == []


def test_a_missing_jump_is_named(layer: Layer) -> None:
    found = layer(("ip", "-A FORWARD -j DOCKER-USER\n", "")).gaps()
    assert "FORWARD does not begin with the jump to DOCKER-USER but with `-A FORWARD -j DOCKER-ISOL" in found[0]


def test_rules_are_inert_under_docker_s_nftables_backend(layer: Layer) -> None:
    found = layer(backend="nftables").gaps()
    assert len(found) == 2
    assert "never asks" in found[0]


@pytest.mark.parametrize(
    "rule",
    [
        "-A DOCKER -d 172.30.0.9/32 ! -i clawkeep0 -o clawkeep0 -p tcp -m tcp --dport 18789 -j ACCEPT",
        "-A DOCKER -d 172.30.0.2/32 ! -i clawkeep0 -o clawkeep0 -p tcp -m tcp --dport 3000 -j ACCEPT",
        "-A DOCKER -d 172.30.0.2/32 ! -i clawkeep0 -o clawkeep0 -p udp -m udp --dport 18789 -j ACCEPT",
        "-A DOCKER -o clawkeep0 -p tcp -m tcp --dport 18789 -j ACCEPT",
        "-A DOCKER -d 172.30.0.0/24 -p tcp -m tcp --dport 18789 -j ACCEPT",
        "-A DOCKER -j ACCEPT",
    ],
)
def test_an_accept_without_a_published_port_is_found(layer: Layer, rule: str) -> None:
    found = layer(("ip", "-A DOCKER -d 172.30.0.2/32", f"{rule}\n-A DOCKER -d 172.30.0.2/32")).unexplained_accepts()
    assert found == [f"iptables: no running container publishes what `{rule}` accepts"]


def test_a_bridge_without_ipv6_is_closed_to_it_as_well(layer: Layer, topology: Topology) -> None:
    bridge = topology.agent_bridges[0]
    assert ip_network("fd5e:c1a0:30::/64") in bridge.subnets
    found = layer(("ip6", "-A CLAWKEEP -j DROP", "-A CLAWKEEP -o eth0 -j DROP")).gaps()
    assert [sentence for sentence in found if not sentence.startswith("ip6tables")] == []
    assert [sentence for sentence in found if "a new flow to clawkeep0" in sentence] == found != []
