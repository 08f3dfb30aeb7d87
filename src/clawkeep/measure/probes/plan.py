"""What to probe: the addresses that are the host's own, and the places that only misrouting reaches."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.entry.wireguard import Wireguard
from clawkeep.subjects.network.bindings import LIVE, of_inspect
from clawkeep.subjects.network.listeners import parse
from clawkeep.subjects.network.openings import PEOPLE
from clawkeep_host.addresses import VPN_INTERFACE

UDP_PORTS = (53, 123, 161, 500, 4500, 5353, 41641, 51820)  # services that leak, and tunnels
GUARD_PORTS = (18789, 18790, 18791, 3000, *range(18800, 18900), 19001, 9222, 5900, 6080)


@dataclass(frozen=True)
class Plan:
    """Addresses to scan, why others are not (`missed`), endpoints of the controls, and the neighbour's targets."""

    addresses: tuple[str, ...]
    missed: Mapping[str, str]
    endpoints: Mapping[str, str]
    targets: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, evidence: HostEvidence, listed: Sequence[str], endpoints: Mapping[str, str]) -> Plan:
        """From the host's own document; raises Unmeasured without one, for nobody else can say whose an address is."""
        links = evidence.inside.json("ip-addr")
        own = {str(one["local"]) for link in links for one in link.get("addr_info", []) if one.get("local")}
        wanted = [str(ipaddress.ip_address(address)) for address in listed]
        return cls(
            addresses=tuple(address for address in wanted if address in own),
            missed={
                address: f"not scanned: {address} is not an address of the host"
                for address in wanted
                if address not in own
            },
            endpoints=endpoints,
            targets=tuple(_loopback_targets(evidence) + _container_targets(evidence)),
        )

    def outside(self, pace: int) -> dict[str, Any]:
        """What the outsider's probe reads."""
        return self._wishes(None, UDP_PORTS, pace)

    def neighbour(self, pace: int) -> dict[str, Any]:
        """What the neighbour's probe reads."""
        return {**self._wishes(GUARD_PORTS, (), pace), "targets": [dict(target) for target in self.targets]}

    def vpn(self, evidence: HostEvidence, tunnel: str, preshared: str) -> dict[str, Any]:
        """What the colleague's probe reads; raises Unmeasured when the host runs no VPN or told no address in it."""
        running = evidence.subject(Wireguard).interfaces
        if VPN_INTERFACE not in running:
            raise Unmeasured(f"the host has no WireGuard interface {VPN_INTERFACE}")
        key, port = running[VPN_INTERFACE]
        links = [link for link in evidence.inside.json("ip-addr") if link.get("ifname") == VPN_INTERFACE]
        inside = [
            str(one["local"]) for link in links for one in link.get("addr_info", []) if one.get("scope") == "global"
        ]
        if not inside or not self.addresses:
            raise Unmeasured("the host has no public address to come in by, or none inside the VPN")
        return {
            "public": list(self.addresses),
            "inside": inside,
            "port": port,
            "host_key": key,
            "ports": list(PEOPLE),
            "tunnel": tunnel,
            "preshared": preshared,
        }

    def _wishes(self, tcp: Sequence[int] | None, udp: Sequence[int], pace: int) -> dict[str, Any]:
        return {
            "addresses": list(self.addresses),
            "endpoints": dict(self.endpoints),
            "tcp": None if tcp is None else list(tcp),
            "udp": list(udp),
            "guard": list(GUARD_PORTS),
            "pace": pace,
        }


def _loopback_targets(evidence: HostEvidence) -> list[dict[str, Any]]:
    """Every published TCP port on both loopback addresses, whichever address it claims to bind."""
    bindings = [binding for one in evidence.inside.json("docker-containers") or [] for binding in of_inspect(one)]
    ports = {(one.port, one.container) for one in bindings if one.view == LIVE and one.proto == "tcp" and one.port}
    return [
        {"target": address, "port": port, "kind": "loopback", "name": name}
        for port, name in sorted(ports)
        for address in ("127.0.0.1", "::1")
    ]


def _container_targets(evidence: HostEvidence) -> list[dict[str, Any]]:
    """Every TCP port that a container listens on beyond its own loopback, on each of its addresses."""
    found = []
    for container in evidence.inside.fact("reach")["containers"]:
        if container["host_network"]:
            continue
        name = str(container["name"])
        try:
            sockets = parse(evidence.inside.lines(f"ss@{name}"), name)
        except ValueError as problem:
            raise Unmeasured(f"the listeners of container {name} cannot be read: {problem}") from problem
        ports = sorted({one.port for one in sockets if one.proto == "tcp" and not one.loopback})
        found += [
            {"target": str(end["address"]), "port": port, "kind": "container", "name": name}
            for end in container["addresses"]
            for port in ports
        ]
    return found
