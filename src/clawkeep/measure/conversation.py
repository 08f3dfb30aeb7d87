"""One command, its input given when it is ready for it, its output and time bounded."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

READY = b"clawkeep-ready\n"  # what the other side prints before it reads; anything printed earlier is dropped
STDERR_KEPT = 64 * 1024  # bytes


@dataclass(frozen=True)
class End:
    """How a conversation ended; `stdout` is what came after READY, `status` None when we had to stop it."""

    status: int | None
    stdout: bytes
    stderr: str
    ready: bool
    timeout: bool = False
    overflow: bool = False


def converse(
    argv: Sequence[str], first: bytes, payload: bytes, *, limit: float, cap: int, environment: Mapping[str, str]
) -> End:
    """Run `argv`: send `first`, wait for READY, send `payload`, and keep what is printed after READY.

    At most `limit` seconds and `cap` bytes; whatever the command started here is killed with it. A refused password
    ends the input at once, so that the rest is not tried as two more.
    """
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        start_new_session=True,
    )
    try:
        return _Conversation(process, first, payload, cap).run(time.monotonic() + limit)
    finally:
        _kill(process)


class _Conversation:
    def __init__(self, process: subprocess.Popen[bytes], first: bytes, payload: bytes, cap: int) -> None:
        self.process = process
        self.stdin, self.stdout, self.stderr = (_pipe(end) for end in (process.stdin, process.stdout, process.stderr))
        self.pending, self.payload, self.cap = first, payload, cap
        self.out, self.err = bytearray(), bytearray()
        self.ready = False
        self.selector = selectors.DefaultSelector()

    def run(self, deadline: float) -> End:
        with self.selector, self.stdin, self.stdout, self.stderr:
            for stream in (self.stdin, self.stdout, self.stderr):
                os.set_blocking(stream.fileno(), False)
            self.selector.register(self.stdout, selectors.EVENT_READ)
            self.selector.register(self.stderr, selectors.EVENT_READ)
            if self.pending:
                self.selector.register(self.stdin, selectors.EVENT_WRITE)
            while self._open(self.stdout) or self._open(self.stderr):
                left = deadline - time.monotonic()
                events = self.selector.select(left) if left > 0 else []
                if not events:
                    return self._end(timeout=True)
                for key, _ in events:
                    if key.fileobj is self.stdin:
                        self._send()
                    else:
                        self._receive(self.stdout if key.fileobj is self.stdout else self.stderr)
                if len(self.out) > self.cap:
                    return self._end(overflow=True)
            try:
                self.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                return self._end(timeout=True)
            return self._end()

    def _open(self, stream: IO[bytes]) -> bool:
        return stream in self.selector.get_map()

    def _send(self) -> None:
        try:
            sent = os.write(self.stdin.fileno(), self.pending[:65536])
        except OSError:  # nobody listens any more; how it ended says why
            self._hang_up()
            return
        self.pending = self.pending[sent:]
        if not self.pending:
            self.selector.unregister(self.stdin)
            if self.ready:
                self.stdin.close()

    def _receive(self, stream: IO[bytes]) -> None:
        block = os.read(stream.fileno(), 65536)
        if not block:
            self.selector.unregister(stream)
            return
        if stream is self.stdout:
            self.out += block
            self._greet()
        elif len(self.err) < STDERR_KEPT:
            self.err += block
            if not self.ready and re.search(rb"try again|incorrect password", self.err, re.I):
                self._hang_up()

    def _greet(self) -> None:
        if not self.ready and READY in self.out:
            del self.out[: self.out.index(READY) + len(READY)]
            self.ready = True
            self.pending += self.payload
            if not self.stdin.closed and not self._open(self.stdin):
                self.selector.register(self.stdin, selectors.EVENT_WRITE)

    def _hang_up(self) -> None:
        if not self.stdin.closed:
            if self._open(self.stdin):
                self.selector.unregister(self.stdin)
            self.stdin.close()

    def _end(self, *, timeout: bool = False, overflow: bool = False) -> End:
        status = None if timeout or overflow else self.process.returncode
        stdout = b"" if overflow else bytes(self.out)
        return End(status, stdout, self.err.decode("utf-8", "replace"), self.ready, timeout, overflow)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    if end is None:
        raise ValueError("the process was started without its pipes")
    return end
