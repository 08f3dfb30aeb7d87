"""The logs on the host itself: who reads them, how long they are kept, and whether a secret was written into them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import boolean, integer, mapping, text

DAY = 86_400
AHEAD = 60  # seconds by which a file's time may be ahead of the clock that dates it
SETTING = re.compile(r"\s*MaxRetentionSec\s*=\s*(.*?)\s*")
SPAN = re.compile(r"(\d+)\s*([a-z]*)")
SECONDS = {  # systemd.time(7)
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), DAY),
    **dict.fromkeys(("w", "week", "weeks"), 7 * DAY),
    **dict.fromkeys(("month", "months"), int(30.44 * DAY)),
    **dict.fromkeys(("y", "year", "years"), int(365.25 * DAY)),
}


@dataclass(frozen=True)
class Seen:
    """One log file: what nobody's account got of it (`ok` or an errno's name), and how old its last line is (s)."""

    nobody: str
    age: int


@dataclass(frozen=True)
class Logs:
    """Source: log files opened as nobody, `systemd-analyze cat-config systemd/journald.conf`, a proxied request."""

    document: Document
    files: Mapping[str, Seen]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the account nobody reads nothing at all."""
        found = mapping(host.inside.fact("log-readers"), "who reads the logs")
        if found.get("control") != "ok":
            raise Unmeasured(f"nobody's account does not even read what everybody may: {found.get('control')}")
        if boolean(found.get("left"), "whether log files were left out"):
            raise Unmeasured("the host has more log files than the collector looks at")
        files = {}
        for path, one in mapping(found.get("files"), "the log files").items():
            what = f"the log file {path}"
            raw = mapping(one, what)
            files[path] = Seen(text(raw.get("nobody"), what), integer(raw.get("age"), what))
        if not files:
            raise Unmeasured("no log file was found, not even the journal's")
        return cls(host.inside, files)

    def readable(self) -> list[str]:
        """Sentences about logs that any account reads."""
        return [
            f"any account reads {path}: take the permission away"
            for path, one in self.files.items()
            if one.nobody == "ok"
        ]

    def retention(self) -> int | None:
        """Seconds for which the journal keeps records; None when it has no limit in time."""
        values = [found[1] for line in self.document.lines("journald-config") if (found := SETTING.fullmatch(line))]
        if not values or values[-1] in ("", "0", "infinity"):
            return None
        parts = SPAN.findall(values[-1])
        if "".join("".join(part) for part in parts) != re.sub(r"\s", "", values[-1]) or any(
            u not in SECONDS for _, u in parts
        ):
            raise Unmeasured(f"the journal's MaxRetentionSec cannot be read: {values[-1][:40]!r}")
        return sum(int(number[:12]) * SECONDS[unit] for number, unit in parts)

    def kept_otherwise(self, days: int) -> list[str]:
        """Sentences about records that are kept for more or fewer than `days`."""
        limit = self.retention()
        wrong = []
        if limit is None:
            wrong.append(f"the journal keeps records without an end, the tier wants {days} days")
        elif limit != days * DAY:
            wrong.append(f"the journal keeps records for {limit / DAY:g} days, the tier wants {days}")
        # A file is closed a day after its first record, and taken away by the next run of whoever rotates.
        old = {path: one.age // DAY for path, one in self.files.items() if one.age > (days + 2) * DAY}
        wrong += [f"{path} is {age} days old, the tier keeps {days}" for path, age in sorted(old.items())]
        early = sorted(path for path, one in self.files.items() if one.age < -AHEAD)
        if early and not wrong:
            raise Unmeasured(f"{early[0]} was last written in the host's future, so nobody knows how old it is")
        return wrong

    def leaked(self) -> list[str]:
        """That the proxy wrote a secret down which stood in an address."""
        found = mapping(self.document.fact("log-secret"), "the request with a secret")
        tried = text(found.get("tried"), "why the request was not made")
        if tried:
            raise Unmeasured(f"no request with a secret could be made: {tried}")
        if not boolean(found.get("told"), "whether the proxy told of the request"):
            raise Unmeasured("the proxy's log does not tell of the request with a secret: its silence proves nothing")
        leaked = boolean(found.get("leaked"), "whether the proxy wrote the secret")
        return ["the proxy writes secrets that stand in an address into its log"] if leaked else []
