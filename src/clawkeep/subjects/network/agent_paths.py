"""Where the packet filter lets agent containers go, judged by its rules: also for families a container has not today.

A probe shows what happens to the packets that a container can send now. The rules also show what would happen to those
that it cannot send yet, such as IPv6 from a network without it. Only Clawkeep's own kind of table counts: a drop in
Docker's chains would hide that ours is gone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.netfilter.packet import Address, Network, Packet
from clawkeep.netfilter.travel import ACCEPT
from clawkeep.netfilter.witness import Constants, constants
from clawkeep.subjects.network.leaks import Holes
from clawkeep.subjects.network.openings import Declared, Service
from clawkeep.subjects.network.representatives import DNS, addresses_within, interfaces, on_the_wire
from clawkeep.subjects.network.ruleset import NAME, Ruleset
from clawkeep.subjects.network.topology import Bridge, Topology

NO_SERVICE = Declared(openings=(), administrators=())

# A container's address in a family that its network does not have: a new network would choose something like it.
FUTURE_SOURCE: dict[int, Address] = {4: ipaddress.ip_address("172.31.255.2"), 6: ipaddress.ip_address("fd12::2")}


@dataclass(frozen=True)
class AgentPaths:
    """The forward and input decisions for packets from the agents' bridges. Source: the ruleset and the topology."""

    ruleset: Ruleset
    topology: Topology
    bridges: tuple[Bridge, ...]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when no bridge has a container on it."""
        topology = host.subject(Topology)
        if not topology.agent_bridges:
            raise Unmeasured("no container is on any bridge, so there is no path from an agent to judge")
        return cls(host.subject(Ruleset), topology, topology.agent_bridges)

    def forwarded_to(self, networks: Iterable[Network], resolvers: Collection[Address] = ()) -> list[str]:
        """Packets of agent containers into `networks` that the forward rules do not surely drop.

        DNS to one of `resolvers` is left out: an agent needs names, and those servers are the site's own choice.
        """
        holes = Holes("forward", NAME)
        known = constants(self.ruleset.own, ("forward",))
        for network in networks:
            spans = known.spans("ip daddr" if network.version == 4 else "ip6 daddr")
            targets = addresses_within(str(network), spans, (str(network[0]),))
            for daddr, bridge in product(targets, self.bridges):
                for oif in interfaces(known, self.topology.doors, without={bridge.interface}, field="oif"):
                    for packet in self._packets(known, daddr, bridge, oif):
                        if not (packet.dport == DNS and daddr in resolvers):
                            self._try(holes, "forward", packet)
        return holes.sentences("is forwarded for the agent")

    def accepted_by_host(self, services: tuple[Service, ...] = ()) -> list[str]:
        """Packets of agent containers to any address of the host that the input rules do not surely drop.

        `services` are the host's for the agents.

        What the protocols themselves need, such as ICMP errors, is no service and left out.
        """
        holes = Holes("input", NAME)
        expected = replace(NO_SERVICE, services=services)
        known = constants(self.ruleset.own, ("input",)).cut_by(expected.cuts())
        for daddr, bridge in product(sorted(self.topology.addresses, key=str), self.bridges):
            for packet in self._packets(known, daddr, bridge, ""):
                if not expected.admits(packet):
                    self._try(holes, "input", packet)
        return holes.sentences("of the agent is accepted by the host")

    def _packets(self, known: Constants, daddr: Address, bridge: Bridge, oif: str) -> Iterator[Packet]:
        subnets = [subnet for subnet in bridge.subnets if subnet.version == daddr.version]
        saddr = subnets[0][2] if subnets else FUTURE_SOURCE[daddr.version]
        yield from on_the_wire(known, Packet(saddr, daddr, iif=bridge.interface, oif=oif))

    def _try(self, holes: Holes, hook: str, packet: Packet) -> None:
        for end in self.ruleset.traveller.through(hook, packet):
            if end.verdict == ACCEPT:
                holes.add(packet, end)
