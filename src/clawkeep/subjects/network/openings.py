"""What may arrive at a host unasked: the declared ports, and what the protocols themselves need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from clawkeep.netfilter.packet import PROTOCOL_NAMES, PROTOCOLS, Address, Network, Packet
from clawkeep.netfilter.patterns import Span
from clawkeep.netfilter.witness import Group
from clawkeep_host.addresses import AGENT_BRIDGE, AGENT_GATEWAYS, NAME_SERVER_PORT, PROXY_PORT, VPN_INTERFACE

LINK_LOCAL = ip_network("fe80::/10")
SSH = 22
PEOPLE = (SSH, 443)  # what people come in for: ssh and the front door
INTERFACES: Mapping[str, str] = {"wireguard": VPN_INTERFACE, "tailscale": "tailscale0"}
# The agents' bridge and the host's addresses on it, where proxy and name server wait.
AGENT_BRIDGES = frozenset({AGENT_BRIDGE})
GATEWAYS = tuple(ip_address(text) for text in AGENT_GATEWAYS)

# ICMP types that end or slow connections of ours, which no host can do without, by protocol number.
ERRORS = {PROTOCOLS["icmp"]: frozenset({3, 11, 12}), PROTOCOLS["ipv6-icmp"]: frozenset({1, 2, 3, 4})}
ECHO_REQUEST = {PROTOCOLS["icmp"]: 8, PROTOCOLS["ipv6-icmp"]: 128}
NEIGHBOUR_DISCOVERY = frozenset({135, 136})
# Router advertisements and multicast listener messages are for the link: they come from link-local addresses only.
ON_THE_LINK = frozenset({130, 131, 132, 134, 143})
# (source port, destination port) of answers to questions that were asked by broadcast or multicast.
DHCP, DHCP6 = (67, 68), (547, 546)


@dataclass(frozen=True)
class Opening:
    """A port that may be opened from outside; `sources` None means from anywhere, `interface` None by any way in."""

    protocol: int
    port: int
    sources: tuple[Network, ...] | None
    interface: str | None = None

    def admits(self, packet: Packet) -> bool:
        """Whether this opening declares the packet, by the port its sender asked for."""
        if packet.protocol != self.protocol or packet.originally[1] != self.port:
            return False
        if self.interface is not None and packet.iif != self.interface:
            return False
        return self.sources is None or _from(packet, self.sources)


@dataclass(frozen=True)
class Service:
    """A port of the host that is for the agents: by the bridge they come from and the address they ask."""

    protocol: int
    port: int
    address: Address

    def admits(self, packet: Packet) -> bool:
        """Whether the packet asks for it from a bridge of the agents."""
        asked = (packet.protocol, packet.originally[1], packet.daddr) == (self.protocol, self.port, self.address)
        return asked and packet.iif in AGENT_BRIDGES


@dataclass(frozen=True)
class Declared:
    """Everything that may arrive unasked."""

    openings: tuple[Opening, ...]
    administrators: tuple[Network, ...]
    services: tuple[Service, ...] = ()

    def admits(self, packet: Packet) -> bool:
        """Whether the packet is declared, or needed by the protocols."""
        offered = any(service.admits(packet) for service in self.services)
        return offered or any(opening.admits(packet) for opening in self.openings) or self._needed(packet)

    def cuts(self) -> dict[str, list[Group]]:
        """The constants of this declaration by field, so that none of its exceptions can stand for anything else."""
        networks = [self.administrators, *(opening.sources for opening in self.openings if opening.sources)]
        found: dict[str, list[Group]] = {"ip6 saddr": [_span(LINK_LOCAL)]}
        for name, version in (("ip saddr", 4), ("ip6 saddr", 6)):
            for held in networks:
                group = tuple(span for one in held if one.version == version for span in _span(one))
                found.setdefault(name, []).append(group)
        for opening in self.openings:
            found.setdefault(f"{PROTOCOL_NAMES[opening.protocol]} dport", []).append(
                (Span(opening.port, opening.port),)
            )
        for service in self.services:
            number = int(service.address)
            family = "ip daddr" if service.address.version == 4 else "ip6 daddr"
            found.setdefault(family, []).append((Span(number, number),))
            name = f"{PROTOCOL_NAMES[service.protocol]} dport"
            found.setdefault(name, []).append((Span(service.port, service.port),))
        for sport, dport in (DHCP, DHCP6):
            found.setdefault("udp sport", []).append((Span(sport, sport),))
            found.setdefault("udp dport", []).append((Span(dport, dport),))
        for name, protocol in (("icmp type", PROTOCOLS["icmp"]), ("icmpv6 type", PROTOCOLS["ipv6-icmp"])):
            kinds = (ERRORS[protocol], {ECHO_REQUEST[protocol]}, NEIGHBOUR_DISCOVERY, ON_THE_LINK)
            found[name] = [tuple(Span(kind, kind) for kind in sorted(held)) for held in kinds]
        return found

    def _needed(self, packet: Packet) -> bool:
        on_the_link = packet.saddr in LINK_LOCAL
        if packet.protocol in ERRORS:
            kind = packet.icmp_type
            if kind == ECHO_REQUEST[packet.protocol]:
                return _from(packet, self.administrators)
            if kind in ERRORS[packet.protocol]:
                return True
            if packet.protocol == PROTOCOLS["icmp"]:
                return False
            return kind in NEIGHBOUR_DISCOVERY or (kind in ON_THE_LINK and on_the_link)
        if packet.protocol == PROTOCOLS["udp"]:
            ports = (packet.sport, packet.dport)
            return ports == DHCP if packet.family == "ip" else ports == DHCP6 and on_the_link
        return False


def agents_services(egress_mode: str) -> tuple[Service, ...]:
    """What the host offers to agents under a tier's `egress_mode`: proxy and name server, or nothing."""
    if egress_mode != "proxy_allowlist":
        return ()
    ports = (("tcp", PROXY_PORT), ("tcp", NAME_SERVER_PORT), ("udp", NAME_SERVER_PORT))
    return tuple(Service(PROTOCOLS[name], port, address) for address in GATEWAYS for name, port in ports)


