"""What was added to OpenClaw's tables: compressed events, late decisions, deleted sessions; and hostile databases."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from clawkeep_host.log import openclaw_tables as tables
from clawkeep_host.openclaw_state import Busy, Database, StateError

NOW = 1_795_410_000_000


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """An agent's database with one session of three events."""
    path = tmp_path / "openclaw-agent.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE transcript_events (session_id TEXT NOT NULL, seq INTEGER NOT NULL, event_json TEXT,"
            " created_at INTEGER NOT NULL, event_zstd BLOB, event_utf8_bytes INTEGER, navigation_json TEXT,"
            " PRIMARY KEY (session_id, seq))"
        )
    say(path, "first", 3)
    return path


def say(path: Path, session: str, count: int, at: int = NOW) -> None:
    rows = [(session, n, json.dumps({"said": f"{session} {n}"}), at + n) for n in range(count)]
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES (?, ?, ?, ?)", rows
        )


def forget(path: Path, session: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM transcript_events WHERE session_id = ?", (session,))


def heard(reader: tables.Reader, path: Path) -> list[Any]:
    return [tables.event(columns)["event_json"]["said"] for _, columns in reader.rows(path)]


def test_each_event_is_told_once(agent: Path) -> None:
    reader = tables.Reader("transcript")
    assert heard(reader, agent) == ["first 0", "first 1", "first 2"]
    assert heard(reader, agent) == []
    say(agent, "second", 1, NOW + 100)
    assert heard(reader, agent) == ["second 0"]


@pytest.mark.parametrize("seen_between", [True, False])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_what_takes_the_place_of_a_deleted_session_is_told(agent: Path, seen_between: bool, count: int) -> None:
    say(agent, "probe", 2, NOW + 50)
    reader = tables.Reader("transcript")
    heard(reader, agent)
    forget(agent, "probe")
    if seen_between:
        assert heard(reader, agent) == []
    say(agent, "next", count, NOW + 1000)
    assert heard(reader, agent) == [f"next {n}" for n in range(count)]
    assert heard(reader, agent) == []


def test_a_database_that_was_emptied_is_told_from_its_new_beginning(agent: Path) -> None:
    reader = tables.Reader("transcript")
    heard(reader, agent)
    forget(agent, "first")
    assert heard(reader, agent) == []
    say(agent, "next", 1, NOW + 1000)
    assert heard(reader, agent) == ["next 0"]


def packed(text: bytes) -> bytes:
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_compress.restype = ctypes.c_size_t
    room = ctypes.create_string_buffer(len(text) + 1024)
    size = library.ZSTD_compress(room, ctypes.c_size_t(len(room)), text, ctypes.c_size_t(len(text)), 1)
    return room.raw[:size]


@pytest.mark.skipif(ctypes.util.find_library("zstd") is None, reason="this machine has no libzstd")
def test_a_compressed_event_is_told_as_text(agent: Path) -> None:
    event = {"message": {"role": "user", "content": "what was said " * 200}}
    with sqlite3.connect(agent) as connection:
        connection.execute(
            "INSERT INTO transcript_events VALUES ('long', 0, NULL, ?, ?, 2900, '{\"version\":1}')",
            (NOW + 9, packed(json.dumps(event).encode())),
        )
    (*_, (_, columns)) = tables.Reader("transcript").rows(agent)
    shown = tables.event(columns)
    assert shown["event_json"] == event
    assert "navigation_json" not in shown
    assert "event_zstd" not in shown


def test_what_cannot_be_unpacked_is_told_by_its_size(agent: Path) -> None:
    with sqlite3.connect(agent) as connection:
        connection.execute(
            "INSERT INTO transcript_events VALUES ('odd', 0, NULL, ?, ?, 9, '{}')", (NOW + 9, b"no zstd")
        )
    (*_, (_, shown)) = tables.Reader("transcript").rows(agent)
    assert shown["event_json"] == "[7 bytes]"


def test_an_approval_is_told_when_it_was_decided(tmp_path: Path) -> None:
    path, now = tmp_path / "openclaw.sqlite", int(time.time() * 1000)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE operator_approvals (approval_id TEXT PRIMARY KEY, decision TEXT, resolved_at_ms INTEGER)"
        )
        connection.executemany(
            "INSERT INTO operator_approvals VALUES (?, ?, ?)",
            [("waits", None, None), ("given", "allow-once", now - 9000), ("fresh", "deny", now + 60_000)],
        )
    reader = tables.Reader("approval")
    assert [event["approval_id"] for _, event in reader.rows(path)] == ["given"]
    with sqlite3.connect(path) as connection:
        decided = (now - 5000,)
        connection.execute(
            "UPDATE operator_approvals SET decision = 'deny', resolved_at_ms = ? WHERE rowid = 1", decided
        )
    assert [event["approval_id"] for _, event in reader.rows(path)] == ["waits"]
    assert reader.rows(path) == []


