"""What single expressions of nft match, as `nft -j` lists them."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from clawkeep.netfilter.model import RuleTables
from clawkeep.netfilter.packet import Packet, Surroundings
from clawkeep.netfilter.patterns import Opaque, Sets, Span, read_pattern
from clawkeep.netfilter.travel import Traveller

HOST = ip_address("203.0.113.10")
HOST6 = ip_address("2001:db8:113::10")
AROUND = Surroundings(
    addresses={"eth0": frozenset({HOST, HOST6}), "eth1": frozenset({ip_address("192.168.77.10")})},
    broadcasts=frozenset({ip_address("203.0.113.255")}),
)
SETS = """
    set hosts { type ipv4_addr; flags interval; elements = { 198.51.100.0/24, 192.0.2.7, 10.9.0.1-10.9.0.9 } }
    set nics { type ifname; flags interval; elements = { "eth0", "wg*" } }
    set pairs { type ifname . ipv4_addr . inet_service; flags interval; elements = { "eth0" . 198.51.0.0/16 . 22-23 } }
    set learnt { type ipv4_addr; flags dynamic,timeout; timeout 1h; }
"""


def packet(**changes: Any) -> Packet:
    return Packet(**{"saddr": ip_address("198.51.100.7"), "daddr": HOST, "iif": "eth0", "dport": 22, **changes})


def packet6(**changes: Any) -> Packet:
    return packet(**{"saddr": ip_address("2001:db8:51::7"), "daddr": HOST6, **changes})


def icmp(kind: int, **changes: Any) -> Packet:
    return packet(protocol=1, icmp_type=kind, sport=None, dport=None, **changes)


CASES = [
    ("tcp dport 22", packet(), True),
    ("tcp dport 22", packet(dport=23), False),
    ("tcp dport 22", packet(protocol=17), False),
    ("tcp dport != 22", packet(), False),
    ("tcp dport != 22", packet(dport=80), True),
    ("tcp dport != 22", icmp(8), False),
    ("tcp dport { 22, 8000-8010 }", packet(dport=8005), True),
    ("tcp dport { 22, 8000-8010 }", packet(dport=8011), False),
    ("tcp dport != { 22, 8000-8010 }", packet(dport=8011), True),
    ("tcp dport < 1024", packet(), True),
    ("tcp dport >= 1024", packet(), False),
    ("meta l4proto { tcp, udp } th dport 22", packet(protocol=17), True),
    ("meta l4proto udp", packet(), False),
    ("ip protocol tcp", packet(), True),
    ("ip protocol tcp", packet6(), False),
    ("ip6 nexthdr tcp", packet6(), True),
    ("ip saddr 198.51.100.0/24", packet(), True),
    ("ip saddr != 198.51.100.0/24", packet(), False),
    ("ip saddr 198.51.100.0/24", packet6(), False),
    ("ip saddr != 198.51.100.0/24", packet6(), False),
    ("ip6 saddr 2001:db8::/32", packet6(), True),
    ("ip saddr @hosts", packet(), True),
    ("ip saddr @hosts", packet(saddr=ip_address("10.9.0.9")), True),
    ("ip saddr @hosts", packet(saddr=ip_address("10.9.0.10")), False),
    ("ip saddr != @hosts", packet(saddr=ip_address("10.9.0.10")), True),
    ("ip saddr @learnt", packet(), None),
    ("ip saddr != @learnt", packet(), None),
    ("iifname @nics", packet(iif="wg0"), True),
    ("iifname @nics", packet(iif="eth1"), False),
    ('iifname "eth*"', packet(iif="eth1"), True),
    ('iifname != "eth0"', packet(iif="eth1"), True),
    ('oifname "eth0"', packet(), False),
    ('iifname . ip saddr . tcp dport @pairs', packet(), True),
    ('iifname . ip saddr . tcp dport @pairs', packet(dport=24), False),
    ('iifname . ip saddr . tcp dport @pairs', packet(protocol=17), False),
    ("meta nfproto ipv6", packet(), False),
    ("meta nfproto ipv6", packet6(), True),
    ("meta mark 0x1", packet(mark=1), True),
    ("meta mark & 0xff == 0x10", packet(mark=0x110), True),
    ("meta mark & 0xff == 0x10", packet(mark=0x11), False),
    ("meta pkttype multicast", packet(link_type="multicast"), True),
    ("meta pkttype host", packet(), True),
    ("meta skuid 1000", packet(uid=1000), True),
    ("meta skuid != 1000", packet(uid=0), True),
    ("meta skuid != 1000", packet(), False),
    ("ct state new", packet(), True),
    ("ct state established,related", packet(), False),
    ("ct state established,related", packet(state="related"), True),
    ("ct state != new", packet(), False),
    ("ct state { new, untracked }", packet(state="untracked"), True),
    ("ct status dnat", packet(), False),
    ("ct status dnat", packet(status=frozenset({"dnat"})), True),
    ("ct direction original", packet(), True),
    ("ct original ip daddr 192.0.2.99", packet(asked=(ip_address("192.0.2.99"), 80)), True),
    ("meta l4proto tcp ct original proto-dst 80", packet(asked=(ip_address("192.0.2.99"), 80)), True),
    ("meta l4proto tcp ct original proto-dst 22", packet(asked=(ip_address("192.0.2.99"), 80)), False),
    ("ct helper \"ftp\"", packet(), None),
    ("fib daddr type local", packet(), True),
    ("fib daddr type local", packet(daddr=ip_address("203.0.113.11")), False),
    ("fib daddr . iif type local", packet(iif="eth1"), False),
    ("fib daddr type broadcast", packet(daddr=ip_address("203.0.113.255")), True),
    ("fib daddr type multicast", packet(daddr=ip_address("224.0.0.1")), True),
    ("fib saddr . iif oif missing", packet(), None),
    ("tcp flags syn", packet(), True),
    ("tcp flags & (fin|syn|rst|ack) == syn", packet(), True),
    ("tcp flags & (fin|syn|rst|ack) == syn", packet(tcp_flags=frozenset({"syn", "ack"})), False),
    ("tcp flags & (syn|ack) == 0", packet(tcp_flags=frozenset({"fin"})), True),
    ("tcp flags ! syn", packet(), False),
    ("tcp flags ! syn", packet(tcp_flags=frozenset({"ack"})), True),
    ("icmp type echo-request", icmp(8), True),
    ("icmp type { echo-reply, destination-unreachable }", icmp(8), False),
    ("icmp type echo-request", packet(), False),
    ("ip ttl 64", packet(), None),
    ("ip ttl 64", packet6(), False),
    ("ip6 hoplimit 255", packet6(), None),
    ("limit rate 5/second", packet(), None),
    ("limit rate over 5/second", packet(), None),
    ("ct count over 3", packet(), None),
    ("meta hour \"08:00\"-\"09:00\"", packet(), None),
    ("update @learnt { ip saddr limit rate over 5/second }", packet(), None),
    ("add @learnt { ip saddr }", packet(), True),
    ("counter log prefix \"x\"", packet(), True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "sent", "expected"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)]
)
def test_an_expression_matches(
    rules: Callable[[str], RuleTables], expression: str, sent: Packet, expected: bool | None
) -> None:
    chain = f"type filter hook input priority 0; policy drop;\n {expression} accept"
    text = f"table inet t {{ {SETS}\n chain c {{ {chain}\n}}\n}}"
    ends = Traveller(rules(text), AROUND).through("input", sent)
    verdicts = {end.verdict for end in ends}
    assert verdicts == {True: {"accept"}, False: {"drop"}, None: {"accept", "drop"}}[expected]


@pytest.mark.parametrize("kind", ["number", "protocol", "icmp", "icmpv6"])
def test_only_digits_are_a_number(kind: str) -> None:
    """What is none is a text that nobody can compare with: the expression may match or not."""
    assert read_pattern("17", [kind], Sets({})) == Span(17, 17)
    for constant in ("²", "٣", "1" * 5000, "-1"):
        assert read_pattern(constant, [kind], Sets({})) == Opaque(constant)
