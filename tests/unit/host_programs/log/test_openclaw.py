"""The exporter against databases of OpenClaw's shape: compressed events, late decisions, deleted sessions."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import sqlite3
import time
from pathlib import Path

import pytest
from tests.unit.roles.tools import load

exporter = load("log_agent", "clawkeep-log-openclaw")
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


def heard(reader: exporter.Reader, path: Path) -> list[str]:
    return [event["event_json"]["said"] for _, event in reader.rows(path)]


def test_each_event_is_told_once(agent: Path) -> None:
    reader = exporter.Reader("transcript")
    assert heard(reader, agent) == ["first 0", "first 1", "first 2"]
    assert heard(reader, agent) == []
    say(agent, "second", 1, NOW + 100)
    assert heard(reader, agent) == ["second 0"]


@pytest.mark.parametrize("seen_between", [True, False])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_what_takes_the_place_of_a_deleted_session_is_told(agent: Path, seen_between: bool, count: int) -> None:
    say(agent, "probe", 2, NOW + 50)
    reader = exporter.Reader("transcript")
    heard(reader, agent)
    forget(agent, "probe")
    if seen_between:
        assert heard(reader, agent) == []
    say(agent, "next", count, NOW + 1000)
    assert heard(reader, agent) == [f"next {n}" for n in range(count)]
    assert heard(reader, agent) == []


def test_a_database_that_was_emptied_is_told_from_its_new_beginning(agent: Path) -> None:
    reader = exporter.Reader("transcript")
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
    (*_, (_, shown)) = exporter.Reader("transcript").rows(agent)
    assert shown["event_json"] == event
    assert "navigation_json" not in shown
    assert "event_zstd" not in shown


def test_what_cannot_be_unpacked_is_told_by_its_size(agent: Path) -> None:
    with sqlite3.connect(agent) as connection:
        connection.execute(
            "INSERT INTO transcript_events VALUES ('odd', 0, NULL, ?, ?, 9, '{}')", (NOW + 9, b"no zstd")
        )
    (*_, (_, shown)) = exporter.Reader("transcript").rows(agent)
    assert shown["event_json"] == "[7 bytes]"


def test_a_long_event_is_told_whole_in_several_lines_and_no_secret_is_cut_in_two() -> None:
    secret = "sk-" + "a1b2c3d4" * 8
    event = {"session_id": "s", "event_json": {"text": f'a "word"\\ and \u00e9 {secret} ' * 900}}
    told = [json.loads(line) for line in exporter.lines("transcript", "main", 7, event)]
    assert [one["part"] for one in told] == list(range(1, told[0]["parts"] + 1))
    assert {(one["kind"], one["agent"], one["seq"]) for one in told} == {("transcript", "main", 7)}
    whole = json.loads("".join(one["text"] for one in told))
    assert whole["event_json"]["text"] == event["event_json"]["text"].replace(secret, "[redacted]")
    assert all(len(json.dumps(json.dumps(one))) < 40_000 for one in told)
    assert list(exporter.lines("audit", "", 1, {"a": 1})) == ['{"kind":"audit","agent":"","seq":1,"event":{"a":1}}']


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
    reader = exporter.Reader("approval")
    assert [event["approval_id"] for _, event in reader.rows(path)] == ["given"]
    with sqlite3.connect(path) as connection:
        decided = (now - 5000,)
        connection.execute(
            "UPDATE operator_approvals SET decision = 'deny', resolved_at_ms = ? WHERE rowid = 1", decided
        )
    assert [event["approval_id"] for _, event in reader.rows(path)] == ["waits"]
    assert reader.rows(path) == []


def test_how_far_it_came_outlives_the_program(tmp_path: Path, agent: Path) -> None:
    cursor = tmp_path / "cursor.json"
    reader = exporter.Reader("transcript")
    reader.rows(agent)
    exporter.remember(cursor, {"transcript:main:a:1": reader})
    (again,) = exporter.recall(cursor).values()
    assert heard(again, agent) == []
    cursor.write_text('{"transcript:main:a:1": 3}', encoding="utf-8")  # as the program wrote it before
    assert exporter.recall(cursor) == {}
