"""Cloud metadata tried by the host's own processes, and what the packet filter counted meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.evidence.document import HostEvidence
from clawkeep.verdict import Unmeasured

COUNTER = "metadata_output_drop"
ANSWERED = frozenset({"open", "refused"})
# How a connect ends when nothing answers; `noroute` sent no packet in the first place.
BLOCKED = frozenset({"timeout", "unreachable", "noroute"})


@dataclass(frozen=True)
class HostMetadata:
    """Connects to metadata addresses by user, with the counter of the output hook before and after.

    Sources: TCP connects of the collector as root, nobody and the service account; `nft -j list counters`.
    """

    attempts: Mapping[str, Sequence[Mapping[str, Any]]]
    before: int | None
    after: int | None

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when nothing was tried."""
        attempts = host.inside.fact("metadata-output")
        if not attempts or not all(attempts.values()):
            raise Unmeasured("no process of the host tried the metadata addresses")
        counters = (host.inside.json(f"output-counters-{when}", statuses=(0, 1)) for when in ("before", "after"))
        before, after = (_packets(listing) for listing in counters)
        return cls(attempts, before, after)

    def reached(self, exempt: Sequence[int]) -> list[str]:
        """Users that get an answer from a metadata address and are not `exempt`.

        Raises `Unmeasured` when all were blocked and yet the counter did not grow by what was sent, or nothing at all
        was reached: then something else was in the way, and nothing is known of the rule.
        """
        tried = [(uid, try_) for uid, tries in self.attempts.items() for try_ in tries if int(uid) not in exempt]
        tried = [(uid, try_) for uid, try_ in tried if try_["group"] == "metadata"]
        answered = [one for one in tried if one[1]["outcome"] in ANSWERED]
        if answered:
            return [f"uid {uid} reaches {one['target']}: {one['outcome']}" for uid, one in answered]
        strange = [
            f"{one['target']} as uid {uid}: {one['outcome']}" for uid, one in tried if one["outcome"] not in BLOCKED
        ]
        if strange:
            raise Unmeasured(f"an attempt on metadata ended in a way that says nothing ({strange[0]})")
        self._instrument()
        sent = sum(max(1, int(one.get("sent", 0))) for _, one in tried if one["outcome"] != "noroute")
        if not sent:
            raise Unmeasured("no packet to a metadata address left a process: the host has no route there")
        if self.before is None or self.after is None:
            raise Unmeasured(f"there is no counter {COUNTER}, so that a blocked connect proves nothing")
        if self.after - self.before < sent:
            raise Unmeasured(f"{sent} packets were sent and {COUNTER} grew by {self.after - self.before}")
        return []

    def _instrument(self) -> None:
        """The control experiment: where the site names a public endpoint, one of the users reaches it."""
        public = [one["outcome"] for tries in self.attempts.values() for one in tries if one["group"] == "public"]
        if public and "open" not in public:
            raise Unmeasured("the same processes do not reach the site's public endpoint either")


def _packets(listing: Any) -> int | None:
    for item in (listing or {}).get("nftables") or ():
        counter = item.get("counter") or {}
        if counter.get("name") == COUNTER:
            return int(counter["packets"])
    return None
