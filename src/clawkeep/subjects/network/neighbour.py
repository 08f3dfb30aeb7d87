"""What a machine on the host's own segment reaches: the guard ports, and what only a misuse of routing could reach.

A neighbour may hand the host a packet for 127.0.0.1 or for a container's address, and an engine before 28.0 answers it.
The probe builds such packets itself and reads the answers from the wire.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.network.listeners import joined
from clawkeep.subjects.network.reach import Reach
from clawkeep.subjects.network.scans import Scans

NEVER_COUNTED = "::1"  # every kernel drops it on any other interface before a firewall sees it


@dataclass(frozen=True)
class Attempt:
    """One hand-made SYN to `target`, given to the host as its router would; `silent`, `answered` or `reset`."""

    target: str
    port: int
    kind: str  # loopback, container
    name: str
    sent: int
    outcome: str


@dataclass(frozen=True)
class Neighbour:
    """The neighbour's attempts and scans; `instrument` tells by family whether the same hand-made SYN gets answers."""

    scans: Scans
    attempts: tuple[Attempt, ...]
    instrument: dict[str, str]
    inside: HostEvidence

    @classmethod
    def read(cls, host: HostEvidence) -> Neighbour:
        """From the neighbour's document; the host's own connects are asked for when silence is to count."""
        document = host.vantage("neighbour")
        attempts = tuple(
            Attempt(one["target"], int(one["port"]), one["kind"], one["name"], int(one["sent"]), one["outcome"])
            for one in document.fact("frames")
        )
        instrument = {family: str(one["outcome"]) for family, one in document.fact("instrument").items()}
        return cls(Scans.of(document), attempts, instrument, host)

    def answering(self, ports: Collection[int]) -> list[str]:
        """Each of `ports` that answers on an address of the host; with none, the scan must have been sound."""
        found = self.scans.answering(ports)
        if not found:
            self.scans.require_sound()
        return found

    def reached_loopback(self) -> list[str]:
        """Each loopback-published port that answers a neighbour."""
        return self._reached("loopback", "is published on loopback and answers a neighbour")

    def reached_containers(self) -> list[str]:
        """Each container address that answers a neighbour."""
        return self._reached("container", "is a container's own address and answers a neighbour")

    def _reached(self, kind: str, what: str) -> list[str]:
        tried = [one for one in self.attempts if one.kind == kind]
        found = [
            f"{joined(one.target, one.port)} ({one.name}) {what} ({one.outcome})"
            for one in tried
            if one.outcome != "silent"
        ]
        if not found:
            self._require_sound(tried, kind)
        return found

    def _require_sound(self, tried: list[Attempt], kind: str) -> None:
        """Raise Unmeasured unless the packets were well made, reached the host, and had something to reach."""
        if not tried:
            raise Unmeasured(f"the neighbour had no {kind} target to try")
        for family, outcome in self.instrument.items():
            if outcome != "answered":
                raise Unmeasured(f"the neighbour's own packets over {family} get no answer from the public endpoint")
        if not self.instrument:
            raise Unmeasured("the neighbour had no public endpoint to try its packets on")
        sent = sum(one.sent for one in self.attempts if one.outcome == "silent" and one.target != NEVER_COUNTED)
        grown = self.scans.growth.of("guard_drop")
        if grown < sent:
            raise Unmeasured(f"the neighbour sent {sent} packets that got no answer, but guard_drop grew by {grown}")
        reach = self.inside.subject(Reach)
        if kind == "loopback":
            reach.require_gateway()
            return
        alive = {probe.target for probe in reach.host if probe.group == "container" and probe.answered}
        dead = [one for one in tried if joined(one.target, one.port) not in alive]
        if dead:
            raise Unmeasured(f"{joined(dead[0].target, dead[0].port)} does not answer the host itself either")
