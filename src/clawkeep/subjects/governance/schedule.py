"""Whether verification runs by itself: the control node's ledger, as far as it concerns one host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base import clock
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import boolean, integer, legible, mapping, rows, text, texts
from clawkeep.site import period as periods
from clawkeep.site.ledger import shortcomings

AHEAD = 3600.0  # seconds by which the node's clock may be before the controller's


@dataclass(frozen=True)
class Run:
    """One attempt: `lacks` are sentences why it does not count; `here` is how far this host came, empty for no way."""

    finished: str
    lacks: tuple[str, ...]
    here: str

    @property
    def counts(self) -> bool:
        """Whether it was complete, and measured this host."""
        return not self.lacks and self.here == "measured"


@dataclass(frozen=True)
class Node:
    """The control node: its name, how often it verifies, since when, and what its staleness watch saw when."""

    name: str
    period: str
    established: str
    looked: str
    complaints: tuple[str, ...]


@dataclass(frozen=True)
class Schedule:
    """Source: the ledger on the control node (controller). `node` is None where the inventory has no control node.

    Times are written as `clawkeep.base.clock` does, `looked` is empty for never. `runs` are in the order of time.
    """

    asked: str
    node: Node | None = None
    runs: tuple[Run, ...] = ()

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the controller's document; raises `Unmeasured` when the node did not answer, or not legibly."""
        controller = host.vantage("controller")
        what = "the ledger of the control node"
        asked, fact = text(controller.fact("asked"), "the time of the question"), controller.fact("schedule")
        with legible(what):
            clock.moment(asked)
            if fact is None:
                return cls(asked)
            known = mapping(fact, what)
            watch = mapping(known["watch"], what)
            node = Node(
                name=text(known["node"], what),
                period=_period(known["period"], what),
                established=_time(known["established"], what),
                looked=_time(watch["looked"], what) if watch["looked"] is not None else "",
                complaints=texts(watch["complaints"], what),
            )
            return cls(asked, node, tuple(_run(row, what) for row in rows(known["runs"], what)))

    def absent(self) -> list[str]:
        """A sentence when nothing verifies this inventory by itself."""
        if self.node is not None:
            return []
        return ["no host of the inventory is in control_nodes: nothing verifies this host by itself"]

    def overdue(self, period: str) -> list[str]:
        """Sentences when no run that counts ended within twice the tier's `period`, with what the others lack."""
        if self.node is None:
            return []
        last = next((run for run in reversed(self.runs) if run.counts), None)
        age = clock.since(last.finished if last else self.node.established, self.asked)
        if age < -AHEAD:
            return [f"the schedule of {self.node.name} is dated {clock.spoken(-age)} in the future: look at its clock"]
        if age <= periods.OVERDUE * periods.seconds(period):
            return []
        told = f"one is due {period}"
        if last is None:
            first = f"no run on {self.node.name} has counted for this host in the {clock.spoken(age)} of its schedule"
        else:
            first = f"the last run on {self.node.name} that counts for this host ended {clock.spoken(age)} ago"
        return [f"{first}; {told}", *self._why()]

    def _why(self) -> list[str]:
        """What the newest run lacks."""
        if not self.runs or self.runs[-1].counts:
            return []
        newest = self.runs[-1]
        lacks = newest.lacks or (
            "this host is not in its inventory" if not newest.here else "nothing on this host could be judged",
        )
        return [f"the run of {newest.finished} does not count: {', '.join(lacks)}"]

    def rare(self, period: str) -> list[str]:
        """A sentence when the node verifies less often than the tier's `period`."""
        if self.node is None or periods.seconds(self.node.period) <= periods.seconds(period):
            return []
        return [f"{self.node.name} verifies {self.node.period}, and this host's tier wants it {period}"]

    def unwatched(self, period: str) -> list[str]:
        """Sentences when nobody has looked for longer than `period` whether the schedule still lives, or when whoever
        looked found that it does not."""
        if self.node is None:
            return []
        age = clock.since(self.node.looked or self.node.established, self.asked)
        if age < -AHEAD:
            ahead = clock.spoken(-age)
            return [f"the staleness watch on {self.node.name} looked {ahead} in the future: look at its clock"]
        if age > periods.seconds(period):
            return [f"the staleness watch on {self.node.name} has not looked for {clock.spoken(age)}"]
        return [f"the staleness watch on {self.node.name} complains: {said}" for said in self.node.complaints]

    def rests_on(self, period: str) -> list[str]:
        """What a pass rests on while no run has counted yet: the schedule is younger than that."""
        if self.node is None or any(run.counts for run in self.runs) or self.overdue(period):
            return []
        age = clock.spoken(clock.since(self.node.established, self.asked))
        limit = clock.spoken(periods.OVERDUE * periods.seconds(period))
        return [f"no run has counted yet: the schedule was set up {age} ago, and its first run has {limit}"]


def _run(row: Mapping[str, Any], what: str) -> Run:
    lacks = shortcomings(
        expected=integer(row["expected"], what),
        reached=integer(row["reached"], what),
        measured=integer(row["measured"], what),
        left_out=integer(row["left_out"], what),
        signed=boolean(row["signed"], what),
    )
    trouble = text(row["trouble"], what)
    here = text(row["here"], what) if row["here"] is not None else ""
    return Run(_time(row["finished"], what), (trouble, *lacks) if trouble else lacks, here)


def _period(value: object, what: str) -> str:
    word = text(value, what)
    if word not in periods.SECONDS:
        raise ValueError(f"{word!r} is no period")
    return word


def _time(value: object, what: str) -> str:
    written = text(value, what)
    clock.moment(written)
    return written
