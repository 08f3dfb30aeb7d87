"""Run commands on a host, refuse in one sentence, and end a program with the exit status that goes with it."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from clawkeep_host.version import version

OVERDUE = 124  # the status of a command that was ended at its time limit, as `timeout` has it
MISSING = 127  # and of one that could not be started, as a shell has it
INTERRUPTED = 130  # and of a program that was interrupted, too
SECONDS = 60.0
LAST_WORDS = 5.0  # seconds that a killed command gets to let go of its pipes
# Debian's `su` keeps the caller's PATH, which is without these: nft and systemctl would not be found.
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class Refusal(Exception):
    """One sentence for the operator; the program ends with `status` (1 unless said otherwise)."""

    def __init__(self, sentence: str, status: int = 1) -> None:
        """Keep the sentence and the exit status."""
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Done:
    """How a command ended: its output, and its status (OVERDUE at the time limit, MISSING without a start)."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether it ended with status 0."""
        return self.status == 0

    @property
    def complaint(self) -> str:
        """Why it failed, as a sentence without its end."""
        if self.status == OVERDUE:
            return f"`{' '.join(self.argv)}` did not end in time"
        words = (self.stderr or self.stdout).strip()
        return f"`{' '.join(self.argv)}` failed: {words or self.status}"


def attempt(*argv: str, stdin: str = "", seconds: float = SECONDS) -> Done:
    """Run a command and tell how it ended; never raises for what the command does.

    At the time limit the whole process group is killed. What left the group and still holds the pipes, or hangs in the
    kernel where no signal reaches it, is not waited for. Tools of administration are found whatever the caller's PATH.
    """
    path = os.pathsep.join((os.environ.get("PATH") or os.defpath, *FOLDERS))
    try:
        process = subprocess.Popen(
            argv,
            env={**os.environ, "PATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as problem:
        return Done(argv, MISSING, "", f"it cannot be started: {problem.strerror}")
    try:
        out, err = process.communicate(stdin.encode("utf-8", "surrogateescape"), timeout=seconds)
        status = process.returncode
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = _last_words(process)
        status = OVERDUE
    return Done(argv, status, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def _last_words(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    try:
        return process.communicate(timeout=LAST_WORDS)
    except subprocess.TimeoutExpired as overdue:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return overdue.stdout or b"", overdue.stderr or b""


def run(*argv: str, stdin: str = "", seconds: float = SECONDS) -> str:
    """The output of a command; raises Refusal with its own words when it fails."""
    done = attempt(*argv, stdin=stdin, seconds=seconds)
    if not done.ok:
        raise Refusal(done.complaint)
    return done.stdout


def succeeds(*argv: str, seconds: float = SECONDS) -> bool:
    """Whether a command ends with status 0 in time."""
    return attempt(*argv, seconds=seconds).ok


class Parser(argparse.ArgumentParser):
    """A command line whose help is the module's own description, and that knows `--version`."""

    def __init__(self, program: str, description: str | None, **options: Any) -> None:
        """`program` is its name; the first line of `description` is told first, the rest as it is written."""
        super().__init__(
            prog=program, description=description, formatter_class=argparse.RawDescriptionHelpFormatter, **options
        )
        self.add_argument("--version", action="version", version=f"{program} {version()}")


def conclude(program: str, action: Callable[[], int | None]) -> NoReturn:
    """Run a program's `action` and exit with its status; what it refuses is one sentence on standard error."""
    try:
        status = action() or 0
        sys.stdout.flush()
    except Refusal as refusal:
        print(f"{program}: {refusal}", file=sys.stderr)
        status = refusal.status
    except BrokenPipeError:
        sys.stdout = None  # whoever read has gone: nothing is flushed at exit
        status = 1
    except (OSError, subprocess.SubprocessError) as problem:
        print(f"{program}: {problem}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        status = INTERRUPTED
    sys.exit(status)
