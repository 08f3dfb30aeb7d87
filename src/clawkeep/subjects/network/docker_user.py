"""DOCKER-USER, the second layer in front of Docker's own chains, and the ports that Docker's chains accept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import product
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import legible
from clawkeep.netfilter.model import Chain, Table
from clawkeep.netfilter.packet import PROTOCOL_NAMES, PROTOCOLS, Address, Packet
from clawkeep.netfilter.patterns import Span, leaves
from clawkeep.netfilter.steps import Match, Verdict
from clawkeep.netfilter.travel import DROP, End, Traveller
from clawkeep.subjects.inspected import Inspected
from clawkeep.subjects.network.representatives import FUTURE_NIC, OUTSIDE, UNASSIGNED
from clawkeep.subjects.network.ruleset import Ruleset
from clawkeep_host.addresses import METADATA, PLATFORM

HOOK = "DOCKER-USER"
TOOLS = {"ip": "iptables", "ip6": "ip6tables"}
VERSIONS = {"ip": 4, "ip6": 6}
_UNREACHABLE = (
    *(*METADATA, *PLATFORM),
    *("10.77.77.77", "172.20.77.77", "192.168.77.77", "100.77.77.77", "fd77::77", "fe80::77"),
)
# What an agent must never reach, one address of each kind, by family.
FORBIDDEN: Mapping[str, tuple[Address, ...]] = {
    family: tuple(found for text in _UNREACHABLE if (found := ip_address(text)).version == version)
    for family, version in VERSIONS.items()
}


@dataclass(frozen=True)
class DockerUser:
    """Docker's hook for the operator. Sources: `docker info`, `iptables-save`, `ip6tables-save`, `docker inspect`."""

    backend: str
    ruleset: Ruleset
    published: frozenset[tuple[str, str, int]]  # (container address, protocol, container port)

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when Docker or iptables could not be asked."""
        for tool in TOOLS.values():
            said = host.inside.command(f"{tool}-save").stderr
            if "legacy" in said:
                raise Unmeasured(f"{tool}-save does not show all rules here: {said.strip().splitlines()[0]}")
        with legible("what Docker says of itself and its containers"):
            driver = (host.inside.json("docker-info").get("FirewallBackend") or {}).get("Driver") or "iptables"
            containers = host.subject(Inspected).containers
            published = frozenset(entry for container in containers for entry in _published(container))
        return cls(str(driver).split("+")[0], host.subject(Ruleset), published)

    # --- NET-08 ----------------------------------------------------------------------------------------------------

    def gaps(self) -> list[str]:
        """Why the second layer does not hold; for an nftables engine, rules that look like one and are inert."""
        if self.backend == "nftables":
            return self._inert()
        misplaced = [sentence for family in TOOLS for sentence in self._misplaced(family)]
        return misplaced or [sentence for family in TOOLS for sentence in self._let_through(family)]

    def _inert(self) -> list[str]:
        found = []
        for family, tool in TOOLS.items():
            _, chain = self._filter(family)
            if chain is not None and chain.rules:
                found.append(
                    f"{tool}: {HOOK} has {len(chain.rules)} rules that this engine's nftables backend never asks"
                )
        return found

    def _filter(self, family: str) -> tuple[Table | None, Chain | None]:
        """The filter table and its DOCKER-USER chain, as far as they exist."""
        table = self.ruleset.xtables.table(family, "filter")
        return table, table.chains.get(HOOK) if table else None

    def _misplaced(self, family: str) -> Iterator[str]:
        table, chain = self._filter(family)
        if table is None or chain is None:
            yield f"{TOOLS[family]}: there is no chain {HOOK}"
        elif _unconditional_target(table.chains["FORWARD"]) != HOOK:
            first = _first(table.chains["FORWARD"])
            yield f"{TOOLS[family]}: FORWARD does not begin with the jump to {HOOK} but with {first}"

    def _let_through(self, family: str) -> Iterator[str]:
        table, chain = self._filter(family)
        if table is None or chain is None:
            return
        traveller = Traveller(self.ruleset.xtables, self.ruleset.topology.surroundings)
        ours = {HOOK, *_below(table, chain)}
        told: set[tuple[str, str]] = set()
        for packet, what in self._forbidden(family):
            passing = [
                end for end in traveller.through("forward", packet) if end.verdict != DROP or _decider(end) not in ours
            ]
            for end in passing[:1]:
                if (what, _last(end)) not in told:
                    told.add((what, _last(end)))
                    yield f"{TOOLS[family]}: {what} is not dropped below {HOOK}: {packet} comes to {_last(end)}"

    def _forbidden(self, family: str) -> Iterator[tuple[Packet, str]]:
        """One packet of each kind that the layer must drop, with its kind in words."""
        version = VERSIONS[family]
        for bridge in self.ruleset.topology.agent_bridges:
            own = [subnet for subnet in bridge.subnets if subnet.version == version] or [UNASSIGNED[version]]
            inside = own[0][2]
            for door in (*(name for name in self.ruleset.topology.doors if name != bridge.interface), FUTURE_NIC):
                inbound = Packet(OUTSIDE[version], inside, dport=18789, iif=door, oif=bridge.interface)
                yield inbound, f"a new flow to {bridge.interface}"
                yield replace(inbound, protocol=PROTOCOLS["udp"]), f"a new flow to {bridge.interface}"
            for address, door in product(FORBIDDEN[family], self.ruleset.topology.doors):
                if door != bridge.interface:
                    packet = Packet(inside, address, dport=80, iif=bridge.interface, oif=door)
                    yield packet, "an agent's way to metadata or a private network"

    # --- NET-07 ----------------------------------------------------------------------------------------------------

    def unexplained_accepts(self) -> list[str]:
        """Rules of Docker's chain DOCKER that accept more than one published port of one container that runs.

        Docker's nftables backend has no such chain; what it accepts elsewhere our own forward chain does not heed.
        """
        found = []
        for family, tool in TOOLS.items():
            table = self.ruleset.xtables.table(family, "filter")
            chain = table.chains.get("DOCKER") if table else None
            for rule in chain.rules if chain else ():
                accepts = any(isinstance(step, Verdict) and step.kind == "accept" for step in rule.steps)
                if accepts and not self._explained([step for step in rule.steps if isinstance(step, Match)], family):
                    found.append(f"{tool}: no running container publishes what `{rule.text}` accepts")
        return found

    def _explained(self, matches: list[Match], family: str) -> bool:
        address, protocol = _only(matches, f"{family} daddr"), _only(matches, "protocol")
        port = _only(matches, "th dport")
        if address is None or protocol is None or port is None:
            return False
        number = ip_address(f"{'0.0.0.0' if family == 'ip' else '::'}") + address  # noqa: S104 - arithmetic
        return (str(number), PROTOCOL_NAMES.get(protocol, ""), port) in self.published


def _published(container: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    settings = container.get("NetworkSettings") or {}
    networks = (settings.get("Networks") or {}).values()
    addresses = [net.get(key) for net in networks for key in ("IPAddress", "GlobalIPv6Address") if net.get(key)]
    ports = [port for port, bindings in (settings.get("Ports") or {}).items() if bindings]
    for address, port in product(addresses, ports):
        number, _, protocol = str(port).partition("/")
        yield str(ip_address(address)), protocol or "tcp", int(number)


def _only(matches: list[Match], field: str) -> int | None:
    """The one value that a field must have, None when there are more or none."""
    found = [
        leaf
        for match in matches
        if match.field.name == field and match.operator == "=="
        for leaf in leaves(match.pattern)
    ]
    one = found[0] if len(found) == 1 else None
    return one.low if isinstance(one, Span) and one.low == one.high else None


def _unconditional_target(chain: Chain) -> str | None:
    """The chain that a chain's first rule jumps to whatever the packet."""
    steps = chain.rules[0].steps if chain.rules else ()
    jump = steps[0] if len(steps) == 1 else None
    return jump.target if isinstance(jump, Verdict) and jump.kind == "jump" else None


def _below(table: Table, chain: Chain) -> set[str]:
    """The names of the chains that `chain` leads to."""
    found: set[str] = set()
    todo = [chain]
    while todo:
        for rule in todo.pop().rules:
            for step in rule.steps:
                if isinstance(step, Verdict) and step.target in table.chains and step.target not in found:
                    found.add(step.target)
                    todo.append(table.chains[step.target])
    return found


def _first(chain: Chain) -> str:
    return f"`{chain.rules[0].text}`" if chain.rules else "nothing"


def _decider(end: End) -> str:
    return end.sites[-1].chain.name if end.sites else ""


def _last(end: End) -> str:
    return str(end.sites[-1]) if end.sites else "no rule at all"
