"""Evidence of a stopped agent: in root's own folder, under harmless names, without secrets."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from datetime import UTC
from pathlib import Path

import pytest

from clawkeep_host import engine_api, files, kill_evidence
from clawkeep_host.agent_containers import Container, Inspection
from clawkeep_host.kill_evidence import (
    CHANGES,
    LOG,
    PROCESSES,
    Evidence,
    Halted,
    ask,
    demultiplexed,
    file_name,
    legible,
)
from clawkeep_host.steps import Disk, Steps

from .engine import SECRET, Engine, Fake, piece, refusal

ID = "a" * 64
ONE = Container(ID, "openclaw", "agent", "running")
SEEN = Inspection({"Id": ID, "Config": {"Env": ["MODEL_API_KEY"], "Cmd": [f"authorization: {SECRET}"]}}, {}, (), False)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine([], Fake("openclaw", ID))
    monkeypatch.setattr(engine_api, "ask", made.ask)
    return made


@pytest.fixture
def steps() -> Steps:
    return Steps()


def kept(evidence: Evidence) -> dict[str, str]:
    assert evidence.folder
    return {path.name: path.read_text() for path in evidence.folder.iterdir()}


def test_the_folder_is_named_after_the_second_and_roots_alone(tmp_path: Path, steps: Steps) -> None:
    before = os.umask(0)
    try:
        evidence = Evidence(tmp_path / "clawkeep/kill", steps, Disk())
        evidence.keep("x", "a.txt", str, "b")
    finally:
        os.umask(before)
    assert evidence.folder
    assert re.fullmatch(r"20\d{6}T\d{6}Z", evidence.folder.name)
    assert evidence.folder.parent == tmp_path / "clawkeep/kill"
    assert evidence.folder.stat().st_mode & 0o7777 == 0o700
    assert evidence.folder.parent.stat().st_mode & 0o7777 == 0o700
    assert (evidence.folder / "a.txt").stat().st_mode & 0o7777 == 0o600


def test_two_runs_in_one_second_have_two_folders(tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    class Still(kill_evidence.datetime):  # type: ignore[misc,name-defined]
        @classmethod
        def now(cls, zone: object = None) -> Still:
            assert zone is UTC
            return cls(2026, 12, 1, 13, 14, 15)

    monkeypatch.setattr(kill_evidence, "datetime", Still)
    names = [Evidence(tmp_path, steps, Disk()).folder for _ in range(3)]
    assert names == [tmp_path / name for name in ("20261201T131415Z", "20261201T131415Z-2", "20261201T131415Z-3")]


def test_without_a_folder_nothing_is_asked_or_kept_and_that_is_told_once(
    tmp_path: Path, steps: Steps, engine: Engine
) -> None:
    (tmp_path / "file").touch()
    evidence = Evidence(tmp_path / "file", steps, Disk())
    evidence.keep("x", "a.txt", str, "b")
    evidence.keep_containers([Halted(ONE, SEEN, {PROCESSES: b"{}"})])
    assert evidence.folder is None
    assert len(steps.failures) == 1
    assert steps.failures[0].startswith("no evidence is kept: ")
    assert engine.asked == []


def test_what_is_known_is_kept_and_the_rest_is_asked(tmp_path: Path, steps: Steps, engine: Engine) -> None:
    evidence = Evidence(tmp_path, steps, Disk())
    evidence.keep_containers([Halted(ONE, SEEN, {PROCESSES: b'{"Processes": [["x", "API_TOKEN=abcdefgh"]]}'})])
    files_ = kept(evidence)
    assert steps.failures == []
    assert set(files_) == {f"openclaw.{part}" for part in ("inspect.json", "processes.json", "log", "changes.json")}
    assert engine.done == ["logs openclaw", "changes openclaw"]
    assert files_["openclaw.log"] == "2026-12-01T00:00:00Z hello\n"
    assert json.loads(files_["openclaw.changes.json"]) == [{"Kind": 1, "Path": "/home/node/x"}]
    assert json.loads(files_["openclaw.inspect.json"])["Id"] == ID
    assert files_["openclaw.inspect.json"].startswith('{\n  "Id": ')
    assert "[redacted]" in files_["openclaw.inspect.json"]
    assert json.loads(files_["openclaw.processes.json"]) == {"Processes": [["x", "API_TOKEN=[redacted]"]]}
    assert all(SECRET not in text for text in files_.values())


def test_what_was_told_before_the_end_is_not_asked_again(tmp_path: Path, steps: Steps, engine: Engine) -> None:
    """The engine forgets a container that is removed when it ends."""
    evidence = Evidence(tmp_path, steps, Disk())
    evidence.keep_containers([Halted(ONE, None, {LOG: piece("a word\n"), CHANGES: b"null"})])
    assert kept(evidence) == {"openclaw.log": "a word\n", "openclaw.changes.json": "null"}
    assert engine.asked == []


def test_one_piece_that_is_lost_costs_no_other(tmp_path: Path, steps: Steps, engine: Engine) -> None:
    engine.trouble["logs"] = refusal(500, "gone")
    evidence = Evidence(tmp_path, steps, Disk())
    evidence.keep_containers([Halted(ONE, SEEN, {PROCESSES: b"cut o"})])
    assert set(kept(evidence)) == {"openclaw.inspect.json", "openclaw.changes.json"}
    lost = "evidence of openclaw is incomplete, openclaw."
    assert steps.failures[0].startswith(f"{lost}processes.json is missing: JSONDecodeError: ")
    assert steps.failures[1:] == [f"{lost}log is missing: Docker refuses this: gone"]


def test_a_disk_that_hangs_costs_its_time_once(
    tmp_path: Path, steps: Steps, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = Evidence(tmp_path, steps, Disk(0.1))
    monkeypatch.setattr(files, "write", lambda *_: threading.Event().wait(30))
    evidence.keep_containers([Halted(ONE, SEEN, {})])
    assert [sentence.rpartition(": ")[2] for sentence in steps.failures] == [
        "the disk did not answer within 0.1 s",
        "not tried, for the disk hangs",
        "not tried, for the disk hangs",
    ]
    assert engine.done == ["logs openclaw", "changes openclaw"]


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["openclaw", "a", "task_1.b-2", "9", "a" * 100])
def test_a_containers_name_is_its_files_name(name: str) -> None:
    assert file_name(Container(ID, name, "agent", "")) == name


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("../../etc/cron.d/x", "_etc_cron_d_x"),
        ("/etc/passwd", "_etc_passwd"),
        (".hidden", "_hidden"),
        ("..", "_"),
        ("-rf", "-rf"),
        ("a\0b\nc", "a_b_c"),
        ("a b", "a_b"),
        ("größe", "gr_e"),
        ("", ""),
        ("a" * 101, "a" * 64),
    ],
)
def test_a_name_that_could_lead_elsewhere_is_made_harmless(name: str, start: str) -> None:
    assert file_name(Container(ID, name, "agent", "")) == f"{start}-{'a' * 12}"
    assert file_name(Container("../" + ID, name, "agent", "")) == f"{start}-_{'a' * 11}"


def test_a_hostile_name_stays_in_the_folder(tmp_path: Path, steps: Steps, engine: Engine) -> None:
    hostile = Container(ID, "../../escaped", "agent", "running")
    evidence = Evidence(tmp_path / "kill", steps, Disk())
    evidence.keep_containers([Halted(hostile, SEEN, {PROCESSES: b"{}"})])
    assert engine.asked
    assert len(kept(evidence)) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["kill"]
    assert list((tmp_path / "kill").iterdir()) == [evidence.folder]


# --- logs -------------------------------------------------------------------------------------------------------


def test_a_log_loses_the_headers_between_its_pieces() -> None:
    assert demultiplexed(piece("one\n") + piece("two\n", 2) + piece("three\n", 0)) == b"one\ntwo\nthree\n"
    assert demultiplexed(b"") == b""


@pytest.mark.parametrize(
    "content",
    [
        b"a terminal's log\n",
        b"\1\0\0",
        b"\3\0\0\0\0\0\0\1x",
        b"\1\0\0x\0\0\0\1y",
        b"\1\0x\0\0\0\0\1y",
        b"\1x\0\0\0\0\0\1y",
    ],
)
def test_a_terminals_log_stays_as_it_is(content: bytes) -> None:
    assert demultiplexed(content) == content


def test_a_log_that_breaks_off_is_kept_to_its_end() -> None:
    whole = piece("one\n") + piece("two\n")
    assert demultiplexed(whole[:-2]) == b"one\ntw"
    assert demultiplexed(whole + b"\1\0") == b"one\ntwo\n\1\0"
    assert demultiplexed(b"\1\0\0\0\1\0\0\0" + piece("x")) == piece("x")  # the first 9 of 16 million bytes


def test_a_secret_is_taken_out_of_a_log_over_its_pieces() -> None:
    log = piece("Authorization: Bearer ") + piece(f"{SECRET}\n", 2) + b"\1\0\0\0\0\0\0\6end \xff\n"
    text = legible(LOG, log)
    assert SECRET not in text
    assert text.endswith("end \\xff\n")


def test_of_a_log_that_was_cut_off_the_last_line_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a secret looks like none."""
    monkeypatch.setattr(kill_evidence, "LOG_BYTES", 40)
    log = piece("one\ntwo\n") + piece(f"key {SECRET}\n")
    assert legible(LOG, log[:40]) == "one\ntwo\n[the rest was left out]\n"
    assert legible(LOG, b"x" * 39) == "x" * 39
    assert legible(LOG, b"x" * 40) == "[the rest was left out]\n"


def test_answers_are_bounded(engine: Engine) -> None:
    for what in (PROCESSES, LOG, CHANGES):
        ask(ONE, what, 7)
    path = f"/containers/{ID}"
    assert engine.asked == [
        ("GET", f"{path}/top", 7, 32 * 1024 * 1024),
        ("GET", f"{path}/logs?stdout=true&stderr=true&timestamps=true&tail=5000", 7, 4 * 1024 * 1024),
        ("GET", f"{path}/changes", 7, 32 * 1024 * 1024),
    ]


def test_the_engine_has_three_minutes_for_all_of_it(
    tmp_path: Path, steps: Steps, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    really = engine.ask

    def slow(*words: object, **options: object) -> bytes:
        now[0] += 100
        return really(*words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(engine_api, "ask", slow)
    Evidence(tmp_path, steps, Disk()).keep_containers([Halted(ONE, None, {}), Halted(ONE, None, {})])
    assert [asked[2] for asked in engine.asked] == [180, 80, 2, 2]
