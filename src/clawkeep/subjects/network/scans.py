"""What a port scanner at another vantage saw of the host, and what makes its silence trustworthy."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import Document
from clawkeep.subjects.network.counters import Growth, packets
from clawkeep.subjects.network.listeners import joined
from clawkeep.subjects.network.openings import by_vpn_alone

ARRIVED = (
    0.99  # share of the probes that must have reached the host: each port got two, so of 10,000 ports one is missed
)
SILENT = ("filtered", "open|filtered")


@dataclass(frozen=True)
class Scan:
    """One scan of one address: `probed` None is the full range, `ports` maps the singly named ones to their state."""

    address: str
    protocol: str
    probed: frozenset[int] | None
    tries: int
    states: Mapping[str, int]
    ports: Mapping[int, str]

    @property
    def open(self) -> list[int]:
        """The ports that answered, in order."""
        return sorted(port for port, state in self.ports.items() if state == "open")

    def covers(self, port: int) -> bool:
        """Whether `port` was probed."""
        return self.probed is None or port in self.probed

    @property
    def unanswered(self) -> int:
        """How many packets were sent to ports that never answered."""
        return self.tries * sum(count for state, count in self.states.items() if state in SILENT)


@dataclass(frozen=True)
class Scans:
    """The scans that one vantage made of the addresses of one host.

    `sources` maps a scanned address to the address from which it was scanned; `control` maps a family to whether the
    same scanner saw the site's public endpoint open; `missed` says why an address was not scanned.
    """

    vantage: str
    tcp: tuple[Scan, ...]
    udp: tuple[Scan, ...]
    sources: Mapping[str, str]
    control: Mapping[str, Mapping[str, Any]]
    missed: Mapping[str, str]
    health: Mapping[str, str]
    growth: Growth

    @classmethod
    def of(cls, document: Document) -> Scans:
        """From a vantage's document; raises Unmeasured when it scanned nothing."""
        targets = document.fact("targets")
        missed = {str(address): str(why) for address, why in document.fact("not-scanned").items()}
        if not targets:
            why = "; ".join(missed.values()) or "the inventory lists no address of it (clawkeep_addresses)"
            raise Unmeasured(f"no address of the host was scanned from {document.vantage}: {why}")
        return cls(
            vantage=document.vantage,
            tcp=tuple(_scan(address, "tcp", one) for address, one in document.fact("tcp").items()),
            udp=tuple(_scan(address, "udp", one) for address, one in document.fact("udp").items()),
            sources={str(one["address"]): str(one["source"]) for one in targets},
            control=document.fact("control"),
            missed=missed,
            health=document.fact("healthz"),
            growth=_growth(document),
        )

    @property
    def lost(self) -> int:
        """How many unanswered TCP probes the host's firewall did not count; 0 when they are too few to matter.

        Raises Unmeasured when it has no such counter.
        """
        expected = sum(scan.unanswered for scan in self.tcp)
        arrived = self.growth.of("input_drop") if expected else 0
        return expected - arrived if arrived < ARRIVED * expected else 0

    def open_ports(self) -> list[tuple[str, int, str]]:
        """Everything that answered: address, port and protocol."""
        return [(scan.address, port, scan.protocol) for scan in (*self.tcp, *self.udp) for port in scan.open]

    def answering(self, ports: Collection[int]) -> list[str]:
        """Each of `ports` that is open from here on any address, with what /healthz said.

        Raises Unmeasured when one of them was not probed.
        """
        for scan in self.tcp:
            left = sorted(port for port in ports if not scan.covers(port))
            if left:
                raise Unmeasured(f"port {left[0]} of {scan.address} was not probed from {self.vantage}")
        return [
            f"{joined(address, port)} answers {self.vantage}{self._said(address, port)}"
            for address, port, protocol in self.open_ports()
            if protocol == "tcp" and port in ports
        ]

    def _said(self, address: str, port: int) -> str:
        said = self.health.get(joined(address, port))
        return f" (GET /healthz: {said})" if said else ""

    def require_sound(self) -> None:
        """Raise Unmeasured unless silence from here means that nothing answers.

        The scanner must see an open port where there is one; every family of the host must have been scanned; and the
        probes must have reached the host: its own firewall counted them, or ports answered with a reset.
        """
        if self.missed:
            raise Unmeasured(next(iter(self.missed.values())))
        if not any(seen.get("state") == "open" for seen in self.control.values()):
            raise Unmeasured(f"the scanner at {self.vantage} did not see the site's public endpoint open either")
        for family, seen in self.control.items():
            if seen.get("state") != "open" and any(_family(scan.address) == family for scan in self.tcp):
                raise Unmeasured(f"the scanner at {self.vantage} sees no open port over {family}: {seen.get('state')}")
        if self.lost:
            raise Unmeasured(
                f"{self.lost} probes from {self.vantage} never reached the host, as its firewall counts them"
            )

    def answering_beyond(self, ingress: Sequence[Mapping[str, Any]], admin_networks: Sequence[str]) -> list[str]:
        """Each open port that neither the tier's `ingress` nor the declared admin access explains for this vantage."""
        return [
            f"{joined(address, port)}/{protocol} answers {self.vantage} and is not listed for it"
            for address, port, protocol in self.open_ports()
            if not _listed(ingress, admin_networks, self.sources.get(address, ""), port, protocol)
        ]


SSH = (22, "tcp")


def _listed(
    ingress: Sequence[Mapping[str, Any]], admin_networks: Sequence[str], source: str, port: int, protocol: str
) -> bool:
    admin = _within(source, admin_networks)
    if admin and (port, protocol) == SSH and not by_vpn_alone(ingress):
        return True
    return any(
        (int(entry["port"]), str(entry.get("proto", "tcp"))) == (port, protocol)
        and (entry.get("from") == "any" or (entry.get("from") == "admin" and admin))
        for entry in ingress
    )


def _within(source: str, networks: Sequence[str]) -> bool:
    return bool(source) and any(ipaddress.ip_address(source) in ipaddress.ip_network(network) for network in networks)


def _family(address: str) -> str:
    return f"ipv{ipaddress.ip_address(address).version}"


def _growth(document: Document) -> Growth:
    """The host's counters around the probes; without them the scans stand, but prove no silence."""
    try:
        counters = document.fact("counters")
    except Unmeasured:
        return Growth({}, {})
    return Growth(packets(counters["before"]), packets(counters["after"]))


def _scan(address: str, protocol: str, record: Mapping[str, Any]) -> Scan:
    probed = record["probed"]
    return Scan(
        address=address,
        protocol=protocol,
        probed=None if probed is None else frozenset(probed),
        tries=int(record["tries"]),
        states=record["states"],
        ports={int(port): str(state) for port, state in record["ports"].items()},
    )
