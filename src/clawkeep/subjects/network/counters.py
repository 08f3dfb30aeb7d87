"""The firewall's named counters before and after an experiment: proof that packets arrived, and what dropped them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import Document


def packets(listing: Any) -> dict[str, int]:
    """Packets by counter name in the JSON of `nft -j list counters`; {} when there are none."""
    items = listing.get("nftables", []) if isinstance(listing, Mapping) else []
    counters = [item["counter"] for item in items if "counter" in item]
    return {str(counter["name"]): int(counter["packets"]) for counter in counters}


@dataclass(frozen=True)
class Growth:
    """Two readings of the counters; see `of`."""

    before: Mapping[str, int]
    after: Mapping[str, int]

    @classmethod
    def between(cls, document: Document, before: str, after: str) -> Growth:
        """From two recorded `nft -j list counters` of a document."""
        return cls(packets(document.json(before)), packets(document.json(after)))

    def of(self, name: str) -> int:
        """By how many packets the counter grew; raises Unmeasured when it is missing or was reset in between."""
        if name not in self.before or name not in self.after:
            raise Unmeasured(f"the firewall has no counter {name}, so nothing shows what it dropped")
        grown = self.after[name] - self.before[name]
        if grown < 0:
            raise Unmeasured(f"the counter {name} was reset during the experiment: the ruleset was loaded again")
        return grown
