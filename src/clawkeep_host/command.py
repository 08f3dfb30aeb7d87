"""Run commands on a host, refuse in one sentence, and end a program with the exit status that goes with it."""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from clawkeep_host.version import version

OVERDUE = 124  # the status of a command that was ended at its time limit, as `timeout` has it
MISSING = 127  # and of one that could not be started, as a shell has it
INTERRUPTED = 130  # and of a program that was interrupted, too
FLOODED = 256  # and of one that was ended because it wrote without end; no process ends so by itself
CHUNK = 65536
SECONDS = 60.0
LAST_WORDS = 5.0  # seconds that a killed command gets to end
# Debian's `su` keeps the caller's PATH, which is without these: nft and systemctl would not be found.
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
LIMIT = 256 << 20  # bytes of one output: far more than any of ours, and an end for what has none


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


def attempt(*argv: str, stdin: str = "", seconds: float = SECONDS, limit: int = LIMIT) -> Done:
    """Run a command and tell how it ended; never raises for what the command does.

    At the time limit, and when an output grows over `limit` bytes, the whole process group is killed. What left the
    group and still holds the pipes, or hangs in the kernel where no signal reaches it, is not waited for. Tools of
    administration are found whatever the caller's PATH.
    """
    path = os.pathsep.join((os.environ.get("PATH") or os.defpath, *FOLDERS))
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PATH": path},
        )
    except OSError as problem:
        return Done(argv, MISSING, "", f"it cannot be started: {problem.strerror}")
    outputs = (bytearray(), bytearray())
    try:
        status = _converse(process, stdin.encode("utf-8", "surrogateescape"), outputs, seconds, limit)
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    out, err = (bytes(output[:limit]).decode("utf-8", "replace") for output in outputs)
    if status == FLOODED:
        err = f"it wrote more than {limit} bytes"
    return Done(argv, status, out, err)


def _converse(
    process: subprocess.Popen[bytes], given: bytes, outputs: tuple[bytearray, bytearray], seconds: float, limit: int
) -> int:
    """Feed a process and gather its two outputs; return its status, OVERDUE or FLOODED (then its group is killed)."""
    end = time.monotonic() + seconds
    assert process.stdin is not None  # noqa: S101 - for the type checker, like the next one
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018
    source = process.stdin.fileno()
    sinks = {process.stdout.fileno(): outputs[0], process.stderr.fileno(): outputs[1]}
    rest = memoryview(given)
    os.set_blocking(source, False)
    try:
        with selectors.DefaultSelector() as waiting:
            waiting.register(source, selectors.EVENT_WRITE)
            for sink in sinks:
                waiting.register(sink, selectors.EVENT_READ)
            while waiting.get_map():
                for key, _ in waiting.select(_left(end)):
                    if key.fd == source:
                        rest = _offer(source, rest)
                        if not rest:
                            waiting.unregister(source)
                            process.stdin.close()
                        continue
                    chunk = os.read(key.fd, CHUNK)
                    sinks[key.fd] += chunk
                    if not chunk:
                        waiting.unregister(key.fd)
                    if len(sinks[key.fd]) > limit:
                        _kill(process)
                        return FLOODED
        return process.wait(_left(end))
    except (TimeoutError, subprocess.TimeoutExpired):
        _kill(process)
        return OVERDUE
    except BaseException:
        _kill(process)
        raise


def _left(end: float) -> float:
    """The seconds until `end`; raises TimeoutError when there are none."""
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _offer(pipe: int, rest: memoryview) -> memoryview:
    """What is left to write once a pipe has taken what it takes now; nothing when nobody reads it."""
    try:
        return rest[os.write(pipe, rest[:CHUNK]) :]
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        return rest[:0]


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LAST_WORDS)


def run(*argv: str, stdin: str = "", seconds: float = SECONDS) -> str:
    """The output of a command; raises Refusal with its own words when it fails."""
    done = attempt(*argv, stdin=stdin, seconds=seconds)
    if not done.ok:
        raise Refusal(done.complaint)
    return done.stdout


def printable(text: str, length: int = 500) -> str:
    """A foreign text on one line that moves no cursor, of which the end may be cut off."""
    line = " ".join(text[: 4 * length].split())
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)
    return shown if len(shown) <= length else f"{shown[:length]}..."


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
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        status = INTERRUPTED
    except (OSError, subprocess.SubprocessError) as problem:
        print(f"{program}: {problem}", file=sys.stderr)
        status = 1
    sys.exit(status)
