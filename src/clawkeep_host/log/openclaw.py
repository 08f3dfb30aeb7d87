#!/usr/bin/python3 -ISu
"""Print what OpenClaw records of runs, tools, messages, approvals and transcripts as JSON lines, as it is added.

    clawkeep-log-openclaw STATE CURSOR

STATE is the agent's state folder, read as the agent's own account and read-only; CURSOR a file that remembers how far
it came. Tables: `audit_events` of state/openclaw.sqlite (who called which tool and how it ended) and
`operator_approvals` (what a person was asked and what was decided), `transcript_events` of agents/*/agent/*.sqlite
(prompts, outputs, refused calls). A line: {"kind": "audit"|"approval"|"transcript", "agent", "seq", "event": {...}};
an event that is too long for a line is several, {..., "part", "parts", "text"}, whose texts make its JSON together.
Ends when the state is another one, so that its unit binds the new one.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

POLL_SECONDS = 2.0
BATCH = 500
EVENT_LIMIT = 4_194_304  # bytes of one event, above which OpenClaw does not compress either
# Characters of a line, and of the text in one of several: what is escaped twice on its way is no longer than 40,000.
LINE, PART = 16_000, 8_000
# Rows after a place. The place is a row id, except for approvals: a row of theirs is written when somebody is asked and
# again when he has answered, so they are told by the time of the answer, a second later, when that millisecond is over.
QUERIES = {
    "audit": "SELECT rowid AS place, * FROM audit_events WHERE rowid > ? ORDER BY place LIMIT ?",
    "approval": "SELECT resolved_at_ms AS place, * FROM operator_approvals WHERE resolved_at_ms > ?"
    " AND resolved_at_ms < (julianday('now') - 2440587.5) * 86400000 - 1000 ORDER BY place LIMIT ?",
    "transcript": "SELECT rowid AS place, * FROM transcript_events WHERE rowid > ? ORDER BY place LIMIT ?",
}
# SQLite gives the row ids of deleted transcripts to the next ones: when the last row that was told is not there any
# more, what was written after it begins at the first later one.
STANDS = "SELECT 1 FROM transcript_events WHERE rowid = ? AND created_at = ?"
RESUME = (
    "SELECT coalesce((SELECT min(rowid) - 1 FROM transcript_events WHERE created_at > ?),"
    " (SELECT max(rowid) FROM transcript_events), 0)"
)


class Reader:
    """The rows of one table that were added since the last time."""

    def __init__(self, kind: str, place: int = 0, told: int = 0) -> None:
        """Begin after `place`, whose row was written at `told` (milliseconds since the epoch)."""
        self.kind, self.place, self.told = kind, place, told

    def rows(self, path: Path) -> list[tuple[int, dict[str, Any]]]:
        """Place and content, oldest first; none while the database is not there or busy."""
        try:
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)
        except sqlite3.Error:
            return []
        try:
            connection.row_factory = sqlite3.Row
            if self.kind == "transcript" and self.place:
                if connection.execute(STANDS, (self.place, self.told)).fetchone() is None:
                    self.place = int(connection.execute(RESUME, (self.told,)).fetchone()[0])
            found = connection.execute(QUERIES[self.kind], (self.place, BATCH)).fetchall()
        except sqlite3.Error:
            return []
        finally:
            connection.close()
        if found:
            self.place = int(found[-1]["place"])
            self.told = int(found[-1]["created_at"]) if self.kind == "transcript" else 0
        return [(int(row["place"]), event(row)) for row in found]


def event(row: sqlite3.Row) -> dict[str, Any]:
    """A row without empty columns; columns that hold JSON as their value, other bytes by their size alone."""
    shown: dict[str, Any] = {}
    for key in row.keys():
        value = row[key]
        if value is None or key in ("place", "navigation_json"):  # what OpenClaw derives from the event
            continue
        if key == "event_zstd":
            key, value = "event_json", unpacked(value) or value
        if isinstance(value, bytes):
            value = f"[{len(value)} bytes]"
        if isinstance(value, str) and key.endswith("_json"):
            try:
                value = json.loads(value)
            except ValueError:
                pass
        shown[key] = value
    return shown


def unpacked(packed: bytes) -> str | None:
    """What OpenClaw compressed, as it does with most events from a kilobyte on; None where libzstd cannot."""
    try:
        library = ctypes.CDLL("libzstd.so.1")  # dpkg and systemd need it: every Debian has it
        library.ZSTD_decompress.restype = ctypes.c_size_t
        plain = ctypes.create_string_buffer(EVENT_LIMIT)
        size = library.ZSTD_decompress(
            plain, ctypes.c_size_t(EVENT_LIMIT), ctypes.c_char_p(packed), ctypes.c_size_t(len(packed))
        )
        return None if library.ZSTD_isError(ctypes.c_size_t(size)) else plain.raw[:size].decode("utf-8", "replace")
    except (OSError, AttributeError):
        return None


@functools.cache
def redactor() -> ModuleType:
    """The log agent's redactor, which lies beside this program."""
    path = Path(__file__).with_name("clawkeep-log-redact")
    module = ModuleType("redactor")
    SourceFileLoader("redactor", str(path)).exec_module(module)
    return module


def lines(kind: str, agent: str, number: int, shown: dict[str, Any]) -> Iterator[str]:
    """The lines of one event."""
    head = {"kind": kind, "agent": agent, "seq": number}
    whole = json.dumps({**head, "event": shown}, separators=(",", ":"))
    if len(whole) <= LINE:
        yield whole
        return
    # Redacted before it is cut: each half of a secret would look harmless.
    text = json.dumps(redactor().clean(shown), separators=(",", ":"))
    parts = [text[n : n + PART] for n in range(0, len(text), PART)]
    for n, part in enumerate(parts, 1):
        yield json.dumps({**head, "part": n, "parts": len(parts), "text": part}, separators=(",", ":"))


def sources(state: Path) -> list[tuple[str, str, Path]]:
    """Kind, agent and file of every database that there is now."""
    found = [(kind, "", state / "state" / "openclaw.sqlite") for kind in ("audit", "approval")]
    found += [("transcript", path.parts[-3], path) for path in sorted(state.glob("agents/*/agent/*.sqlite"))]
    return [(kind, agent, path) for kind, agent, path in found if path.is_file()]


def remember(cursor: Path, readers: dict[str, Reader]) -> None:
    """Write how far each table was told."""
    fresh = cursor.with_suffix(".new")
    fresh.write_text(json.dumps({key: [one.place, one.told] for key, one in readers.items()}), encoding="utf-8")
    fresh.replace(cursor)


def recall(cursor: Path) -> dict[str, Reader]:
    """How far each table was told; nothing where that cannot be read: then all is told again."""
    try:
        places = json.loads(cursor.read_text(encoding="utf-8"))
        return {str(key): Reader(str(key).partition(":")[0], int(row), int(at)) for key, (row, at) in places.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def main() -> int:
    """Print what is new until the state is another one."""
    state, cursor = Path(sys.argv[1]), Path(sys.argv[2])
    readers = recall(cursor)
    first = state.stat().st_ino
    while state.stat().st_nlink > 0 and state.stat().st_ino == first:
        told = False
        for kind, agent, path in sources(state):
            key = f"{kind}:{agent}:{path.name}:{path.stat().st_ino}"
            for number, shown in readers.setdefault(key, Reader(kind)).rows(path):
                for line in lines(kind, agent, number, shown):
                    print(line)
                told = True
        if told:
            sys.stdout.flush()
            remember(cursor, readers)
        else:
            time.sleep(POLL_SECONDS)
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.dont_write_bytecode = True
    sys.exit(main())
