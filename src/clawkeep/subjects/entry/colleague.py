"""The host as a colleague's device on the VPN sees it, and as a stranger to the VPN does."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import mapping, text
from clawkeep.subjects.network.listeners import joined


@dataclass(frozen=True)
class Colleague:
    """How connects through the tunnel ended, by `ADDRESS:PORT`, and handshakes by address and by whose key it was."""

    connects: Mapping[str, str]
    handshakes: Mapping[str, Mapping[str, str]]
    inside: tuple[str, ...]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """From the vpn vantage's document; raises Unmeasured when nothing was tried."""
        document = host.vantage("vpn")
        connects = mapping(document.fact("connects"), "a colleague's connects")
        shakes = mapping(document.fact("handshakes"), "the handshakes")
        return cls(
            {place: text(outcome, f"the connect to {place}") for place, outcome in connects.items()},
            {
                address: {who: text(outcome, "a handshake") for who, outcome in mapping(tried, "a handshake").items()}
                for address, tried in shakes.items()
            },
            tuple(text(address, "an address of the VPN") for address in document.fact("inside")),
        )

    def closed(self, ports: Collection[int]) -> list[str]:
        """Each of `ports` that does not answer a colleague, in either family."""
        versions = {":" in address for address in self.inside}
        if versions != {True, False}:
            raise Unmeasured("the host does not have an address of each family in the VPN")
        places = [joined(address, port) for address in self.inside for port in sorted(ports)]
        left = [place for place in places if place not in self.connects]
        if left:
            raise Unmeasured(f"nobody tried {left[0]} from the VPN")
        return [
            f"{place} does not answer a colleague: {self.connects[place]}"
            for place in places
            if self.connects[place] != "open"
        ]

    def strangers_answered(self) -> list[str]:
        """Addresses that answer a key nobody declared; silence counts only where the declared key was answered."""
        found = [
            f"{address} answers the handshake of a stranger's key: {tried.get('stranger')}"
            for address, tried in self.handshakes.items()
            if tried.get("stranger") != "silent"
        ]
        if found:
            return found
        if not self.handshakes:
            raise Unmeasured("no handshake was tried")
        for address, tried in self.handshakes.items():
            if tried.get("declared") != "answered":
                said = tried.get("declared")
                raise Unmeasured(f"{address} did not answer the declared key either ({said}): silence proves nothing")
        return []
