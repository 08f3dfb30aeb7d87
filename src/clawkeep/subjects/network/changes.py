"""The firewall's changes as the journal tells them: armed, confirmed, saved, rolled back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import mapping, number, text

LINE = re.compile(r"(?P<verb>armed|confirmed|rolled-back|saved) id=(?P<id>\S+)(?P<rest>.*)")
WORD = re.compile(r"(conn|sha256)=(\S+)")
RULESET = "clawkeep.nft"


@dataclass(frozen=True)
class Event:
    """One line of the firewall tool: `at` in microseconds since the epoch, `boot` names the boot it was written in."""

    verb: str
    id: str
    at: int
    boot: str
    conn: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class FirewallChanges:
    """Every change that the journal still knows, oldest first. Source: `journalctl -t clawkeep-firewall`, systemd."""

    document: Document
    events: tuple[Event, ...]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the journal does not tell of any change."""
        found = [event for line in host.inside.lines("firewall-journal") if (event := _event(line)) is not None]
        if not found:
            raise Unmeasured("the journal tells of no firewall change, so none was seen to be confirmed")
        return cls(host.inside, tuple(sorted(found, key=lambda event: event.at)))

    def unconfirmed(self) -> list[str]:
        """Sentences about changes that nobody confirmed and nothing rolled back, a reboot in between excepted."""
        waiting = mapping(self.document.fact("firewall-armed") or {}, "the change in flight").get("id")
        latest = self.events[-1].boot
        found = []
        for event in self.events:
            if event.verb != "armed" or self._later(event, "confirmed", "rolled-back") or event.boot != latest:
                continue
            if event.id == waiting and self._timers():
                raise Unmeasured(f"change {event.id} waits for its confirmation at this moment")
            found.append(f"change {event.id} was armed, and neither confirmed nor rolled back")
        return found

    def self_confirmed(self) -> list[str]:
        """Sentences about changes confirmed over the connection that armed them, or over none."""
        found = []
        for event in self.events:
            if event.verb != "armed":
                continue
            for confirmation in self._later(event, "confirmed"):
                if confirmation.conn in ("", "console"):
                    found.append(f"change {event.id} was confirmed over no connection")
                elif confirmation.conn == event.conn:
                    found.append(f"change {event.id} was confirmed over the connection that armed it")
        return found

    def saved_early(self) -> list[str]:
        """Sentences about changes that were saved for the next boot without, or before, their confirmation."""
        found = []
        armed = {event.id for event in self.events if event.verb == "armed"}
        for event in self.events:
            if event.verb == "saved" and event.id in armed:
                before = [e for e in self.events if e.id == event.id and e.at <= event.at]
                verbs = [e.verb for e in before]
                if "confirmed" not in verbs or verbs.index("saved") < verbs.index("confirmed"):
                    found.append(f"change {event.id} was saved before it was confirmed")
                if "rolled-back" in verbs:
                    found.append(f"change {event.id} was rolled back, and saved nevertheless")
        return found

    def changed_by_hand(self) -> list[str]:
        """A sentence when the saved ruleset is not the one that was last confirmed."""
        saved = [event for event in self.events if event.verb == "saved"]
        if not saved:
            raise Unmeasured("the journal does not tell when the saved ruleset was written")
        files = mapping(self.document.fact("firewall-files"), "the firewall's files")
        entry = next((value for name, value in files.items() if name.rpartition("/")[2] == RULESET), None)
        if entry is None:
            raise Unmeasured(f"{RULESET} was not looked at")
        digest = text(mapping(entry, RULESET).get("sha256"), f"the digest of {RULESET}")
        if digest == saved[-1].sha256:
            return []
        return [f"{RULESET} is not what change {saved[-1].id} saved: it was changed without arm and confirm"]

    def stale_timers(self) -> list[str]:
        """Sentences about rollback timers that would undo what was confirmed."""
        waiting = mapping(self.document.fact("firewall-armed") or {}, "the change in flight").get("id")
        open_ids = {e.id for e in self.events if e.verb == "armed" and not self._later(e, "confirmed", "rolled-back")}
        if waiting in open_ids:
            return []
        return [f"{timer} is armed, and no change waits for it" for timer in self._timers()]

    def _timers(self) -> list[str]:
        """The rollback timers that still tick: `UNIT LOAD ACTIVE SUB DESCRIPTION`."""
        rows = (line.split() for line in self.document.lines("rollback-timers"))
        return [row[0] for row in rows if len(row) >= 4 and row[2] == "active"]

    def _later(self, event: Event, *verbs: str) -> Sequence[Event]:
        return [e for e in self.events if e.id == event.id and e.verb in verbs and e.at >= event.at]


def _event(line: str) -> Event | None:
    try:
        entry = json.loads(line)
    except ValueError:
        raise Unmeasured(f"the journal printed something that is not JSON: {line[:80]!r}") from None
    message = entry.get("MESSAGE") if isinstance(entry, Mapping) else None
    found = LINE.search(message) if isinstance(message, str) else None
    if found is None:
        return None
    at = number(str(entry.get("__REALTIME_TIMESTAMP", "")))
    if at is None:
        raise Unmeasured("the journal did not tell when a change was made")
    words = dict(WORD.findall(found["rest"]))
    return Event(
        found["verb"],
        found["id"],
        at,
        str(entry.get("_BOOT_ID", "")),
        words.get("conn", ""),
        words.get("sha256", ""),
    )