def by_vpn_alone(ingress: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a tier's `firewall_ingress` gives ssh to the VPN, so that administrators' networks do not open it."""
    return any(entry["from"] == "vpn" and (entry["port"], entry["proto"]) == (SSH, "tcp") for entry in ingress)


def declared(
    ingress: Iterable[Mapping[str, Any]],
    administrators: Iterable[str],
    management: str = "",
    vpn: str = VPN_INTERFACE,
    services: tuple[Service, ...] = (),
) -> Declared:
    """What a tier's `firewall_ingress` declares, and ssh from the administrators' networks.

    Where the tier gives ssh to the VPN, those networks open it on the out-of-band interface `management` alone, and
    not at all where the site has none; `vpn` is the interface by which the VPN's peers come in. `services` is what
    the host offers to agents.

    Raises ValueError for a `from` that is not known here: a scope nobody can check opens nothing silently.
    """
    admins = tuple(ip_network(network) for network in administrators)
    entries = tuple(ingress)
    if not by_vpn_alone(entries):
        openings = [Opening(PROTOCOLS["tcp"], SSH, admins)]
    else:
        openings = [Opening(PROTOCOLS["tcp"], SSH, admins, management)] if management else []
    for entry in entries:
        scopes: Mapping[str, tuple[Network, ...] | None] = {"any": None, "admin": admins, "vpn": None}
        scope = str(entry["from"])
        if scope not in scopes:
            raise ValueError(f"firewall_ingress has a source {scope!r} that this check does not know")
        interface = vpn if scope == "vpn" else None
        openings.append(Opening(PROTOCOLS[str(entry["proto"])], int(entry["port"]), scopes[scope], interface))
    return Declared(tuple(openings), admins, services)


def _span(network: Network) -> Group:
    return (Span(int(network.network_address), int(network.broadcast_address)),)


def _from(packet: Packet, networks: Iterable[Network]) -> bool:
    return any(packet.saddr.version == network.version and packet.saddr in network for network in networks)
