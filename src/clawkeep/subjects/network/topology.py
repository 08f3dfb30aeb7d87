"""The host's interfaces, addresses and Docker bridges."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import legible
from clawkeep.netfilter.packet import Address, Network, Surroundings
from clawkeep.subjects.inspected import Inspected

PROJECT_LABEL = "com.docker.compose.project"


@dataclass(frozen=True)
class Interface:
    """One interface of the host: `kind` as `ip -d` tells it (bridge, veth, wireguard; empty for a NIC)."""

    name: str
    kind: str
    master: str | None
    addresses: tuple[ipaddress.IPv4Interface | ipaddress.IPv6Interface, ...]


@dataclass(frozen=True)
class Bridge:
    """A Docker network of the bridge driver: its interface on the host, its subnets, the names of its containers."""

    network: str
    interface: str
    subnets: tuple[Network, ...]
    containers: tuple[str, ...]
    agent: bool


@dataclass(frozen=True)
class Topology:
    """Where packets can come from and go to on this host. Source: `ip -j`, `docker network inspect`."""

    interfaces: tuple[Interface, ...]
    bridges: tuple[Bridge, ...]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the host has no interface or Docker was not asked."""
        inside = host.inside
        with legible("the list of interfaces and networks"):
            interfaces = tuple(_interface(item) for item in inside.json("ip-addr") if item.get("ifname"))
            if not interfaces:
                raise Unmeasured("the host's interfaces were not listed")
            networks = [item for item in inside.json("docker-networks") or () if item.get("Driver") == "bridge"]
            agents = _agent_networks(host.subject(Inspected), networks)
            bridges = tuple(_bridge(item, agents) for item in networks)
        return cls(interfaces, bridges)

    @cached_property
    def addresses(self) -> frozenset[Address]:
        """Every address of the host itself, loopback left out."""
        return frozenset(
            item.ip for interface in self.interfaces if interface.name != "lo" for item in interface.addresses
        )

    @cached_property
    def doors(self) -> tuple[str, ...]:
        """Interfaces by which packets enter: all but loopback and what is enslaved to a bridge."""
        return tuple(item.name for item in self.interfaces if item.name != "lo" and item.master is None)

    @cached_property
    def agent_bridges(self) -> tuple[Bridge, ...]:
        """The bridges of agent containers, or of any container where none is labelled as an agent's.

        Raises `Unmeasured` when no container is on any: where nothing could be reached, "unreachable" proves nothing.
        """
        found = tuple(bridge for bridge in self.bridges if bridge.agent)
        found = found or tuple(bridge for bridge in self.bridges if bridge.containers)
        if not found:
            raise Unmeasured("no container is on any Docker network of this host")
        return found

    def addresses_of(self, interface: str) -> tuple[Address, ...]:
        """The addresses of one interface; none for an interface that is not there."""
        return tuple(item.ip for one in self.interfaces if one.name == interface for item in one.addresses)

    @cached_property
    def surroundings(self) -> Surroundings:
        """What rules may ask of the host."""
        return Surroundings(
            addresses={one.name: frozenset(item.ip for item in one.addresses) for one in self.interfaces},
            broadcasts=frozenset(
                item.network.broadcast_address
                for one in self.interfaces
                for item in one.addresses
                if item.version == 4 and item.network.prefixlen < 31
            ),
        )


def _interface(item: Mapping[str, Any]) -> Interface:
    found = [
        ipaddress.ip_interface(f"{info['local']}/{info['prefixlen']}")
        for info in item.get("addr_info") or ()
        if "local" in info
    ]
    kind = str((item.get("linkinfo") or {}).get("info_kind") or "")
    return Interface(str(item["ifname"]), kind, item.get("master"), tuple(found))


def _agent_networks(inspected: Inspected, networks: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The networks that were made for agent containers: those of their own Compose projects, else all they are on.

    A foreign network that an agent was attached to is CTR-09's finding; it gets no guard of its own.
    """
    found, made_for_them = set(), set()
    for container in inspected.containers:
        if inspected.is_agent(container):
            labels = (container.get("Config") or {}).get("Labels") or {}
            on = set((container.get("NetworkSettings") or {}).get("Networks") or {})
            found |= on
            project = labels.get(PROJECT_LABEL)
            made_for_them |= {
                str(item["Name"])
                for item in networks
                if item["Name"] in on and project and (item.get("Labels") or {}).get(PROJECT_LABEL) == project
            }
    return frozenset(made_for_them or found)


def _bridge(item: Mapping[str, Any], agents: frozenset[str]) -> Bridge:
    options = item.get("Options") or {}
    name = str(item["Name"])
    interface = options.get("com.docker.network.bridge.name") or f"br-{str(item['Id'])[:12]}"
    pools = (item.get("IPAM") or {}).get("Config") or ()
    subnets = tuple(ipaddress.ip_network(pool["Subnet"], strict=False) for pool in pools if pool.get("Subnet"))
    containers = tuple(sorted(str(one.get("Name")) for one in (item.get("Containers") or {}).values()))
    return Bridge(name, str(interface), subnets, containers, name in agents)
