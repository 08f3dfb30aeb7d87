"""clawkeep-log-openclaw: all that the agents' databases hold is told, and one that misbehaves costs itself alone."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.host_programs.planted import jwt, made

from clawkeep_host import openclaw_state, package
from clawkeep_host.log import openclaw as exporter
from clawkeep_host.log.openclaw_tables import Reader
from clawkeep_host.openclaw_state import StateError

NOW = 1_795_410_000_000
TRANSCRIPT = "CREATE TABLE transcript_events (session_id TEXT, event_json TEXT, created_at INTEGER, event_zstd BLOB)"


class World:
    """A state folder, the exporter of it, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.state, self.now = folder / "state", 1000.0
        (self.state / "state").mkdir(parents=True)
        self.said: list[dict[str, Any]] = []
        self.export = exporter.Export(
            self.state,
            folder / "cursor.json",
            say=lambda line: self.said.append(json.loads(line)),
            clock=lambda: self.now,
        )

    def database(self, agent: str, name: str = "openclaw-agent.sqlite") -> Path:
        folder = self.state / "agents" / agent / "agent"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def say(self, agent: str, *words: str) -> None:
        path = self.database(agent)
        with sqlite3.connect(path) as connection:
            connection.execute(TRANSCRIPT.replace("TABLE", "TABLE IF NOT EXISTS"))
            rows = [("s", json.dumps({"said": word}), NOW) for word in words]
            connection.executemany(
                "INSERT INTO transcript_events (session_id, event_json, created_at) VALUES (?, ?, ?)", rows
            )
        connection.close()

    def step(self, seconds: float = 0.0) -> list[dict[str, Any]]:
        """What one look tells, so many seconds later."""
        self.now += seconds
        self.said.clear()
        told = self.export.step()
        assert told == any(one["kind"] != "trouble" for one in self.said)
        return list(self.said)

    def heard(self, seconds: float = 0.0) -> list[str]:
        return [one["event"]["event_json"]["said"] for one in self.step(seconds) if one["kind"] == "transcript"]

    def trouble(self, seconds: float = 0.0) -> list[tuple[str, str]]:
        said = [one for one in self.step(seconds) if one["kind"] == "trouble"]
        return [(one["event"]["database"], one["event"]["problem"]) for one in said]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_each_agents_words_are_told_once(world: World) -> None:
    world.say("main", "one", "two")
    world.say("second", "three")
    assert [(one["agent"], one["seq"]) for one in world.step()] == [("main", 1), ("main", 2), ("second", 1)]
    assert world.step() == []
    world.say("main", "four")
    assert world.heard() == ["four"]


def test_calls_and_approvals_are_told_of_the_shared_database(world: World) -> None:
    with sqlite3.connect(world.state / "state/openclaw.sqlite") as connection:
        connection.execute("CREATE TABLE audit_events (sequence INTEGER PRIMARY KEY, tool_name TEXT, detail_json TEXT)")
        connection.execute("INSERT INTO audit_events VALUES (7, 'exec', '{\"a\": NaN}'), (8, 'exec', '{no json')")
        connection.execute("CREATE TABLE operator_approvals (approval_id TEXT, decision TEXT, resolved_at_ms)")
        connection.execute(
            "INSERT INTO operator_approvals VALUES ('a', 'deny', 5), ('b', 'deny', 'text'), ('c', 'deny', 6.5)"
        )
    connection.close()
    (world.state / "state/other.sqlite").write_text("no database", encoding="utf-8")
    assert [(one["kind"], one["agent"], one["seq"], one["event"]) for one in world.step()] == [
        ("audit", "", 7, {"sequence": 7, "tool_name": "exec", "detail_json": {"a": "NaN"}}),
        ("audit", "", 8, {"sequence": 8, "tool_name": "exec", "detail_json": "{no json"}),
        ("approval", "", 5, {"approval_id": "a", "decision": "deny", "resolved_at_ms": 5}),
    ]
    assert world.step(4000) == []


