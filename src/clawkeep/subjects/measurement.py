"""When a host was measured: what every date is held against, and never the clock of whoever judges."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base import clock
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import legible, mapping, text

CONTROLLER = "controller"


@dataclass(frozen=True)
class Measurement:
    """From when to when the host was asked, by the clock of the machine that verifies (UTC).

    Source: the controller's document. The host's own clock is a thing that is measured, not one to measure by: a host
    that is a year behind would have its expired papers pass.
    """

    began: datetime.datetime
    ended: datetime.datetime

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the controller's document; raises `Unmeasured` when it does not tell the time, or not legibly."""
        controller, what = host.vantage(CONTROLLER), "the time of the measurement"
        with legible(what):
            if controller.has("facts/measured"):
                told = mapping(controller.fact("measured"), what)
                began, ended = (clock.moment(text(told.get(end), what)) for end in ("began", "ended"))
            else:  # of a Clawkeep that noted only when the run began
                began = clock.moment(text(controller.fact("asked"), what))
                ended = max([began, *_finished(host, controller)])
            if ended < began:
                raise ValueError(f"it ended at {clock.written(ended)}, before it began at {clock.written(began)}")
        return cls(began, ended)

    @property
    def day(self) -> datetime.date:
        """The day on which the host was measured (UTC)."""
        return self.began.date()

    def ahead(self, told: float) -> float:
        """Seconds by which a time that the host told meanwhile (since the epoch) lies outside of the measurement.

        0 within it, positive for a clock that is ahead, negative for one that is behind. What comes of seconds that
        were cut off is within it.
        """
        if told < self.began.timestamp():
            return told - self.began.timestamp()
        return max(0.0, told - (self.ended.timestamp() + 1))


def _finished(host: HostEvidence, controller: Document) -> Iterator[datetime.datetime]:
    """When the other vantages were done, by the same clock: it stamps every document but the host's own."""
    vantages: Any = host.raw.get("vantages")
    for document in (controller.raw, *vantages.values()):
        finished = document.get("finished") if isinstance(document, dict) else None
        if finished:
            yield clock.moment(text(finished, "the end of a probe"))
