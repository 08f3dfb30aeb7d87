"""Commands are run within their time whatever they do, and a program ends with one sentence and its status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clawkeep_host import command
from clawkeep_host.command import MISSING, OVERDUE, Done, Parser, Refusal, attempt, conclude, printable, run, succeeds
from clawkeep_host.version import version

Captured = pytest.CaptureFixture[str]
SHORT = 0.3  # seconds after which a command that hangs is ended here


def shell(script: str, seconds: float = 10, stdin: str = "") -> Done:
    return attempt("sh", "-c", script, seconds=seconds, stdin=stdin)


# --- attempt ----------------------------------------------------------------------------------------------------


def test_a_command_gives_its_status_and_both_outputs() -> None:
    done = shell("echo said; echo wrong >&2; exit 3")
    assert done == Done(("sh", "-c", "echo said; echo wrong >&2; exit 3"), 3, "said\n", "wrong\n")
    assert not done.ok
    assert shell("true").ok


def test_a_command_reads_what_it_is_given_and_no_more() -> None:
    assert attempt("cat", stdin="a word\n").stdout == "a word\n"
    assert attempt("cat").stdout == ""
    assert attempt("od", "-An", "-tx1", stdin="\udcff").stdout.split() == ["ff"]  # a byte that came from a file name


def test_a_command_that_reads_nothing_fails_nobody() -> None:
    assert shell("exit 0", stdin="x" * 1_000_000).ok


def test_output_that_is_no_text_is_told_as_far_as_it_is_one() -> None:
    done = shell(r"printf 'a\377b'; printf 'c\377d' >&2")
    assert (done.stdout, done.stderr) == ("a\ufffdb", "c\ufffdd")


def test_a_command_that_is_not_there_has_the_shells_status() -> None:
    done = attempt("/nowhere/to/be/found", "now")
    assert done == Done(("/nowhere/to/be/found", "now"), 127, "", "it cannot be started: No such file or directory")
    assert done.status == MISSING


def test_a_command_that_hangs_is_ended_with_what_it_started() -> None:
    began = time.monotonic()
    done = shell("echo begun; echo oops >&2; sleep 600 & echo $!; wait", seconds=SHORT)
    assert time.monotonic() - began < command.LAST_WORDS
    assert done.status == OVERDUE == 124
    assert done.stdout.startswith("begun\n")
    assert done.stderr == "oops\n"
    child = int(done.stdout.split()[1])
    await_end(child)


def await_end(pid: int) -> None:
    """Wait until a process is gone, or nobody's zombie; fails by pytest's own limit of patience, ten seconds."""
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} goes on")


def test_what_left_the_group_and_holds_the_pipes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook that starts a daemon: it survives its group, and its copy of the pipe is never closed."""
    monkeypatch.setattr(command, "LAST_WORDS", SHORT)
    began = time.monotonic()
    done = shell("echo begun; echo oops >&2; setsid sleep 600 & echo $!; sleep 600", seconds=SHORT)
    assert time.monotonic() - began < 5
    assert done.status == OVERDUE
    assert done.stdout.startswith("begun\n")
    assert done.stderr == "oops\n"
    os.kill(int(done.stdout.split()[1]), signal.SIGKILL)


def test_a_command_is_in_a_session_of_its_own() -> None:
    assert int(attempt("ps", "-o", "sid=", "-p", str(os.getpid())).stdout) == os.getsid(0)
    assert int(shell("ps -o sid= -p $$").stdout) != os.getsid(0)