def test_a_long_event_is_told_whole_in_several_lines_and_no_secret_is_cut_in_two() -> None:
    secret = jwt()
    event = {
        "session_id": "s",
        "event_json": {"text": f'a "word"\\ and \u00e9 {secret} ' * 400, "password": made(20, "x")},
    }
    told = [json.loads(line) for line in exporter.lines("transcript", "main", 7, event)]
    assert [one["part"] for one in told] == list(range(1, told[0]["parts"] + 1))
    assert {(one["kind"], one["agent"], one["seq"]) for one in told} == {("transcript", "main", 7)}
    whole = json.loads("".join(one["text"] for one in told))
    assert whole["event_json"]["text"] == f'a "word"\\ and \u00e9 {"[redacted]"} ' * 400
    assert whole["event_json"]["password"] == "[redacted]"  # noqa: S105 - the mark
    assert all(len(json.dumps(json.dumps(one))) < 40_000 for one in told)
    assert list(exporter.lines("audit", "", 1, {"a": 1})) == ['{"kind":"audit","agent":"","seq":1,"event":{"a":1}}']


def test_an_event_that_is_nested_too_deeply_is_told(world: World) -> None:
    world.say("main", "one")
    deep = "[" * 900 + "]" * 900
    with sqlite3.connect(world.database("main")) as connection:
        connection.execute("UPDATE transcript_events SET event_json = ?", (deep,))
        connection.execute("INSERT INTO transcript_events (event_json) VALUES (?)", ("[" * 90_000 + "]" * 90_000,))
    connection.close()
    first, *rest = world.step()
    assert (first["seq"], rest[-1]["seq"]) == (1, 2)
    assert "nested too deeply" in json.dumps(first) or first["event"]["event_json"] == json.loads(deep)


# --- databases that misbehave -----------------------------------------------------------------------------------------


def hostile(world: World) -> dict[str, str]:
    """One of each, beside an honest agent's; by file, what is said of it."""
    world.say("honest", "one")
    folder = world.database("evil").parent
    with sqlite3.connect(folder / "view.sqlite") as connection:
        connection.execute(
            "CREATE VIEW transcript_events AS"
            " WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"
        )
    connection.close()
    os.mkfifo(folder / "pipe.sqlite")
    (folder / "link.sqlite").symlink_to(world.database("honest"))
    (folder / "text.sqlite").write_text("no database " * 100, encoding="utf-8")
    (folder / "folder.sqlite").mkdir()
    return {
        "folder.sqlite": "it is no regular file",
        "link.sqlite": "it cannot be opened: Too many levels of symbolic links",
        "pipe.sqlite": "it is no regular file",
        "text.sqlite": "file is not a database",
        "view.sqlite": "transcript_events is no plain table",
    }


def test_each_is_told_once_and_again_each_hour_and_the_others_are_read(world: World) -> None:
    said = hostile(world)
    first = world.step()
    assert {one["event"]["database"]: one["event"]["problem"] for one in first if one["kind"] == "trouble"} == said
    assert {(one["agent"], one["seq"], one["event"]["records"]) for one in first if one["kind"] == "trouble"} == {
        ("evil", 0, "transcript")
    }
    assert [one["agent"] for one in first if one["kind"] == "transcript"] == ["honest"]
    world.say("honest", "two")
    assert (world.heard(10), world.trouble(10), world.trouble(3000)) == (["two"], [], [])
    assert dict(world.trouble(600)) == said


def test_a_database_that_is_mended_is_read_and_its_next_trouble_is_told(world: World) -> None:
    path = world.database("main")
    path.write_text("no database " * 100, encoding="utf-8")
    inode = path.stat().st_ino
    assert len(world.trouble()) == 1
    path.write_bytes(b"")
    world.say("main", "one")
    assert path.stat().st_ino == inode
    assert world.heard() == []  # it is not tried at once
    assert world.heard(5) == ["one"]
    path.write_text("no database " * 1000, encoding="utf-8")
    assert len(world.trouble(5)) == 1