# --- hostile tables ---------------------------------------------------------------------------------------------------


def test_a_view_in_place_of_the_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE VIEW audit_events AS SELECT 1 AS sequence")
    with pytest.raises(StateError, match="no plain table"):
        tables.Reader("audit").rows(path)
    assert tables.Reader("approval").rows(path) == []
    with pytest.raises(Busy):
        tables.Reader("audit").rows(tmp_path / "nothing")


def test_more_than_can_be_held_comes_the_next_time(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BYTES", 1)
    reader = tables.Reader("transcript")
    assert [heard(reader, agent) for _ in range(4)] == [["first 0"], ["first 1"], ["first 2"], []]
    monkeypatch.setattr(tables, "BYTES", 1 << 20)
    monkeypatch.setattr(tables, "BATCH", 2)
    reader = tables.Reader("transcript")
    assert [heard(reader, agent) for _ in range(3)] == [["first 0", "first 1"], ["first 2"], []]


def test_what_is_told_at_one_moment_is_told_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of an approval is its time: what shared it and was left out would never be told."""
    monkeypatch.setattr(tables, "BYTES", 1)
    path = tmp_path / "openclaw.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE operator_approvals (approval_id TEXT, resolved_at_ms INTEGER)")
        connection.executemany("INSERT INTO operator_approvals VALUES (?, ?)", [("a", 5), ("b", 5), ("c", 6)])
    reader = tables.Reader("approval")
    told = [[row["approval_id"] for _, row in reader.rows(path)] for _ in range(3)]
    assert told == [["a", "b"], ["c"], []]


def test_a_decision_is_told_when_its_millisecond_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one may still be written into it."""
    path = tmp_path / "openclaw.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE operator_approvals (approval_id TEXT, resolved_at_ms INTEGER)")
        connection.execute("INSERT INTO operator_approvals VALUES ('a', 50000)")
    reader = tables.Reader("approval")
    for now, told in ((50.5, 0), (51.0, 0), (51.001, 1), (60.0, 0)):
        monkeypatch.setattr("clawkeep_host.log.openclaw_tables.time.time", lambda now=now: now)
        assert len(reader.rows(path)) == told


def test_time_that_runs_out_loses_no_row(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overdue = iter([False, True])
    monkeypatch.setattr(Database, "overdue", lambda _: next(overdue, False))
    read = Database.rows

    def rows(self: Any, table: str, columns: str, rest: str, values: Any = ()) -> Any:
        if columns == "*" and values == (2,) and not late:
            late.append(True)
            raise StateError("reading it takes too long")
        return read(self, table, columns, rest, values)

    late: list[bool] = []
    monkeypatch.setattr(Database, "rows", rows)
    reader = tables.Reader("transcript")
    assert [heard(reader, agent), heard(reader, agent)] == [["first 0"], ["first 1", "first 2"]]


@pytest.mark.parametrize("written", ["'soon'", "NULL", "x'00'", "1.5", "9223372036854775807"])
def test_a_time_that_is_none_stops_nothing(agent: Path, written: str) -> None:
    with sqlite3.connect(agent) as connection:
        connection.execute("DROP TABLE transcript_events")
        connection.execute("CREATE TABLE transcript_events (event_json TEXT, created_at)")
        connection.execute(f"INSERT INTO transcript_events VALUES ('{{\"said\": 1}}', {written})")  # noqa: S608
    reader = tables.Reader("transcript")
    assert heard(reader, agent) == [1]
    with sqlite3.connect(agent) as connection:
        connection.execute("INSERT INTO transcript_events VALUES ('{\"said\": 2}', 5)")
    assert 2 in heard(reader, agent) or written == "9223372036854775807"


def test_numbers_that_json_does_not_have_are_text() -> None:
    row = {"a": float("inf"), "b": float("nan"), "c": 1.5, "d": b"12", "e": None, "navigation_json": "x"}
    assert tables.written(row) == {"a": "inf", "b": "nan", "c": 1.5, "d": "[2 bytes]"}
    assert tables.event({"a_json": 5, "b_json": "[1]", "c": "[1]"}) == {"a_json": 5, "b_json": [1], "c": "[1]"}
