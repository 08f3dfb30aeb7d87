"""clawkeep_host.command: a command ends in time and within bounds, and a program ends with one sentence."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clawkeep_host import command
from clawkeep_host.command import Refusal, attempt, conclude, printable, run, succeeds


def test_a_command_is_told_with_its_output_and_its_status() -> None:
    done = attempt("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.status, done.stdout, done.stderr, done.ok) == (3, "out\n", "err\n", False)
    assert done.complaint == "`sh -c echo out; echo err >&2; exit 3` failed: err"
    assert attempt("sh", "-c", "echo out; exit 3").complaint.endswith(" failed: out")
    assert attempt("false").complaint == "`false` failed: 1"


def test_a_command_is_given_all_its_input_while_it_answers() -> None:
    text = "x" * (1 << 20)
    assert attempt("cat", stdin=text).stdout == text
    assert attempt("cat").stdout == ""


def test_a_command_that_wants_no_input_is_not_waited_for() -> None:
    done = attempt("sh", "-c", "exec <&-; echo done", stdin="x" * (1 << 20))
    assert (done.status, done.stdout) == (0, "done\n")


def test_bytes_that_are_no_text_do_not_end_the_program() -> None:
    assert attempt("printf", r"\377\n").stdout == "\N{REPLACEMENT CHARACTER}\n"
    assert attempt("od", "-An", "-tx1", stdin="\udcff").stdout.split() == ["ff"]


@pytest.mark.parametrize("script", ["sleep 600", "exec >&- 2>&-; sleep 600", "sleep 600 & echo $!; exec sleep 600"])
def test_a_command_ends_at_its_time_limit_with_its_children(script: str) -> None:
    began = time.monotonic()
    done = attempt("sh", "-c", script, seconds=0.2)
    assert time.monotonic() - began < 60
    assert done.status == command.OVERDUE
    assert done.complaint == f"`sh -c {script}` did not end in time"
    if done.stdout:
        with contextlib.suppress(ProcessLookupError):
            grandchild = os.pidfd_open(int(done.stdout))
            assert select.select([grandchild], [], [], 60)[0], "it runs on"
            os.close(grandchild)


def test_a_command_that_writes_without_end_is_ended() -> None:
    done = attempt("yes", limit=1000)
    assert done.stdout == "y\n" * 500
    assert done.complaint == "`yes` failed: it wrote more than 1000 bytes"
    assert attempt("sh", "-c", "yes >&2", limit=1000).status == command.FLOODED
    assert attempt("printf", "12345", limit=5).ok


def test_a_command_that_was_killed_is_not_said_to_have_written_too_much() -> None:
    assert attempt("sh", "-c", "kill -9 $$").complaint == "`sh -c kill -9 $$` failed: -9"


def test_a_command_that_is_not_there_is_missing() -> None:
    done = attempt("no-such-command")
    assert (done.status, done.complaint) == (
        command.MISSING,
        "`no-such-command` failed: it cannot be started: No such file or directory",
    )


def test_run_gives_the_output_or_refuses_with_the_commands_words() -> None:
    assert run("echo", "hello") == "hello\n"
    with pytest.raises(Refusal, match=r"^`sh -c echo why >&2; false` failed: why$") as refusal:
        run("sh", "-c", "echo why >&2; false")
    assert refusal.value.status == 1
    assert succeeds("true")
    assert not succeeds("false")


def test_a_command_keeps_no_descriptor_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for argv in (("true",), ("yes",), ("no-such-command",)):
        attempt(*argv, limit=10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \N{LATIN SMALL LETTER U WITH DIAERESIS}", "plain \N{LATIN SMALL LETTER U WITH DIAERESIS}"),
        ("two\nlines\t here ", "two lines here"),
        ("\x1b[2Jgone\x07", r"\x1b[2Jgone\x07"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}txt.exe\udcff", r"\u202etxt.exe\udcff"),
        ("x" * 600, "x" * 500 + "..."),
        ("x" * 500, "x" * 500),
    ],
)
def test_foreign_text_is_shown_in_one_line_that_moves_no_cursor(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_program_ends_with_the_status_and_the_sentence_of_its_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> int:
        raise Refusal("no", 3)

    def fail() -> int:
        raise OSError(28, "No space left on device", "/x")

    for action, status, said in (
        (lambda: None, 0, ""),
        (lambda: 4, 4, ""),
        (refuse, 3, "prog: no\n"),
        (fail, 1, "prog: [Errno 28] No space left on device: '/x'\n"),
    ):
        with pytest.raises(SystemExit) as end:
            conclude("prog", action)
        assert (end.value.code, capsys.readouterr().err) == (status, said)


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    script = "from clawkeep_host.command import conclude; conclude('p', lambda: print('x' * 1000000))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
