"""Holes in a ruleset, told in one sentence each: what passes, and which rule lets it."""

from __future__ import annotations

from dataclasses import dataclass, field

from clawkeep.netfilter.packet import Packet
from clawkeep.netfilter.travel import End, Site

FAMILIES = {"ip": "IPv4", "ip6": "IPv6"}


@dataclass
class Holes:
    """Collects packets that passed; one sentence for each family and each rule that let one pass."""

    hook: str
    table: str
    found: dict[tuple[str, str], Packet] = field(default_factory=dict)

    def add(self, packet: Packet, end: End) -> None:
        """Remember the first packet of its kind: `packet` as it was sent, `end` as it came out."""
        self.found.setdefault((FAMILIES[packet.family], self._culprit(end)), packet)

    def sentences(self, does: str) -> list[str]:
        """The sentences, as in "IPv4: new tcp ... reaches the host, let through by inet clawkeep input ..."."""
        return [
            f"{family}: {packet} {does}, let through by {culprit}" for (family, culprit), packet in self.found.items()
        ]

    def _culprit(self, end: End) -> str:
        ours = [site for site in end.sites if site.chain.table == self.table]
        rules = [site for site in end.sites if site.rule is not None]
        site: Site | None = next(iter([*ours, *rules, *end.sites]), None)
        return str(site) if site else f"the absence of any chain at the hook {self.hook}"