def test_attempts_become_rarer() -> None:
    trouble, gaps, now = exporter.Trouble(0.0), [], 0.0
    for _ in range(10):
        trouble.wait(now, exporter.PAUSES)
        gaps.append(trouble.retry - now)
        now = trouble.retry
    assert gaps == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    trouble = exporter.Trouble(0.0)
    for _ in range(6):
        trouble.wait(0.0, exporter.BUSY_PAUSES)
    assert trouble.retry == exporter.BUSY_PAUSES


def test_a_database_in_trouble_is_not_tried_before_its_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.database("main").write_text("no database " * 100, encoding="utf-8")
    world.step()
    tried: list[str] = []
    monkeypatch.setattr("clawkeep_host.log.apart.each", lambda due, *_: tried.extend(one.key for one in due) or [])
    world.step(1.9)
    assert tried == []
    world.step(0.1)
    assert len(tried) == 1


def test_a_busy_database_is_told_when_it_stays_busy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openclaw_state, "BUSY_SECONDS", 0.05)
    world.say("main", "one")
    writer = sqlite3.connect(world.database("main"), isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    assert [world.trouble(20), world.trouble(20), world.trouble(15)] == [[], [], []]
    assert world.trouble(30) == [("openclaw-agent.sqlite", "database is locked")]
    for _ in range(6):
        world.step(exporter.BUSY_PAUSES)
    (trouble,) = world.export.troubles.values()
    assert trouble.retry - world.now <= exporter.BUSY_PAUSES
    writer.execute("ROLLBACK")
    writer.close()
    assert world.heard(exporter.BUSY_PAUSES + 1) == ["one"]


def test_a_row_that_cannot_be_read_costs_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.say("main", "one", "x" * 9000, "three")
    if not hasattr(sqlite3, "SQLITE_LIMIT_LENGTH"):
        pytest.skip("Python sets no limits of SQLite's yet")
    monkeypatch.setitem(openclaw_state.LIMITS, "SQLITE_LIMIT_LENGTH", 8000)
    events = [one["event"] for one in world.step()]
    assert [event.get("unreadable") for event in events] == [None, "string or blob too big", None]
    assert world.step() == []


def test_a_reader_that_hangs_is_left_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be swapped for a pipe after it was looked at, and one function of SQLite's may take for ever."""
    world.say("a-evil", "never")
    world.say("honest", "one")
    read = Reader.rows

    def rows(self: Reader, path: Path) -> Any:
        while "a-evil" in str(path):
            time.sleep(60)
        return read(self, path)

    monkeypatch.setattr(Reader, "rows", rows)
    monkeypatch.setattr(exporter, "PROCESS_SECONDS", 1.0)
    first = world.step()
    assert [(one["kind"], one["agent"]) for one in first] == [("trouble", "a-evil"), ("transcript", "honest")]
    assert first[0]["event"]["problem"] == "it did not end within 1 s"
    began = time.monotonic()
    world.say("honest", "two")
    assert world.heard() == ["two"]
    assert time.monotonic() - began < 1.0  # the other is not tried again so soon


def test_a_file_that_is_swapped_for_a_pipe_hangs_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.say("evil", "x")
    world.say("honest", "one")
    path, regular = world.database("evil"), openclaw_state.regular

    def swapped(name: str) -> int:
        descriptor = regular(name)
        if "evil" in name:
            path.unlink()
            os.mkfifo(path)
        return descriptor

    monkeypatch.setattr(openclaw_state, "regular", swapped)
    monkeypatch.setattr(exporter, "PROCESS_SECONDS", 3.0)
    said = world.step()
    assert [one["agent"] for one in said if one["kind"] == "transcript"] == ["honest"]
    assert [one["agent"] for one in said if one["kind"] == "trouble"] in (["evil"], [])


# --- which databases --------------------------------------------------------------------------------------------------


def test_links_are_not_followed(world: World, tmp_path: Path) -> None:
    world.say("main", "one")
    (world.state / "agents/linked").symlink_to(world.state / "agents/main")
    (world.state / "agents/other").mkdir()
    (world.state / "agents/other/agent").symlink_to(world.state / "agents/main/agent")
    assert [one.agent for one in exporter.sources(world.state)[0]] == ["main"]
    away = tmp_path / "away"
    (world.state / "agents").rename(away)
    (world.state / "agents").symlink_to(away)
    assert exporter.sources(world.state) == ([], 0)


def test_more_databases_than_are_read_are_told_and_known_ones_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "DATABASES", 2)
    world.say("m-one", "one")
    world.say("m-two", "two")
    assert world.heard() == ["one", "two"]
    for n in range(3):
        world.say(f"a{n}", "new")
    world.say("m-two", "three")
    said = world.step()
    assert [one["event"]["event_json"]["said"] for one in said if one["kind"] == "transcript"] == ["three"]
    (told,) = [one["event"] for one in said if one["kind"] == "trouble"]
    assert (told["database"], told["problem"]) == ("agents", "more than 2 databases: the others are not read")


