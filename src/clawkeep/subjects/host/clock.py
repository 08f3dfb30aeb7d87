"""The clock as chrony sees it (`chronyc -c tracking` and `sources`, comma separated), and as the machine that verifies
saw it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from clawkeep.base.clock import spoken
from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import legible
from clawkeep.subjects.measurement import Measurement
from clawkeep.subjects.systemd import units

UNIT = "chrony.service"
LOCAL = "7F7F0101"  # chrony's own clock, as a reference
LEAPS = ("Normal", "Insert second", "Delete second")


@dataclass(frozen=True)
class Source:
    """One time source: as it was configured, its state (`*` is the followed one), and its last eight answers."""

    name: str
    state: str
    reached: int
    mode: str


@dataclass(frozen=True)
class Clock:
    """Reference, stratum, offset (seconds, as chrony estimates it) and leap status; the sources; the time services.

    `apart` are the seconds by which the host was ahead of the machine that verifies, see `Measurement.ahead`. While
    chrony does not run nothing is known of reference and sources.
    """

    reference: str
    stratum: int
    offset: float
    leap: str
    sources: tuple[Source, ...]
    services: Mapping[str, Mapping[str, str]]
    apart: float

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read both sides; raises `Unmeasured` when services were not listed, or chrony or a time cannot be read."""
        inside, apart = host.inside, host.subject(Measurement).ahead(host_time(host))
        services = units(inside.lines("clock-units"))
        if UNIT not in services:
            raise Unmeasured("the time services were not listed")
        if services[UNIT].get("ActiveState") != "active":
            return cls("", 0, 0.0, "", (), services, apart)
        with legible("what chrony says"):
            lines = inside.lines("chrony-tracking")
            words = lines[0].split(",")
            if len(words) != 14:
                raise ValueError(f"{len(words)} fields instead of 14")
            sources = tuple(_source(line) for line in inside.lines("chrony-sources"))
            return cls(words[0], int(words[2]), float(words[4]), words[13], sources, services, apart)

    def not_followed(self, most: float) -> list[str]:
        """Sentences about a clock that follows nobody, or is off by more than `most` seconds."""
        if self.services[UNIT].get("ActiveState") != "active":
            return [f"{UNIT} is {self.services[UNIT].get('ActiveState') or 'not there'}: nothing keeps the clock right"]
        found = []
        if self.services[UNIT].get("UnitFileState") != "enabled":
            found.append(f"{UNIT} does not start at boot")
        followed = [source for source in self.sources if source.state == "*"]
        if self.leap not in LEAPS or self.reference in (LOCAL, "00000000", "") or not 0 < self.stratum < 16:
            found.append(f"the clock follows nobody (reference {self.reference}, stratum {self.stratum}, {self.leap})")
        elif not followed:
            found.append("chrony has selected none of its sources")
        found += [
            f"{source.name}, which the clock follows, answered none of the last eight questions"
            for source in followed
            if not source.reached
        ]
        if not abs(self.offset) <= most:  # a NaN is not within anything
            found.append(f"the clock is off by {self.offset} s, {most:g} s are allowed")
        return found

    def disagrees(self, most: float) -> list[str]:
        """A sentence about a clock that is more than `most` seconds off that of the machine that verifies."""
        if abs(self.apart) <= most:
            return []
        way = "ahead of" if self.apart > 0 else "behind"
        told = spoken(abs(self.apart))
        return [f"the host's clock is {told} {way} that of the machine that verifies: one of the two is wrong"]

    def other_sources(self, listed: Collection[str]) -> list[str]:
        """Sentences about sources that the site does not list, and about a site that lists none."""
        if not listed:
            return ["the site lists no time server (site_time_servers), so no source is a trusted one"]
        return [
            f"chrony asks {source.name}, which site_time_servers does not list"
            for source in self.sources
            if source.name not in listed
        ]

    def rivals(self) -> list[str]:
        """Sentences about other programs that set the clock."""
        return [
            f"{name} sets the clock, too"
            for name, unit in self.services.items()
            if name != UNIT and unit.get("ActiveState") == "active"
        ]


def host_time(host: HostEvidence) -> float:
    """What the host's own clock said while it was measured (seconds since the epoch); else Unmeasured.

    To compare with, not to judge by: see `Measurement`.
    """
    now = host.inside.fact("clock-now")
    if not isinstance(now, int | float) or isinstance(now, bool) or not math.isfinite(now):
        raise Unmeasured("the host's time was not read")
    return float(now)


def _source(line: str) -> Source:
    words = line.split(",")
    if len(words) != 10 or words[0] not in "^=#" or not words[0]:
        raise ValueError(f"a source of {len(words)} fields")
    return Source(name=words[2], state=words[1], reached=int(words[5], 8), mode=words[0])
