"""The packet filter in force, and what it lets through: every answer comes from sending packets through its rules.

Docker's own tables and everything iptables made are left out where a promise is Clawkeep's to keep: Docker rewrites
its rules at will, and a drop of another table would hide that ours is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Self

from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import legible
from clawkeep.netfilter.model import RuleTables, Table, read_tables
from clawkeep.netfilter.packet import PROTOCOLS, Address, Network, Packet
from clawkeep.netfilter.patterns import Span
from clawkeep.netfilter.travel import ACCEPT, End, Traveller
from clawkeep.netfilter.witness import Constants, constants
from clawkeep.netfilter.xtables import read_save
from clawkeep.subjects.network.address_space import is_private
from clawkeep.subjects.network.leaks import Holes
from clawkeep.subjects.network.openings import Declared
from clawkeep.subjects.network.representatives import (
    DNS,
    FUTURE_BRIDGE,
    OUTSIDE,
    UNASSIGNED,
    addresses_within,
    destinations,
    interfaces,
    on_the_wire,
    owners,
    sources,
)
from clawkeep.subjects.network.topology import Topology

FAMILY, NAME = "inet", "clawkeep"
DOCKER_TABLES = frozenset({"docker-bridges"})
DESTINATION_NAT = -100  # priority dstnat
SAVES = {"ip": "iptables-save", "ip6": "ip6tables-save"}
VERSIONS = (4, 6)
GATEWAY = 18789  # the port that a translated packet asks a container for


@dataclass(frozen=True)
class Ruleset:
    """The rules in force on a host. Sources: `nft -j list ruleset`, `iptables-save`, `ip6tables-save`, `ip -j`."""

    native: RuleTables
    xtables: RuleTables
    topology: Topology

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the kernel's rules were not listed."""
        inside = host.inside
        with legible("the ruleset"):
            listed = read_tables(inside.json("nft-ruleset"))
            xtables = [table for family in SAVES for table in saved_tables(inside, family)]
            names = {(table.family, table.name) for table in xtables}
            native = [table for table in listed.tables if (table.family, table.name) not in names]
            found = RuleTables(tuple(native)), RuleTables(tuple(xtables))
            for rules in found:
                rules.compile()
        return cls(*found, host.subject(Topology))

    @cached_property
    def own(self) -> RuleTables:
        """The tables that are neither Docker's nor iptables'."""
        return RuleTables(tuple(table for table in self.native.tables if table.name not in DOCKER_TABLES))

    @cached_property
    def traveller(self) -> Traveller:
        """Sends packets through our own tables on this host."""
        return Traveller(self.own, self.topology.surroundings)

    def _passing(self, hook: str, packet: Packet, before: int | None = None) -> Iterator[End]:
        """The ends in which `packet` gets past `hook`."""
        return (end for end in self.traveller.through(hook, packet, before=before) if end.verdict == ACCEPT)

    # --- NET-06: to the host -------------------------------------------------------------------------------------

    def accepted_unasked(self, expected: Declared) -> list[str]:
        """What reaches the host out of nowhere, as a new connection or as none, without being `expected`."""
        holes = Holes("input", NAME)
        known = constants(self.own, ("ingress", "prerouting", "input")).cut_by(expected.cuts())
        for packet in self._to_host(known):
            if not expected.admits(packet):
                for end in self._arriving(packet):
                    holes.add(packet, end)
        return holes.sentences("reaches the host unasked")

    def refused_administrators(self, expected: Declared) -> list[str]:
        """Declared openings that nobody can use: where everything is closed, "closed" proves nothing."""
        refused = []
        declared = ((opening, network) for opening in expected.openings for network in opening.sources or ())
        for opening, network in declared:
            own = self._own_addresses(network.version)
            sender = network[1] if network.num_addresses > 1 else network[0]
            packets = (
                Packet(sender, address, opening.protocol, dport=opening.port, iif=door)
                for address, door in product(own, self.topology.doors)
            )
            if own and not any(True for packet in packets for _ in self._arriving(packet)):
                refused.append(f"nobody in {network} reaches port {opening.port}, which is declared to be open to them")
        return refused

    # --- VPN-01: the way in for people ---------------------------------------------------------------------------

    def entered_beside(self, ports: Collection[int], expected: Declared, vpn: str) -> list[str]:
        """Packets to `ports` that get in by another interface than `vpn`, whatever address they claim to come from.

        What `expected` declares for the out-of-band interface is left out.
        """
        holes = Holes("input", NAME)
        known = constants(self.own, ("ingress", "prerouting", "input")).cut_by(expected.cuts())
        for packet in self._to_host(known):
            wanted = packet.protocol == PROTOCOLS["tcp"] and packet.dport in ports and packet.iif != vpn
            if wanted and not expected.admits(packet):
                for end in self._arriving(packet):
                    holes.add(packet, end)
        return holes.sentences("gets in beside the VPN")

    def refused_by_vpn(self, ports: Collection[int], vpn: str) -> list[str]:
        """Ports that peers do not reach: where everything is closed, "closed elsewhere" proves nothing."""
        own = self.topology.addresses_of(vpn)
        if not own:
            return [f"the host has no address on {vpn}, so nobody comes in by the VPN"]
        peers = {address: address + 1 for address in own if not address.is_link_local}
        return [
            f"a peer does not reach port {port} of {address} by {vpn}"
            for (address, peer), port in product(peers.items(), sorted(ports))
            if not any(True for _ in self._arriving(Packet(peer, address, dport=port, iif=vpn)))
        ]

    def loud_management(self, interface: str) -> list[str]:
        """Why `interface` is no out-of-band network: it is not there, or holds an address that the world can reach."""
        if interface not in self.topology.doors:
            return [f"the site's management interface {interface} is not on this host"]
        return [
            f"the management interface {interface} has the public address {address}, so it is not out of band"
            for address in self.topology.addresses_of(interface)
            if not is_private(str(address))
        ]

    def _to_host(self, known: Constants) -> Iterator[Packet]:
        for version in VERSIONS:
            doors = interfaces(known, self.topology.doors)
            targets = destinations(known, version, self.topology)
            for iif, saddr, daddr in product(doors, sources(known, version), targets):
                kind = self.topology.surroundings.kind(daddr)
                base = Packet(saddr, daddr, iif=iif, link_type=kind if kind in ("multicast", "broadcast") else "host")
                for packet in on_the_wire(known, base):
                    yield packet
                    yield replace(packet, state="invalid")

    def _arriving(self, packet: Packet) -> Iterator[End]:
        """The ends in which a packet gets to a socket of the host: past prerouting, still for the host, past input."""
        for early in self._passing("ingress", packet):
            for routed in self._passing("prerouting", early.packet):
                if self.topology.surroundings.kind(routed.packet.daddr) != "unicast":
                    yield from self._passing("input", routed.packet)

    def _own_addresses(self, version: int) -> list[Address]:
        return sorted((address for address in self.topology.addresses if address.version == version), key=int)

    # --- NET-05: before address translation ----------------------------------------------------------------------

    def guard_gaps(self) -> list[str]:
        """Packets of neighbours to loopback or agent container addresses that get as far as address translation.

        Only what is dropped before it cannot become a packet to a container by a rule of Docker's.
        """
        holes = Holes("prerouting", NAME)
        known = constants(self.own, ("prerouting",))
        for daddr in addresses_within("127.0.0.0/8", known.spans("ip daddr"), ("127.0.0.1",)):
            self._past_the_guard(holes, known, daddr, "")
        for bridge in () if holes.found else self.topology.agent_bridges:
            for subnet in bridge.subnets:
                spans = known.spans("ip daddr" if subnet.version == 4 else "ip6 daddr")
                for daddr in addresses_within(str(subnet), spans, (str(subnet[2]),)):
                    self._past_the_guard(holes, known, daddr, bridge.interface)
        return holes.sentences("gets past the guard")

    def _past_the_guard(self, holes: Holes, known: Constants, daddr: Address, home: str) -> None:
        """Try an address from every interface but `home`, the bridge that alone may speak to it."""
        doors = interfaces(known, self.topology.doors, without={home})
        for iif, saddr in product(doors, sources(known, daddr.version)):
            for packet in on_the_wire(known, Packet(saddr, daddr, iif=iif)):
                for end in self._passing("prerouting", packet, before=DESTINATION_NAT):
                    holes.add(packet, end)

    # --- NET-07: to containers -------------------------------------------------------------------------------------

    def forwarded_to_containers(self) -> list[str]:
        """New flows from anywhere into a container bridge, present or future, that our rules do not surely drop.

        Each is tried as a plain packet and as one whose destination a published port has translated.
        """
        holes = Holes("forward", NAME)
        known = constants(self.own, ("forward",))
        for oif, subnet in self._container_networks():
            doors = interfaces(known, self.topology.doors, without={oif})
            spans = known.spans("ip daddr" if subnet.version == 4 else "ip6 daddr")
            targets = addresses_within(str(subnet), spans, (str(subnet[2]),))
            for iif, saddr, daddr in product(doors, sources(known, subnet.version), targets):
                for packet in on_the_wire(known, Packet(saddr, daddr, iif=iif, oif=oif)):
                    for variant in self._variants(packet):
                        for end in self._passing("forward", variant):
                            holes.add(variant, end)
        return holes.sentences("is forwarded to containers")

    def _container_networks(self) -> Iterator[tuple[str, Network]]:
        for bridge in self.topology.bridges:
            yield from ((bridge.interface, subnet) for subnet in bridge.subnets)
            versions = {subnet.version for subnet in bridge.subnets}
            yield from ((bridge.interface, UNASSIGNED[version]) for version in VERSIONS if version not in versions)
        yield from ((FUTURE_BRIDGE, network) for network in UNASSIGNED.values())

    def _variants(self, packet: Packet) -> Iterator[Packet]:
        yield packet
        yield replace(packet, state="invalid")
        own = self._own_addresses(packet.daddr.version)
        if own and packet.dport is not None:
            yield replace(packet, asked=(own[0], packet.dport), status=frozenset({"dnat"}), dport=GATEWAY)

    # --- IMD-02: from the host -------------------------------------------------------------------------------------

    def metadata_from_host(
        self, addresses: Iterable[Address], exempt: Iterable[int], resolvers: Iterable[Address]
    ) -> list[str]:
        """Packets of the host's own processes to metadata addresses that our rules do not surely drop.

        `exempt` are the uids that may; DNS to an address that is also a resolver of the site is no metadata.
        """
        holes = Holes("output", NAME)
        excepted = frozenset(exempt)
        known = constants(self.own, ("output",)).cut_by({"uid": [(Span(uid, uid),) for uid in excepted]})
        senders = [uid for uid in (None, *owners(known)) if uid not in excepted]
        servers = frozenset(resolvers)
        for daddr, uid in product(addresses, senders):
            for oif in interfaces(known, self.topology.doors, field="oif"):
                own = [own for own in self.topology.addresses_of(oif) if own.version == daddr.version]
                base = Packet((own or [OUTSIDE[daddr.version]])[0], daddr, oif=oif, uid=uid)
                for packet in on_the_wire(known, base):
                    if packet.dport != DNS or daddr not in servers:
                        for end in self._passing("output", packet):
                            holes.add(packet, end)
        return holes.sentences("leaves for the metadata service")


def saved_tables(inside: Document, family: str) -> list[Table]:
    """The tables that iptables-save or ip6tables-save printed."""
    return read_save(inside.lines(SAVES[family]), family)
