"""Packets that stand for everything that could be sent to, through or from a host, given what its rules look at."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import product

from clawkeep.netfilter.packet import PROTOCOLS, Address, Network, Packet
from clawkeep.netfilter.patterns import Span
from clawkeep.netfilter.witness import Constants, Group, alike, classes, distinct
from clawkeep.subjects.network.topology import Topology

# A NIC and a Docker bridge that are not there yet: a rule must hold for what is plugged in tomorrow.
FUTURE_NIC = "future0"
FUTURE_BRIDGE = "br-0123456789ab"

# Values that read well in a sentence; any other of their class would do as well.
EPHEMERAL = 40000
DNS = 53  # always tried by itself: expectations except name servers
PORTS = (3000, 18789, 2375, 5353, 65000)
SENDERS = tuple(
    int(ip_address(text))
    for text in (
        "198.51.100.77",
        "192.168.77.77",
        "10.77.77.77",
        "172.16.77.77",
        "2001:db8:51::77",
        "fe80::77",
        "fd00::77",
    )
)
OUTSIDE = {4: ip_address("198.51.100.77"), 6: ip_address("2001:db8:51::77")}
UNASSIGNED: dict[int, Network] = {4: ip_network("172.31.255.0/30"), 6: ip_network("fd12:3456:789a::/126")}
EVERYBODY = {4: ("224.0.0.1", "255.255.255.255"), 6: ("ff02::1",)}
UIDS = (0, 1000, 65534, 1500)
LAST_UID = 2**32 - 2
ICMP = {4: PROTOCOLS["icmp"], 6: PROTOCOLS["ipv6-icmp"]}


def interfaces(
    known: Constants, present: Sequence[str], *, without: Collection[str] = (), field: str = "iif"
) -> list[str]:
    """Interfaces that the rules tell apart: out of those `present`, those the rules name, and one yet to come.

    Loopback is never among them, nor are those in `without`.
    """
    words = known.words(field)
    named = (word.text[:-1] + "7" if word.text.endswith("*") else word.text for word in words)
    left_out = {"lo", "", *without}
    return distinct((name for name in (*present, FUTURE_NIC, *named) if name not in left_out), alike(words))


def sources(known: Constants, version: int) -> list[Address]:
    """Senders' addresses that the rules tell apart."""
    family, bits = ("ip", 32) if version == 4 else ("ip6", 128)
    numbers = classes(
        known.spans(f"{family} saddr"), 0, 2**bits - 1, [n for n in SENDERS if (n < 2**32) == (bits == 32)]
    )
    kind = type(OUTSIDE[version])
    return [kind(number) for number in numbers]


def addresses_within(network: str, spans: Sequence[Group], preferred: Sequence[str]) -> list[Address]:
    """Addresses of a network that the rules tell apart."""
    whole = ip_network(network)
    low, high = int(whole.network_address), int(whole.broadcast_address)
    numbers = classes(spans, low, high, [int(ip_address(text)) for text in preferred])
    kind = type(OUTSIDE[whole.version])
    return [kind(number) for number in numbers]


def destinations(known: Constants, version: int, topology: Topology) -> list[Address]:
    """Addresses by which the host is reached that the rules tell apart, broadcast and multicast among them."""
    family = "ip" if version == 4 else "ip6"
    own = sorted((address for address in topology.addresses if address.version == version), key=int)
    spans = known.spans(f"{family} daddr")
    by_kind = bool(known.words("fib type", "pkttype"))

    def signature(address: Address) -> object:
        kind = topology.surroundings.kind(address) if by_kind else ""
        return (kind, *(any(span.holds(int(address)) for span in group) for group in spans))

    return distinct([*own, *(ip_address(text) for text in EVERYBODY[version])], signature)


def owners(known: Constants) -> list[int]:
    """Users of sending sockets that the rules tell apart."""
    return classes(known.spans("uid"), 0, LAST_UID, UIDS)


def on_the_wire(known: Constants, base: Packet) -> Iterator[Packet]:
    """`base` with every protocol, port, ICMP type and set of TCP flags that the rules tell apart."""
    version = base.daddr.version
    looked_at = set(known.flags("tcp flags"))
    tcp_flags = (
        [frozenset({"syn"}), frozenset({"ack"}), *sorted(looked_at, key=sorted)] if looked_at else [base.tcp_flags]
    )
    for name in ("tcp", "udp"):
        sports = classes(known.spans(f"{name} sport", "th sport"), 1, 65535, (EPHEMERAL,))
        dports = classes([*known.spans(f"{name} dport", "th dport"), (Span(DNS, DNS),)], 1, 65535, PORTS)
        for sport, dport, flags in product(sports, dports, tcp_flags if name == "tcp" else tcp_flags[:1]):
            yield replace(base, protocol=PROTOCOLS[name], sport=sport, dport=dport, tcp_flags=flags)
    bare = replace(base, sport=None, dport=None)
    kind = "icmp" if version == 4 else "icmpv6"
    for icmp_type in classes(known.spans(f"{kind} type"), 0, 255, (8, 128)):
        yield replace(bare, protocol=ICMP[version], icmp_type=icmp_type)
    for protocol in classes(known.spans("protocol"), 0, 255, (PROTOCOLS["gre"],)):
        if protocol not in (PROTOCOLS["tcp"], PROTOCOLS["udp"], *ICMP.values()):
            yield replace(bare, protocol=protocol)
