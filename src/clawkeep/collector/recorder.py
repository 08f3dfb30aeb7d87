"""Run commands on the managed host with limits, redact, and keep what they printed. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from clawkeep_host.environment import text_without_values, without_values
from clawkeep_host.redaction import REDACTED, redact, redact_text

__all__ = ["REDACTED", "Recorder", "Result", "redact", "redact_text"]

OUTPUT_LIMIT = 4_000_000  # bytes kept of one command; `nft` and `docker inspect` of a busy host stay far below
STDERR_LIMIT = 600


def evidence(value: Any) -> Any:
    """A JSON value as it may leave the host: without secrets, and without what environments hold."""
    return without_values(redact(value))


def short(text: str, limit: int) -> str:
    """The beginning of a text, without secrets; they are taken out first, for half of one looks like nothing."""
    return redact_text(text)[:limit]


def lines(text: str) -> List[str]:
    """The lines of a host's text; only a line feed ends one (a carriage return before it goes with it).

    `str.splitlines` ends lines at form feeds, U+2028 and others too, and whoever may choose a name in that text would
    write lines of his own.
    """
    found = text.split("\n")
    if not found[-1]:
        found.pop()
    return [line[:-1] if line.endswith("\r") else line for line in found]


class Result:
    """What a command gave: `status` None when it did not end by itself; `text` is redacted and bounded.

    `raw` is bounded alone, for whoever looks for something by the name that it really has; it is not to be kept.
    """

    def __init__(self, status: Optional[int], text: str, error: Optional[str], raw: bytes = b"") -> None:
        """Keep the four; `error` is a sentence or None."""
        self.status = status
        self.text = text
        self.error = error
        self.raw = raw

    @property
    def ok(self) -> bool:
        """Whether it ran to its end with status 0."""
        return self.error is None and self.status == 0


class Recorder:
    """The document in the making; safe to use from several threads."""

    def __init__(self, parameters: Optional[Dict[str, Any]] = None) -> None:
        """Begin an empty document; `parameters` are the controller's wishes (site endpoints, names)."""
        self.parameters = parameters or {}
        self.commands: Dict[str, Any] = {}
        self.facts: Dict[str, Any] = {}
        self.problems: Dict[str, str] = {}
        self._lock = threading.Lock()

    def note(self, key: str, value: Any) -> None:
        """Keep a JSON value gathered by Python code under `key`, redacted."""
        with self._lock:
            self.facts[key] = evidence(value)

    def problem(self, part: str, sentence: str) -> None:
        """Say why a part of the collection broke off."""
        with self._lock:
            self.problems[part] = redact_text(sentence)

    def run(
        self,
        key: str,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        stdin: Optional[str] = None,
        parse: str = "lines",
        keep: bool = True,
    ) -> Result:
        """Run `argv` (no shell), record it under `key`, and return its result.

        `parse` is `lines` or `json`; `keep=False` runs without recording. A command that is missing, hangs for longer
        than `timeout` seconds or prints more than OUTPUT_LIMIT bytes is recorded as such, never raised.
        """
        began = time.monotonic()
        record: Dict[str, Any] = {"argv": list(argv), "status": None}
        status, raw, said, error, truncated = _bounded(argv, timeout, stdin)
        out, err = raw.decode("utf-8", "replace"), said.decode("utf-8", "replace")
        record.update(status=status, seconds=round(time.monotonic() - began, 2), truncated=truncated)
        if err.strip():
            record["stderr"] = redact_text(err)[:STDERR_LIMIT]
        if error:
            record["error"] = error
        text = text_without_values(redact_text(out))
        if parse == "json" and not error and not truncated:
            try:
                record["json"] = evidence(json.loads(out)) if out.strip() else None
            except ValueError as problem:
                record["error"] = error = "printed something that is not JSON: %s" % problem
        elif not truncated:
            record["lines"] = lines(text)
        if keep:
            with self._lock:
                self.commands[key] = record
        return Result(status, text, error, raw)

    def measure(self, key: str, argv: Sequence[str], action: Callable[[], Any]) -> Any:
        """Record under `key` the JSON value that `action` returns; None, and why, when it raises OSError or ValueError.

        `argv` is how a person would ask the same.
        """
        began = time.monotonic()
        record: Dict[str, Any] = {"argv": list(argv), "status": None, "truncated": False}
        value = None
        try:
            value = action()
            record.update(status=0, json=evidence(value))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            record["error"] = redact_text("%s" % problem)[:STDERR_LIMIT]
        record["seconds"] = round(time.monotonic() - began, 2)
        with self._lock:
            self.commands[key] = record
        return value

    def json(self, key: str, argv: Sequence[str], **options: Any) -> Any:
        """Run `argv`, record its JSON under `key` and return that value (None when it gave none)."""
        self.run(key, argv, parse="json", **options)
        with self._lock:
            return self.commands[key].get("json")


def _bounded(
    argv: Sequence[str], timeout: float, stdin: Optional[str]
) -> "tuple[Optional[int], bytes, bytes, Optional[str], bool]":
    environment = dict(
        os.environ,
        LC_ALL="C.UTF-8",
        LANG="C.UTF-8",
        PATH="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin",
    )
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as problem:
        return None, b"", b"", "%s cannot be run here: %s" % (argv[0], problem.strerror), False
    chunks: Dict[str, List[bytes]] = {"out": [], "err": []}
    sizes = {"out": 0, "err": 0}
    over = threading.Event()

    def drain(name: str, stream: Any, limit: int) -> None:
        for block in iter(lambda: stream.read1(65536), b""):
            sizes[name] += len(block)
            if sizes[name] <= limit:
                chunks[name].append(block)
            elif name == "out":
                over.set()
                _kill(process)
                return

    readers = [
        threading.Thread(target=drain, args=("out", process.stdout, OUTPUT_LIMIT), daemon=True),
        threading.Thread(target=drain, args=("err", process.stderr, 65536), daemon=True),
    ]
    for reader in readers:
        reader.start()
    if stdin is not None:
        # Beside the waiting: whoever does not read what it is given does not keep us past its time.
        threading.Thread(target=_feed, args=(process, stdin.encode()), daemon=True).start()
    error = None
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        error = "it did not end within %g s" % timeout
        _kill(process)
        process.wait()
    for reader in readers:
        reader.join(2)
    out, err = b"".join(chunks["out"]), b"".join(chunks["err"])
    return (None if error or over.is_set() else process.returncode), out, err, error, over.is_set()


def _feed(process: "subprocess.Popen[bytes]", given: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):
        if process.stdin is not None:
            process.stdin.write(given)
            process.stdin.close()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