def test_tools_of_administration_are_found_from_a_plain_users_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's `su` keeps the caller's PATH, which has no sbin."""
    monkeypatch.setenv("PATH", "/usr/games")
    monkeypatch.setenv("OTHER", "kept")
    done = attempt("sh", "-c", 'echo "$PATH:$OTHER"; command -v sysctl')
    path, tool = done.stdout.splitlines()
    assert path == "/usr/games:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:kept"
    assert tool.endswith("/sbin/sysctl")
    monkeypatch.delenv("PATH")
    assert attempt("sh", "-c", "echo $PATH").stdout.startswith(f"{os.defpath}:/usr/local/sbin:")


def test_a_command_of_the_callers_own_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "sysctl"
    own.write_text("#!/bin/sh\necho own\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert attempt("sysctl").stdout == "own\n"


# --- what is said of it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("done", "sentence"),
    [
        (Done(("nft", "-f"), 1, "out", " bad rule \n"), "`nft -f` failed: bad rule"),
        (Done(("nft", "-f"), 1, " out\n", ""), "`nft -f` failed: out"),
        (Done(("nft", "-f"), 3, "", ""), "`nft -f` failed: 3"),
        (Done(("nft", "-f"), 1, "out", "\n"), "`nft -f` failed: 1"),
        (Done(("nft", "-f"), OVERDUE, "out", "words"), "`nft -f` did not end in time"),
        (Done(("nft",), MISSING, "", "it cannot be started: why"), "`nft` failed: it cannot be started: why"),
    ],
)
def test_a_failure_is_told_in_the_commands_own_words(done: Done, sentence: str) -> None:
    assert done.complaint == sentence


def test_run_gives_the_output_or_refuses_with_the_complaint() -> None:
    assert run("cat", stdin="a word") == "a word"
    with pytest.raises(Refusal, match=r"^`sh -c exit 3` failed: 3$") as refused:
        run("sh", "-c", "exit 3")
    assert refused.value.status == 1
    with pytest.raises(Refusal, match=r"^`sleep 600` did not end in time$"):
        run("sleep", "600", seconds=SHORT)


def test_success_is_a_status_of_zero_in_time() -> None:
    assert succeeds("true") is True
    assert succeeds("false") is False
    assert succeeds("sleep", "600", seconds=SHORT) is False
    assert succeeds("/nowhere/to/be/found") is False


@pytest.mark.parametrize("call", [attempt, run, succeeds])
def test_a_command_has_a_minute_unless_it_is_told_otherwise(
    call: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    really = command._converse

    def converse(
        process: subprocess.Popen[bytes], given: bytes, outputs: tuple[bytearray, bytearray], seconds: float, limit: int
    ) -> int:
        limits.append(seconds)
        return really(process, given, outputs, seconds, limit)

    monkeypatch.setattr(command, "_converse", converse)
    call("true")
    call("true", seconds=7)
    assert limits == [60.0, 7]


# --- a program --------------------------------------------------------------------------------------------------


def ended(action: Callable[[], int | None]) -> int:
    with pytest.raises(SystemExit) as end:
        conclude("clawkeep-try", action)
    assert isinstance(end.value.code, int)
    return end.value.code


def refusing(trouble: BaseException) -> Callable[[], int | None]:
    def action() -> int | None:
        raise trouble

    return action


@pytest.mark.parametrize(("answer", "status"), [(None, 0), (0, 0), (3, 3)])
def test_a_program_exits_with_what_it_answers(answer: int | None, status: int, capsys: Captured) -> None:
    assert ended(lambda: answer) == status
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("trouble", "status", "sentence"),
    [
        (Refusal("say why"), 1, "say why"),
        (Refusal("say why", 7), 7, "say why"),
        (OSError(28, "No space left on device", "/x"), 1, "[Errno 28] No space left on device: '/x'"),
        (subprocess.SubprocessError("odd"), 1, "odd"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_a_program_refuses_is_one_sentence(
    trouble: BaseException, status: int, sentence: str, capsys: Captured
) -> None:
    assert ended(refusing(trouble)) == status
    assert capsys.readouterr() == ("", f"clawkeep-try: {sentence}\n")


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        conclude("clawkeep-try", refusing(ZeroDivisionError()))


def test_a_reader_that_went_away_is_no_defect() -> None:
    """As of `clawkeep-try | head -1`: nothing may be flushed at exit, for that would fail once more."""
    script = "import sys; from clawkeep_host.command import conclude; conclude('try', lambda: print('x' * 9_000_000))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert process.stdout
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == b""
    assert process.wait(10) == 1


def test_output_that_cannot_be_written_is_told() -> None:
    script = "from clawkeep_host.command import conclude; conclude('try', lambda: print('x'))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, env=env, text=True, check=False
        )
    assert done.returncode != 0
    assert done.stderr.startswith("try: [Errno 28] No space left on device\n")


def test_every_program_tells_its_version_and_its_own_description(capsys: Captured) -> None:
    parser = Parser("clawkeep-try", "Try it.\n\n    clawkeep-try now   at once\n", add_help=True)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"clawkeep-try {version()}\n"
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    shown = capsys.readouterr().out
    assert shown.startswith("usage: clawkeep-try ")
    assert "Try it.\n\n    clawkeep-try now   at once\n" in shown
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--wrong"])
    assert end.value.code == 2
    assert "clawkeep-try: error: " in capsys.readouterr().err


def test_a_command_is_given_all_its_input_while_it_answers() -> None:
    text = "x" * (1 << 20)
    assert attempt("cat", stdin=text).stdout == text
    assert attempt("cat").stdout == ""


def test_a_command_that_writes_without_end_is_ended() -> None:
    done = attempt("yes", limit=1000)
    assert done.stdout == "y\n" * 500
    assert done.complaint == "`yes` failed: it wrote more than 1000 bytes"
    assert attempt("sh", "-c", "yes >&2", limit=1000).status == command.FLOODED
    assert attempt("printf", "12345", limit=5).ok


def test_a_command_that_was_killed_is_not_said_to_have_written_too_much() -> None:
    assert attempt("sh", "-c", "kill -9 $$").complaint == "`sh -c kill -9 $$` failed: -9"


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
