"""The packet that travels through a ruleset, and what the host knows about addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "comp": 108,
    "sctp": 132,
    "udplite": 136,
}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items() if name != "icmpv6"}
WITH_PORTS = frozenset({6, 17, 33, 132, 136})


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as netfilter sees it. The default is the first packet of a TCP connection from elsewhere.

    `protocol` is the IP protocol's number; ports are None for a protocol without them; `iif` and `oif` are interface
    names, empty where there is none (a packet made by the host has no `iif`). `state` is the connection tracking state
    (new, established, related, invalid, untracked). `uid` is the owner of the sending socket on this host, None for
    packets that came from elsewhere. `mark` is None when a rule set it to something that cannot be told.
    `asked` is the destination before address translation: (address, port).
    """

    saddr: Address
    daddr: Address
    protocol: int = 6
    sport: int | None = 40000
    dport: int | None = 65000
    icmp_type: int | None = None
    tcp_flags: frozenset[str] = frozenset({"syn"})
    iif: str = ""
    oif: str = ""
    state: str = "new"
    status: frozenset[str] = frozenset()
    mark: int | None = 0
    connection_mark: int | None = 0
    uid: int | None = None
    link_type: str = "host"
    asked: tuple[Address, int | None] | None = None

    @property
    def family(self) -> str:
        """`ip` or `ip6`, as nft names the families."""
        return "ip" if self.daddr.version == 4 else "ip6"

    @property
    def originally(self) -> tuple[Address, int | None]:
        """Address and port that the sender wrote on the packet."""
        return self.asked or (self.daddr, self.dport)

    def translated(self, address: Address | None, port: int | None) -> Packet:
        """The packet after destination NAT; what is None stays as it is."""
        return replace(
            self,
            daddr=address if address is not None else self.daddr,
            dport=port if port is not None else self.dport,
            asked=self.originally,
            status=self.status | {"dnat"},
        )

    def __str__(self) -> str:
        """The packet in words: `new tcp 198.51.100.9:40000 -> 203.0.113.10:22 arriving on eth0`."""
        name = PROTOCOL_NAMES.get(self.protocol, f"protocol {self.protocol}")
        if self.icmp_type is not None:
            name = f"{name} type {self.icmp_type}"
        address, port = self.originally
        where = [f"arriving on {self.iif}"] if self.iif else []
        where += [f"leaving by {self.oif}"] if self.oif else []
        where += [f"sent by uid {self.uid}"] if self.uid is not None else []
        text = f"{self.state} {name} {_endpoint(self.saddr, self.sport)} -> {_endpoint(address, port)}"
        return " ".join([text, *where])


def _endpoint(address: Address, port: int | None) -> str:
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


@dataclass(frozen=True)
class Surroundings:
    """What rules may ask the host itself: which addresses are its own, and which are for everybody.

    `addresses` maps an interface to its own addresses.
    """

    addresses: Mapping[str, frozenset[Address]] = field(default_factory=dict)
    broadcasts: frozenset[Address] = frozenset()

    def kind(self, address: Address, interface: str | None = None) -> str:
        """nft's `fib ... type` of an address, optionally as one interface sees it."""
        if address.is_multicast:
            return "multicast"
        if address in self.broadcasts or str(address) == "255.255.255.255":
            return "broadcast"
        if address.is_loopback and interface in (None, "lo"):
            return "local"
        own = self.addresses if interface is None else {interface: self.addresses.get(interface, frozenset())}
        return "local" if any(address in held for held in own.values()) else "unicast"
