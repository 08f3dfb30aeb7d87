"""clawkeep-log-journal: every record once it is there, in order, over restarts of the reader and of what it reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.roles.tools import load

reader = load("log_agent", "clawkeep-log-journal")
redactor = load("log_agent", "clawkeep-log-redact")

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
    assert pieces.cursor() == "3"
    assert reader.Pieces(tmp_path, 1).full()


def entry(**fields: Any) -> dict[str, Any]:
    return {"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "1795409265923955", **fields}


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
