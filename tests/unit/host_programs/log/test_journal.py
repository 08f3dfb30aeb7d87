"""clawkeep-log-journal: every record once it is there, in order, over restarts of the reader and of what it reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.host_programs.planted import jwt

from clawkeep_host.log import journal as reader
from clawkeep_host.log import redact as redactor

# A journal of numbered records; as the real one it goes on behind a cursor.
JOURNALCTL = """#!{python}
import json, sys
(after,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--after-cursor=")] or ["0"]
for number in range(int(after) + 1, {last} + 1):
    entry = {{"__CURSOR": str(number), "__REALTIME_TIMESTAMP": str(1_795_409_265_000_000 + number)}}
    print(json.dumps(entry | {{"MESSAGE": "line %05d" % number, "SYSLOG_IDENTIFIER": "drill", "PRIORITY": "5"}}))
"""


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Read a journal of so many records to its end; the pieces."""
    program = tmp_path / "journalctl"
    monkeypatch.setattr(reader, "JOURNALCTL", str(program))

    def run(last: int, most: int = 1 << 30) -> Any:
        program.write_text(JOURNALCTL.format(python=sys.executable, last=last), encoding="utf-8")
        program.chmod(0o755)
        pieces = reader.Pieces(tmp_path, most)
        assert reader.follow(pieces) == 0
        return pieces

    return run


def messages(pieces: Any) -> list[str]:
    lines = [line for path in pieces.all() for line in path.read_text(encoding="ascii").splitlines()]
    return [str(json.loads(line)["MESSAGE"]) for line in lines]


def test_a_reader_goes_on_where_the_last_one_was(read: Any) -> None:
    read(700)
    assert messages(read(2000)) == [f"line {number:05}" for number in range(1, 2001)]


def test_what_was_half_written_is_read_again(read: Any) -> None:
    (piece,) = read(10).all()
    with piece.open("ab") as file:
        file.write(b'{"cursor":"11","at":17954')
    lines = read(12).all()[0].read_text(encoding="ascii").splitlines()
    assert [line[:14] for line in lines[-3:]] == ['{"cursor":"11"', '{"cursor":"11"', '{"cursor":"12"']


def test_a_piece_goes_when_the_agent_has_read_it(read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PIECE", 1)
    for last in (1, 2, 3):
        pieces = read(last)
    first, second, third = pieces.all()
    state = tmp_path / f"imfile-state:{first.stat().st_ino}:0123"
    state.write_text(json.dumps({"curr_offs": first.stat().st_size - 1}), encoding="utf-8")
    pieces.sweep()
    assert pieces.all() == [first, second, third]
    state.write_text(json.dumps({"curr_offs": first.stat().st_size}), encoding="utf-8")
    pieces.sweep()
    assert pieces.all() == [second, third]
    for piece in (second, third):
        state = tmp_path / f"imfile-state:{piece.stat().st_ino}:0123"
        state.write_text(json.dumps({"curr_offs": piece.stat().st_size}), encoding="utf-8")
    pieces.sweep()
    assert pieces.all() == [third]  # it tells where to go on
    assert pieces.cursor() == "3"
    assert reader.Pieces(tmp_path, 1).full()


def entry(**fields: Any) -> dict[str, Any]:
    return {"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "1795409265923955"} | fields


@pytest.mark.parametrize(
    ("value", "shown"),
    [("plain", "plain"), ([104, 105, 255], "hi\ufffd"), (["one", "two"], "one two"), (None, ""), ([], "")],
)
def test_a_message_of_any_kind_is_text(value: object, shown: str) -> None:
    assert json.loads(reader.line_of(entry(MESSAGE=value)))["MESSAGE"] == shown


def test_a_line_is_never_longer_than_the_agent_reads() -> None:
    line = reader.line_of(entry(MESSAGE="\ufffd\n" * 100_000))
    assert len(line) < 64_000
    assert json.loads(line)["cut"] == 200_000


def shaped(**fields: Any) -> dict[str, Any]:
    line = reader.line_of(entry(**fields)).decode().rstrip("\n")
    message = json.dumps({"msg": f" {line}", "syslogtag": "file.journal:", "programname": "file.journal"})
    record: dict[str, Any] = redactor.Shaper("h", "b").record(message)
    return record


def test_a_record_of_the_journal_is_shaped_as_one() -> None:
    record = shaped(MESSAGE="token=abcdefgh1234", SYSLOG_IDENTIFIER="sshd", PRIORITY="3", _PID="7", _UID="0")
    assert (record["source"], record["program"], record["severity"]) == ("auth", "sshd", 3)
    assert (record["pid"], record["uid"], record["message"]) == ("7", "0", "token=[redacted]")
    assert record["time"] == "2026-11-23T04:47:45.923955+00:00"


def test_the_kernels_words_and_nobody_elses_are_the_kernels() -> None:
    assert shaped(MESSAGE="clawkeep-input: IN=eth0", _TRANSPORT="kernel")["source"] == "firewall"
    assert shaped(MESSAGE="x", SYSLOG_IDENTIFIER="file.audit")["source"] == "journal"


def test_a_line_that_is_no_record_is_withheld() -> None:
    message = json.dumps({"msg": '{"cursor":"s', "syslogtag": "file.journal:", "programname": "x"})
    assert redactor.Shaper("h", "b").record(message)["message"].startswith("[withheld")


def test_the_options_are_journalctls() -> None:
    known = subprocess.run(["journalctl", "--help"], capture_output=True, text=True, check=True).stdout
    for option in ("--follow", "--no-tail", "--all", "--after-cursor", "--output-fields"):
        assert option in known


# --- what any account of the host can write into the journal ----------------------------------------------------------


def piece(record: bytes) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(reader.piece_of(record))
    return line


def record_of(message: Any, **fields: Any) -> bytes:
    """A line as journalctl prints it."""
    return json.dumps(entry(MESSAGE=message, **fields)).encode()


def test_a_cut_goes_through_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first half has no look of its own any more."""
    monkeypatch.setattr(reader, "LIMIT", 1000)
    for before in range(400, 1020, 6):
        line = reader.line_of(entry(MESSAGE=f"{'x' * before} {jwt()} {'y' * 1000}"))
        assert jwt()[:12].encode() not in line
        field = reader.line_of(entry(SYSLOG_IDENTIFIER=f"{'x' * before} {jwt()} {'y' * 1000}"))
        assert jwt()[:12].encode() not in field
        assert len(json.loads(field)["SYSLOG_IDENTIFIER"]) == reader.FIELD_LIMIT


def test_what_fits_is_not_touched() -> None:
    """It is redacted later, where all records are."""
    line = json.loads(reader.line_of(entry(MESSAGE="x" * 39_000 + " token=y", _EXE="z" * 1000)))
    assert (line["MESSAGE"][-8:], len(line["_EXE"]), "cut" in line) == (" token=y"[-8:], 1000, False)


@pytest.mark.parametrize("size", [0, 1000])
def test_a_record_that_is_too_long_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Or one 64-MiB message, which any account may write, would stop the reader at each start anew."""
    monkeypatch.setattr(reader, "RECORD", 400)
    inner = json.dumps({"__CURSOR": "forged", "__REALTIME_TIMESTAMP": "1"})
    records = reader.Records()
    data = record_of("x" * size + inner * 10) + b"\n" + record_of("on", __CURSOR="s=2") + b"\n"
    pieces = b"".join(records.feed(data[at : at + 100]) for at in range(0, len(data), 100)).splitlines()
    long, after = map(json.loads, pieces)
    assert (long["cursor"], long["at"]) == ("s=1", 1795409265923955)
    assert long["MESSAGE"] == "[withheld: a record of the journal is longer than 400 bytes]"
    assert (long["SYSLOG_IDENTIFIER"], after["MESSAGE"], after["cursor"]) == (reader.PROGRAM, "on", "s=2")
    records.feed(b"x" * 5000)
    assert len(records.rest) == 401


def test_a_record_as_long_as_that_is_read() -> None:
    records = reader.Records()
    line = record_of("x" * 100)
    assert json.loads(records.feed(line + b"\n"))["MESSAGE"] == "x" * 100
    assert records.feed(b"\n\n") == b""


@pytest.mark.parametrize(
    "record",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"__CURSOR": "s=1"}',
        b'{"__CURSOR": 1, "__REALTIME_TIMESTAMP": "soon"}',
        b"[" * 100_000,
    ],
)
def test_a_record_that_cannot_be_read_is_told(record: bytes) -> None:
    line = piece(record)
    assert line["MESSAGE"] == "[withheld: a record of the journal is illegible]"
    assert line["at"] > 1_700_000_000_000_000
    assert line.get("cursor") == ("s=1" if b'"s=1"' in record else None)
    shaper = redactor.Shaper("h", "b")
    shown = shaper.record(json.dumps({"msg": json.dumps(line), "syslogtag": redactor.JOURNAL}))
    assert shown["message"] == line["MESSAGE"]


def test_the_reader_ends_as_a_failure_with_journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "JOURNALCTL", "/bin/true")
    monkeypatch.setattr(sys, "argv", [reader.PROGRAM, str(tmp_path), "64"])
    with pytest.raises(SystemExit) as ended:
        reader.main()
    assert ended.value.code == 1


def test_a_full_spool_waits_for_the_agent(read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until what was read is gone; nothing is dropped meanwhile."""
    monkeypatch.setattr(reader, "PIECE", 1)
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        for path in sorted((tmp_path / "journal").glob("*.jsonl")):
            size = path.stat().st_size
            state = tmp_path / f"imfile-state:{path.stat().st_ino}:0"
            state.write_text(json.dumps({"curr_offs": size}), encoding="utf-8")
        most[0] = 1 << 30

    most = [1]
    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr(reader.Pieces, "full", lambda self: sum(p.stat().st_size for p in self.all()) >= most[0])
    read(1)
    pieces = read(3)
    assert waited == [1]
    assert messages(pieces)[-1] == "line 00003"