def test_folders_without_end_are_not_listed_to_their_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "ENTRIES", 20)
    world.say("main", "one")
    for n in range(50):
        world.database("main", f"junk{n}").touch()
    looked = []
    entries = exporter._entries
    monkeypatch.setattr(exporter, "_entries", lambda *given: (looked.append(1) or one for one in entries(*given)))
    _, too_many = exporter.sources(world.state)
    assert too_many
    assert len(looked) <= 22


def test_what_is_gone_is_forgotten_when_it_becomes_too_much(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "DATABASES", 3)
    world.say("main", "one")
    world.export.readers.update({f"transcript:gone:x:{n}": Reader("transcript") for n in range(12)})
    world.heard()
    assert [key.split(":")[1] for key in world.export.readers] == ["main"]


# --- how far it came --------------------------------------------------------------------------------------------------


def test_how_far_it_came_outlives_the_program(tmp_path: Path, world: World) -> None:
    world.say("main", "one")
    world.heard()
    cursor = tmp_path / "cursor.json"
    exporter.remember(cursor, world.export.readers)
    again = exporter.recall(cursor)
    assert {key: (one.kind, one.place, one.told) for key, one in again.items()} == {
        key: (one.kind, one.place, one.told) for key, one in world.export.readers.items()
    }
    world.export.readers = again
    assert world.heard() == []
    for content in ('{"transcript:main:a:1": 3}', "[]", "no json", '{"a": ["x", 1]}'):
        cursor.write_text(content, encoding="utf-8")
        assert exporter.recall(cursor) == {}
    cursor.unlink()
    assert exporter.recall(cursor) == {}


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """The program as it is installed."""
    (tmp_path / "clawkeep_host.zip").write_bytes(package.archive())
    path = tmp_path / exporter.PROGRAM
    path.write_text(package.wrapper(exporter.PROGRAM, archive=str(tmp_path / "clawkeep_host.zip")), encoding="utf-8")
    return [sys.executable, "-ISu", str(path)]


def test_the_program_tells_until_the_state_is_another_one(tmp_path: Path, world: World, program: list[str]) -> None:
    hostile(world)
    argv = [*program, str(world.state), str(tmp_path / "cursor")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as running:
        watch = threading.Timer(60, running.kill)
        watch.start()
        assert running.stdout
        kinds = [json.loads(running.stdout.readline())["kind"] for _ in range(6)]
        world.say("honest", "two")
        more = json.loads(running.stdout.readline())
        world.state.rename(tmp_path / "gone")
        world.state.mkdir()
        rest = running.stdout.read()
        watch.cancel()
    assert (running.returncode, sorted(kinds), rest) == (0, ["transcript", *["trouble"] * 5][:6], "")
    assert more["event"]["event_json"] == {"said": "two"}
    assert (tmp_path / "cursor").stat().st_mode & 0o777 == 0o600


def test_a_state_that_is_not_there_is_told_in_one_sentence(tmp_path: Path, program: list[str]) -> None:
    argv = [*program, str(tmp_path / "nothing"), str(tmp_path / "cursor")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("clawkeep-log-openclaw: ")
    assert "Traceback" not in done.stderr


def test_trouble_is_a_sentence_of_a_kind() -> None:
    assert issubclass(openclaw_state.Busy, StateError)
