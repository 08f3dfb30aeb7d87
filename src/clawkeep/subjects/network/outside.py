"""The host as an outsider sees it: the full TCP range and a list of UDP ports, over both families."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.network.address_space import is_private
from clawkeep.subjects.network.listeners import Listeners, is_loopback, joined
from clawkeep.subjects.network.scans import Scans


@dataclass(frozen=True)
class Outside:
    """The scans from outside; `public` are the addresses that the host says it has and that are not private."""

    scans: Scans
    public: frozenset[str]
    inside: HostEvidence

    @classmethod
    def read(cls, host: HostEvidence) -> Outside:
        """From the outside document, compared with the host's own list of addresses."""
        links = host.inside.json("ip-addr")
        own = {
            str(one["local"])
            for link in links
            for one in link.get("addr_info", [])
            if one.get("local") and not one.get("temporary")
        }
        public = frozenset(text for text in own if not is_loopback(text) and not is_private(text))
        return cls(Scans.of(host.vantage("outside")), public, host)

    def answering_beyond(self, ingress: Sequence[Mapping[str, Any]], admin_networks: Sequence[str]) -> list[str]:
        """Each port that answers and is not listed; with none, the scan must have been sound and complete."""
        found = self.scans.answering_beyond(ingress, admin_networks)
        if not found:
            self._require_complete()
        return found

    def answering(self, ports: Collection[int]) -> list[str]:
        """Each of `ports` that answers; with none, the scan must have been sound and complete."""
        found = self.scans.answering(ports)
        if not found:
            self._require_complete()
        return found

    def unexplained(self) -> list[str]:
        """Each TCP port that answers from outside while no socket of the host is there to answer."""
        sockets = self.inside.subject(Listeners).host
        known = {one.port for one in sockets if one.proto == "tcp" and not one.loopback}
        return [
            f"{joined(address, port)} answers from outside, yet no socket on the host listens there"
            for address, port, protocol in self.scans.open_ports()
            if protocol == "tcp" and port not in known
        ]

    def told_apart(self, port: int) -> list[str]:
        """Sentences where a scanner tells UDP `port` from the other UDP ports that nobody answers on.

        Raises Unmeasured when it was not scanned, or nothing beside it was.
        """
        found = []
        for scan in self.scans.udp:
            others = {state for number, state in scan.ports.items() if number != port}
            if port not in scan.ports or not others:
                raise Unmeasured(f"UDP {port} of {scan.address} was not scanned beside another port")
            if scan.ports[port] not in others or scan.ports[port] == "open":
                said = f"{scan.ports[port]}, others are {', '.join(sorted(others))}"
                found.append(f"a scanner tells UDP {port} of {scan.address} from a silent port: it is {said}")
        if not self.scans.udp:
            raise Unmeasured("no UDP port was scanned from outside")
        if not found:
            self._require_complete()
        return found

    def _require_complete(self) -> None:
        left = sorted(self.public - self.scans.sources.keys())
        if left:
            raise Unmeasured(f"the host also has the public address {left[0]}, which was not scanned from outside")
        self.scans.require_sound()
