"""Rulesets for the evaluator: written in nft's and iptables' own languages, and listed by the real tools.

The tools run in a network namespace of their own, so that nothing of this machine is read or touched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from ipaddress import ip_interface, ip_network
from typing import Any, TypeAlias

import pytest

from clawkeep.netfilter.model import RuleTables, read_tables
from clawkeep.subjects.network.ruleset import Ruleset
from clawkeep.subjects.network.topology import Bridge, Interface, Topology

Listed: TypeAlias = Callable[[str], dict[str, Any]]
Judged: TypeAlias = Callable[..., Ruleset]

# A small policy of the shape that role firewall gives every host.
POLICY = """
table inet clawkeep {
    counter guard_drop { }
    counter metadata_output_drop { }
    set agent_bridges { type ifname; elements = { "clawkeep0" } }
    set agent_subnets4 { type ipv4_addr; flags interval; elements = { 172.30.0.0/24 } }
    set agent_subnets6 { type ipv6_addr; flags interval; elements = { fd5e:c1a0:30::/64 } }
    set admin4 { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 } }
    set admin6 { type ipv6_addr; flags interval; elements = { 2001:db8:ad::/64 } }
    set metadata4 { type ipv4_addr; flags interval; elements = { 169.254.0.0/16, 100.100.100.200, 192.0.0.192 } }
    set metadata6 { type ipv6_addr; flags interval; elements = { fd00:ec2::254, fd00:ec2::23 } }
    set private4 { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } }
    set private6 { type ipv6_addr; flags interval; elements = { fc00::/7, fe80::/10 } }
    chain guard {
        type filter hook prerouting priority raw; policy accept;
        iifname "lo" accept
        ip daddr 127.0.0.0/8 counter name guard_drop drop
        iifname != @agent_bridges ip daddr @agent_subnets4 counter name guard_drop drop
        iifname != @agent_bridges ip6 daddr @agent_subnets6 counter name guard_drop drop
    }
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        ct state invalid drop
        iifname "lo" accept
        icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
        icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept
        meta nfproto ipv4 udp sport 67 udp dport 68 accept
        ip saddr @admin4 tcp dport 22 accept
        ip6 saddr @admin6 tcp dport 22 accept
    }
    chain forward {
        type filter hook forward priority filter - 5; policy drop;
        iifname @agent_bridges ip daddr @metadata4 drop
        iifname @agent_bridges ip6 daddr @metadata6 drop
        iifname @agent_bridges ip daddr @private4 drop
        iifname @agent_bridges ip6 daddr @private6 drop
        ct state established,related accept
        iifname @agent_bridges accept
    }
    chain output {
        type filter hook output priority filter; policy accept;
        ip daddr @metadata4 limit rate 6/minute log prefix "clawkeep-output "
        ip daddr @metadata4 counter name metadata_output_drop drop
        ip6 daddr @metadata6 counter name metadata_output_drop drop
    }
}
"""


def scratch(script: str) -> str:
    """What a shell script prints in a network namespace of its own, with `root` there."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    path = f"/usr/sbin:/sbin:{os.environ['PATH']}"
    done = subprocess.run(
        [shutil.which("unshare") or "unshare", *user, "--net", "sh", "-ec", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def listed() -> Listed:
    """The listing that `nft -j` gives of a ruleset in nft's language."""
    known: dict[str, dict[str, Any]] = {}

    def listing(text: str) -> dict[str, Any]:
        if text not in known:
            known[text] = json.loads(scratch(f"nft -f - <<'EOF'\n{text}\nEOF\nnft -j list ruleset"))
        return known[text]

    return listing


@pytest.fixture
def rules(listed: Listed) -> Callable[[str], RuleTables]:
    """The tables of a ruleset in nft's language."""
    return lambda text: read_tables(listed(text))


@pytest.fixture(scope="session")
def topology() -> Topology:
    """A host with two NICs, Docker's default bridge and the agent's."""

    def interface(name: str, *addresses: str) -> Interface:
        return Interface(name, "", None, tuple(ip_interface(address) for address in addresses))

    return Topology(
        interfaces=(
            interface("lo", "127.0.0.1/8", "::1/128"),
            interface("eth0", "203.0.113.10/24", "2001:db8:113::10/64", "fe80::10/64"),
            interface("eth1", "192.168.77.10/24"),
            interface("docker0", "172.17.0.1/16"),
            interface("clawkeep0", "172.30.0.1/24", "fd5e:c1a0:30::1/64"),
        ),
        bridges=(
            Bridge("bridge", "docker0", (ip_network("172.17.0.0/16"),), (), agent=False),
            Bridge(
                "openclaw",
                "clawkeep0",
                (ip_network("172.30.0.0/24"), ip_network("fd5e:c1a0:30::/64")),
                ("openclaw",),
                agent=True,
            ),
        ),
    )


@pytest.fixture
def judged(rules: Callable[[str], RuleTables], topology: Topology) -> Judged:
    """The ruleset of a host whose policy was changed: `judged((old text, new text), ...)`, and `also` another table."""

    def build(*changes: tuple[str, str], also: str = "") -> Ruleset:
        text = POLICY
        for old, new in changes:
            assert old in text, f"the policy does not have {old!r}"
            text = text.replace(old, new)
        return Ruleset(rules(text + also), RuleTables(()), topology)

    return build
