"""The rows that OpenClaw added to one of its tables: its ledger of tool calls, its approvals, an agent's transcript."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from clawkeep_host import foreign_json
from clawkeep_host.openclaw_state import Database, StateError, unpacked

BATCH = 500  # rows that are read of a table at once,
BYTES = 4 << 20  # and about how much of them: whoever reads has little memory
TABLES = {"audit": "audit_events", "approval": "operator_approvals", "transcript": "transcript_events"}
# Rows after a place. The place is a row id, except for approvals: a row of theirs is written when somebody is asked and
# again when he has answered, so they are told by the time of the answer, a second later, when that millisecond is over.
PLACE = {"audit": "rowid", "approval": "resolved_at_ms", "transcript": "rowid"}
NEW = "WHERE rowid > ? ORDER BY rowid LIMIT ?"
ANSWERED = (
    "WHERE resolved_at_ms > ? AND resolved_at_ms < ? AND typeof(resolved_at_ms) = 'integer'"
    " ORDER BY resolved_at_ms LIMIT ?"
)
OVER_MS = 1000
# SQLite gives the row ids of deleted transcripts to the next ones: when the last row that was told is not there any
# more, what was written after it begins at the first later one.
STANDS = "WHERE rowid = ? AND created_at = ?"
LATER = "WHERE created_at > ?"


class Reader:
    """The rows of one table that were added since the last time."""

    def __init__(self, kind: str, place: int = 0, told: int = 0) -> None:
        """Begin after `place`, whose row was written at `told` (milliseconds since the epoch)."""
        self.kind, self.place, self.told = kind, place, told

    def rows(self, path: Path) -> list[tuple[int, dict[str, Any]]]:
        """Place and columns of what is new, oldest first; no row when there is no such table.

        A row that cannot be read is {"unreadable": why}. Raises StateError for a database of which nothing can be read,
        Busy for one that may be readable later.
        """
        found: list[tuple[int, dict[str, Any]]] = []
        with Database(str(path)) as database:
            if self.kind == "transcript" and self.place:
                self._resume(database)
            room = BYTES
            for row in self._new(database):
                place = int(row["place"])
                if found and place != self.place and (room <= 0 or database.overdue()):
                    break  # the rest comes the next time
                columns = self._columns(database, int(row["number"]))
                if found and "unreadable" in columns and database.overdue():
                    break  # for want of time alone
                written = columns.get("created_at")
                self.place, self.told = place, written if isinstance(written, int) and self.kind == "transcript" else 0
                room -= sum(len(value) for value in columns.values() if isinstance(value, str))
                found.append((place, columns))
        return found

    def _new(self, database: Database) -> list[dict[str, Any]]:
        table, columns = TABLES[self.kind], f"rowid AS number, {PLACE[self.kind]} AS place"
        if self.kind == "approval":
            over = int(time.time() * 1000) - OVER_MS
            return database.rows(table, columns, ANSWERED, (self.place, over, BATCH))
        return database.rows(table, columns, NEW, (self.place, BATCH))

    def _resume(self, database: Database) -> None:
        table = TABLES[self.kind]
        if database.rows(table, "1", STANDS, (self.place, self.told)):
            return
        first = database.rows(table, "min(rowid) - 1 AS place", LATER, (self.told,))
        last = database.rows(table, "max(rowid) AS place", "")
        places = [row["place"] for row in (*first, *last) if row["place"] is not None]
        self.place = int(places[0]) if places else 0

    def _columns(self, database: Database, number: int) -> dict[str, Any]:
        try:
            for row in database.rows(TABLES[self.kind], "*", "WHERE rowid = ?", (number,)):
                return written(row)
        except StateError as problem:
            return {"unreadable": str(problem)}
        return {"unreadable": "it is gone"}


def written(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON can have it, without empty columns: text unpacked where it was packed, bytes by their number."""
    shown: dict[str, Any] = {}
    for key, value in row.items():
        if value is None or key == "navigation_json":  # what OpenClaw derives from the event
            continue
        if key == "event_zstd" and isinstance(value, bytes):
            key, value = "event_json", unpacked(value) or value
        if isinstance(value, bytes):
            value = f"[{len(value)} bytes]"
        if isinstance(value, float) and not math.isfinite(value):
            value = str(value)
        shown[key] = value
    return shown


def event(columns: dict[str, Any]) -> dict[str, Any]:
    """The columns of a row, those that hold JSON as their values."""
    return {key: _parsed(value) if key.endswith("_json") else value for key, value in columns.items()}


def _parsed(value: Any) -> Any:
    try:
        return foreign_json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
