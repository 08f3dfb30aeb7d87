"""Do work that may hang, crash or grow in a process of its own, so that it costs no more than its own time."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

Task = TypeVar("Task")
CHUNK = 1 << 18  # bytes


class Lost(Exception):
    """A task did not come back; the words say why, as a sentence without its end."""


def each(tasks: Sequence[Task], work: Callable[[Task], Any], seconds: float, memory: int) -> Iterator[tuple[Task, Any]]:
    """Each task in turn with what `work` returns for it, a JSON value; Lost in its place when it does not return.

    A task has `seconds`, and its process `memory` bytes. A process that takes longer is killed, and the next one goes
    on behind the task that it hung at. What `work` raises is Lost, too.
    """
    done = 0
    while done < len(tasks):
        for result in _process(tasks[done:], work, seconds, memory):
            yield tasks[done], result
            done += 1


def _process(tasks: Sequence[Task], work: Callable[[Task], Any], seconds: float, memory: int) -> Iterator[Any]:
    """The results of tasks until all are done or one is Lost."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        _be_the_child(tasks, work, memory, sink)
    os.close(sink)
    ended = False
    try:
        rest = bytearray()
        for _ in tasks:
            line = _line(source, rest, time.monotonic() + seconds)
            if line is None:
                os.kill(child, signal.SIGKILL)
                yield Lost(f"it did not end within {seconds:g} s")
                return
            if not line:
                ended = True
                yield Lost(_why(os.waitpid(child, 0)[1]))
                return
            said = json.loads(line)
            yield Lost(said["lost"]) if "lost" in said else said["result"]
    finally:
        os.close(source)
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _be_the_child(tasks: Sequence[Task], work: Callable[[Task], Any], memory: int, sink: int) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for task in tasks:
            try:
                line = json.dumps({"result": work(task)})
            except Exception as problem:  # whatever it is, it is this task's alone
                line = json.dumps({"lost": f"{type(problem).__name__}: {problem}"[:300]})
            data = line.encode("ascii") + b"\n"
            while data:
                data = data[os.write(sink, data) :]
    finally:
        os._exit(0)


def _line(source: int, rest: bytearray, deadline: float) -> bytes | None:
    """The next line; b"" when there is none any more, None when it does not come in time."""
    while b"\n" not in rest:
        if not select.select([source], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        chunk = os.read(source, CHUNK)
        if not chunk:
            return b""
        rest += chunk
    line, _, behind = bytes(rest).partition(b"\n")
    rest[:] = behind
    return line


def _why(status: int) -> str:
    number = status & 0x7F
    return f"its process was ended by signal {number}" if number else "its process ended without a word"
