"""Why the host has its tier, what its agent meets there, and whether host and inventory speak of the same tier."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import legible, mapping, text, texts

RECORD = "/etc/clawkeep/tier"
WORTH = ("none", "test", "scoped", "live")  # kinds of credentials, each worth more than the one before


@dataclass(frozen=True)
class Reason:
    """The host's entry of estate.yml; `reviewed` is the day on which somebody last looked whether it is still so."""

    tier: str
    reason: str
    data: tuple[str, ...]
    credentials: str
    reviewed: datetime.date


@dataclass(frozen=True)
class Estate:
    """Source: the inventory's groups and estate.yml beside it (controller), and the host's own record of its tier.

    `today` is the day (UTC) on which they were read. `recorded` is empty when the host has no record.
    """

    today: datetime.date
    tiers: tuple[str, ...]
    entry: Reason | None
    recorded: str

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read both documents; raises `Unmeasured` when one of them is missing or illegible."""
        controller = host.vantage("controller")
        entry = controller.fact("estate")
        record = mapping(host.inside.fact("recorded-tier"), "the record of the tier")
        return cls(
            today=_day(text(controller.fact("asked"), "the time of the question")[:10], "the time of the question"),
            tiers=texts(controller.fact("tiers"), "the host's tier groups"),
            entry=_reason(mapping(entry, "the entry of estate.yml")) if entry is not None else None,
            recorded=text(record["text"], "the record of the tier").strip() if record.get("text") is not None else "",
        )

    def beside(self, tier: str) -> list[str]:
        """Sentences about tier groups other than the one that it is judged by, or no group at all."""
        if tier in self.tiers and len(self.tiers) == 1:
            return []
        groups = ", ".join(self.tiers) or "none"
        return [f"this host is judged as {tier}, and its tier groups are {groups}: leave it in exactly one"]

    def recorded_otherwise(self, tier: str) -> list[str]:
        """Sentences about a record on the host that names another tier, or about none."""
        if self.recorded == tier:
            return []
        if not self.recorded:
            return [f"{RECORD} is missing: no play has brought this host to {tier} yet"]
        return [f"{RECORD} says {self.recorded}, and the inventory {tier}: bring the host to its new tier"]

    def unreasoned(self, tier: str) -> list[str]:
        """Sentences about a missing reason, or one that was written for another tier."""
        if self.entry is None:
            return [f"estate.yml has no entry for this host: write down why it is in {tier}"]
        if self.entry.tier != tier:
            return [f"the reason in estate.yml is for {self.entry.tier}, and the host is in {tier}: choose again"]
        return [] if self.entry.reason.strip() else ["the reason in estate.yml is empty"]

    def unreviewed(self, days: int) -> list[str]:
        """Sentences about a review older than `days`, or one that has not been yet."""
        if self.entry is None:
            return []
        age = (self.today - self.entry.reviewed).days
        if age < 0:
            return [f"the review in estate.yml is dated {self.entry.reviewed}, which is after {self.today}"]
        if age <= days:
            return []
        return [f"the entry in estate.yml was reviewed {age} days ago, on {self.entry.reviewed}; {days} are allowed"]

    def data_beyond(self, classes: Collection[str]) -> list[str]:
        """Sentences about classes of data that are none of `classes`."""
        found = self.entry.data if self.entry is not None else ()
        return [
            f"the agent meets {one} data, and its tier admits {', '.join(classes)} only"
            for one in found
            if one not in classes
        ]

    def credentials_beyond(self, kind: str) -> list[str]:
        """Sentences about credentials that are worth more than the tier's `kind` (one of `WORTH`)."""
        if self.entry is None or self.entry.credentials in WORTH[: WORTH.index(kind) + 1]:
            return []
        return [f"the agent holds {self.entry.credentials} credentials, and its tier takes {kind} ones only"]


def _reason(entry: dict[str, Any] | Any) -> Reason:
    what = "the entry of estate.yml"
    with legible(what):
        return Reason(
            tier=text(entry["tier"], what),
            reason=text(entry["reason"], what),
            data=texts(entry["data"], what),
            credentials=text(entry["credentials"], what),
            reviewed=_day(text(entry["reviewed"], what), what),
        )


def _day(written: str, what: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(written)
    except ValueError:
        raise Unmeasured(f"{what} cannot be read: {written!r} is no day") from None
