"""Cloud metadata tried by the host's own processes, and what the packet filter counted meanwhile."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import legible

COUNTER = "metadata_output_drop"
ANSWERED = frozenset({"open", "refused"})
# How a connect ends when nothing answers; `noroute` sent no packet in the first place.
BLOCKED = frozenset({"timeout", "unreachable", "noroute"})


@dataclass(frozen=True)
class Attempt:
    """One connect: `group` metadata or public, `outcome` as the collector's `connects` has it, SYNs sent."""

    uid: int
    group: str
    target: str
    outcome: str
    sent: int


@dataclass(frozen=True)
class HostMetadata:
    """Connects to metadata addresses by user, with the counter of the output hook before and after.

    Sources: TCP connects of the collector as root, nobody and the service account; `nft -j list counters`.
    """

    attempts: tuple[Attempt, ...]
    before: int | None
    after: int | None

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when nothing was tried."""
        with legible("the attempt on cloud metadata"):
            attempts = tuple(
                Attempt(int(uid), str(one["group"]), str(one["target"]), str(one["outcome"]), int(one["sent"]))
                for uid, tries in host.inside.fact("metadata-output").items()
                for one in tries
            )
            counters = (host.inside.json(f"output-counters-{when}", statuses=(0, 1)) for when in ("before", "after"))
            before, after = (_packets(listing) for listing in counters)
        if not any(one.group == "metadata" for one in attempts):
            raise Unmeasured("no process of the host tried the metadata addresses")
        return cls(attempts, before, after)

    def reached(self, exempt: Collection[int]) -> list[str]:
        """Users that get an answer from a metadata address and are not `exempt`.

        Raises `Unmeasured` when all were blocked and yet the counter did not grow by what was sent, or nothing at all
        was reached: then something else was in the way, and nothing is known of the rule.
        """
        tried = [one for one in self.attempts if one.group == "metadata" and one.uid not in exempt]
        answered = [f"uid {one.uid} reaches {one.target}: {one.outcome}" for one in tried if one.outcome in ANSWERED]
        if not answered:
            self._control_experiments(tried)
        return answered

    def _control_experiments(self, tried: Collection[Attempt]) -> None:
        for one in tried:
            if one.outcome not in BLOCKED:
                raise Unmeasured(f"the connect of uid {one.uid} to {one.target} says nothing: {one.outcome}")
        public = [one.outcome for one in self.attempts if one.group == "public"]
        if public and "open" not in public:
            raise Unmeasured("the same processes do not reach the site's public endpoint either")
        sent = sum(max(1, one.sent) for one in tried if one.outcome != "noroute")
        if not sent:
            raise Unmeasured("no packet to a metadata address left a process: the host has no route there")
        if self.before is None or self.after is None:
            raise Unmeasured(f"there is no counter {COUNTER}, so that a blocked connect proves nothing")
        if self.after - self.before < sent:
            raise Unmeasured(f"{sent} packets were sent and {COUNTER} grew by {self.after - self.before}")


def _packets(listing: Any) -> int | None:
    for item in (listing or {}).get("nftables") or ():
        counter = item.get("counter") or {}
        if counter.get("name") == COUNTER:
            return int(counter["packets"])
    return None
