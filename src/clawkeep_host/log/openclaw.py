"""Print what OpenClaw records of runs, tools, messages, approvals and transcripts as JSON lines, as it is added.

    clawkeep-log-openclaw STATE CURSOR

STATE is the agent's state folder, read as the agent's own account and read-only; CURSOR a file that remembers how far
it came. Tables: `audit_events` of state/openclaw.sqlite (who called which tool and how it ended) and
`operator_approvals` (what a person was asked and what was decided), `transcript_events` of agents/*/agent/*.sqlite
(prompts, outputs, refused calls). A line: {"kind": "audit"|"approval"|"transcript", "agent", "seq", "event": {...}};
an event that is too long for a line is several, {..., "part", "parts", "text"}, whose texts make its JSON together. A
row that cannot be read is {..., "event": {"unreadable": why}}. What cannot be read at all costs itself alone, and is
told in {"kind": "trouble", "agent", "seq": 0, "event": {"database", "records", "problem"}}, each hour again. Ends when
the state is another one, so that its unit binds the new one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from clawkeep_host import files, openclaw_state
from clawkeep_host.command import Parser, conclude
from clawkeep_host.log import apart
from clawkeep_host.log.openclaw_tables import Reader, event
from clawkeep_host.openclaw_state import Busy, StateError
from clawkeep_host.redaction import redact

PROGRAM = "clawkeep-log-openclaw"
POLL_SECONDS = 2.0
# Beyond a database's own time: for what no clock of SQLite's sees, a pipe in its place or one endless function.
PROCESS_SECONDS = openclaw_state.SECONDS + openclaw_state.BUSY_SECONDS + 3.0
PROCESS_MEMORY = 160 << 20
ENTRIES, DATABASES = 10_000, 200  # that are looked at in the agents' folders, and that are read
# Characters of a line, and of the text in one of several: what is escaped twice on its way is no longer than 40,000.
LINE, PART = 16_000, 8_000
BUSY_SECONDS, AGAIN_SECONDS = 60.0, 3600.0  # until a busy database is told of, and until any trouble is told again
PAUSE, PAUSES, BUSY_PAUSES = 2.0, 300.0, 20.0  # between attempts: at first, at most, at most at a busy one


@dataclass(frozen=True)
class Source:
    """A table of one database; `key` stays the same as long as the file does."""

    kind: str
    agent: str
    path: Path
    inode: int

    @property
    def key(self) -> str:
        """Under which it is remembered how far the table was told."""
        return f"{self.kind}:{self.agent}:{self.path.name}:{self.inode}"


def sources(state: Path, known: Collection[str] = ()) -> tuple[list[Source], int]:
    """The tables that there are, those first that are `known`, and how many are too many; no link is followed."""
    found = [
        Source(kind, "", path, inode)
        for path, inode in _files(state / "state", [ENTRIES])
        for kind in ("audit", "approval")
        if path.name == "openclaw.sqlite"
    ]
    left = [ENTRIES]
    agents = [
        Source("transcript", folder.name, path, inode)
        for folder in _folders(state / "agents", left)
        for path, inode in _files(folder / "agent", left)
    ]
    agents.sort(key=lambda one: (one.key not in known, one.agent, one.path.name))
    return [*found, *agents[:DATABASES]], len(agents[DATABASES:]) + (left[0] <= 0)


def _entries(folder: Path, left: list[int]) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder that is no link, as long as any are `left` to be looked at."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                left[0] -= 1
                if left[0] < 0:
                    return
                yield entry
    except OSError:
        return
    finally:
        os.close(descriptor)


def _folders(folder: Path, left: list[int]) -> list[Path]:
    return sorted(folder / entry.name for entry in _entries(folder, left) if entry.is_dir(follow_symlinks=False))


def _files(folder: Path, left: list[int]) -> list[tuple[Path, int]]:
    """What has the name of a database in a folder, by path and inode; a link or a pipe is told when it is read."""
    return sorted((folder / one.name, one.inode()) for one in _entries(folder, left) if one.name.endswith(".sqlite"))


def lines(kind: str, agent: str, number: int, shown: dict[str, Any]) -> Iterator[str]:
    """The lines of one event."""
    head = {"kind": kind, "agent": agent, "seq": number}
    try:
        whole = json.dumps({**head, "event": shown}, separators=(",", ":"))
    except RecursionError:
        whole = ""
    if whole and len(whole) <= LINE:
        yield whole
        return
    # Redacted before it is cut: each half of a secret would look harmless.
    text = json.dumps(redact(shown), separators=(",", ":"))
    parts = [text[n : n + PART] for n in range(0, len(text), PART)]
    for n, part in enumerate(parts, 1):
        yield json.dumps({**head, "part": n, "parts": len(parts), "text": part}, separators=(",", ":"))


@dataclass
class Trouble:
    """One thing that cannot be read: since when, when it was told, and when it is tried again (monotonic seconds)."""

    since: float
    retry: float = 0.0
    pause: float = PAUSE
    told: float | None = None

    def tell(self, now: float, after: float) -> bool:
        """Whether it is told now, `after` seconds of trouble; counts as told."""
        due = now - self.since >= after if self.told is None else now - self.told >= AGAIN_SECONDS
        if due:
            self.told = now
        return due

    def wait(self, now: float, most: float) -> None:
        """Try it again later, and later each time, up to `most` seconds."""
        self.retry, self.pause = now + self.pause, min(2 * self.pause, most)


@dataclass
class Export:
    """What was told of a state, and what is to be told next."""

    state: Path
    cursor: Path
    say: Callable[[str], None] = print
    clock: Callable[[], float] = time.monotonic
    readers: dict[str, Reader] = field(default_factory=dict)
    troubles: dict[str, Trouble] = field(default_factory=dict)

    def step(self) -> bool:
        """Tell what is new; whether anything was."""
        found, too_many = sources(self.state, self.readers)
        crowd = Source("transcript", "", self.state / "agents", 0)
        self._judge(crowd, {"problem": f"more than {DATABASES} databases: the others are not read"} if too_many else {})
        due = [one for one in found if one.key not in self.troubles or self.clock() >= self.troubles[one.key].retry]
        told = False
        for source, result in apart.each(due, self._read, PROCESS_SECONDS, PROCESS_MEMORY):
            answer: dict[str, Any] = {"problem": str(result)} if isinstance(result, apart.Lost) else result
            self._judge(source, answer)
            if "rows" in answer:
                self.readers[source.key] = Reader(source.kind, answer["place"], answer["told"])
            for number, columns in answer.get("rows", ()):
                for line in lines(source.kind, source.agent, number, event(columns)):
                    self.say(line)
                told = True
        self._forget({one.key for one in found})
        return told

    def _read(self, source: Source) -> dict[str, Any]:
        """What is new in a table; in a process of its own, so it returns where its reader came to."""
        reader = self.readers.get(source.key) or Reader(source.kind)
        try:
            rows = reader.rows(source.path)
        except StateError as problem:
            return {"problem": str(problem), "busy": isinstance(problem, Busy)}
        return {"rows": rows, "place": reader.place, "told": reader.told}

    def _judge(self, source: Source, answer: dict[str, Any]) -> None:
        """Tell of trouble when that is due, and forget it when it is over."""
        if "problem" not in answer:
            self.troubles.pop(source.key, None)
            return
        now, busy = self.clock(), bool(answer.get("busy"))
        trouble = self.troubles.setdefault(source.key, Trouble(now))
        trouble.wait(now, BUSY_PAUSES if busy else PAUSES)
        if trouble.tell(now, BUSY_SECONDS if busy else 0.0):
            facts = {"database": source.path.name, "records": source.kind, "problem": answer["problem"]}
            for line in lines("trouble", source.agent, 0, facts):
                self.say(line)

    def _forget(self, there: set[str]) -> None:
        """Drop what is remembered of files that are gone, once it is more than can be read."""
        for known in (self.readers, self.troubles):
            if len(known) > 4 * DATABASES:
                for key in [key for key in known if key not in there]:
                    del known[key]


def remember(cursor: Path, readers: dict[str, Reader]) -> None:
    """Write how far each table was told."""
    files.write(cursor, json.dumps({key: [one.place, one.told] for key, one in readers.items()}))


def recall(cursor: Path) -> dict[str, Reader]:
    """How far each table was told; nothing where that cannot be read: then all is told again."""
    try:
        places = json.loads(cursor.read_text(encoding="utf-8"))
        return {str(key): Reader(str(key).partition(":")[0], int(row), int(at)) for key, (row, at) in places.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def export(state: Path, cursor: Path) -> None:
    """Print what is new until the state is another one."""
    work = Export(state, cursor, readers=recall(cursor))
    first = state.stat().st_ino
    while state.stat().st_nlink > 0 and state.stat().st_ino == first:
        told = work.step()
        sys.stdout.flush()
        if told:
            remember(cursor, work.readers)
        else:
            time.sleep(POLL_SECONDS)


def main() -> NoReturn:
    """Parse the command line and export."""
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument("state", metavar="STATE", type=Path)
    parser.add_argument("cursor", metavar="CURSOR", type=Path)
    wish = parser.parse_args()
    os.umask(0o077)
    conclude(PROGRAM, lambda: export(wish.state, wish.cursor))
