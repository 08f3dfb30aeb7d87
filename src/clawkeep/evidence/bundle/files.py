"""The files of a bundle: a closed world of plain files, read with a limit and never through a symbolic link."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

from clawkeep.base.errors import ClawkeepError

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
HOSTS = "hosts"
SOURCES = "sources"
CAP = 64 * 1024 * 1024  # bytes of one file
SHOWN = 20  # foreign files that are named


class Tampered(ClawkeepError):
    """A bundle is not as it was recorded; the sentence names the file or the host."""


def read(path: Path, cap: int = CAP) -> bytes:
    """The bytes of one file of a bundle, at most `cap`.

    Raises Tampered when it is missing, no plain file or larger, and ClawkeepError when it may not be read.
    """
    try:
        # NONBLOCK: a named pipe in its place must not hold the run.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise Tampered(f"{path} is a symbolic link: a bundle holds plain files alone") from None
        if problem.errno in {errno.ENOENT, errno.ENOTDIR}:
            raise Tampered(f"{path} is missing: the bundle is incomplete") from None
        raise ClawkeepError(f"{path} cannot be read: {problem.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Tampered(f"{path} is no plain file")
        data = file.read(cap + 1)
    if len(data) > cap:
        raise Tampered(f"{path} is larger than {_shown(cap)}: nothing that Clawkeep writes there is")
    return data


def decode(path: Path, data: bytes) -> Any:
    """The JSON value in `data`; raises Tampered naming `path`, which it was read from."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise Tampered(f"{path} is not JSON: {problem}") from None


def encode(value: object, cap: int = CAP) -> bytes:
    """`value` as a bundle keeps it: JSON, one element a line, so that a diff shows what changed.

    Raises ValueError when that is more than `cap` bytes (deep nesting can make little data a large file).
    """
    parts, size = [], 1
    for part in json.JSONEncoder(indent=1, sort_keys=True).iterencode(value):
        parts.append(part)
        size += len(part)  # ASCII: a character is a byte
        if size > cap:
            raise ValueError(f"it is larger than {_shown(cap)}")
    return ("".join(parts) + "\n").encode("ascii")


def write(path: Path, data: bytes) -> None:
    """Write a new file that its owner alone may read."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(data)


def present(path: Path) -> bool:
    """Whether anything of this name is there, be it a dangling link; raises ClawkeepError when that cannot be told."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as problem:
        raise ClawkeepError(f"{path} cannot be read: {problem.strerror}") from None
    return True


def foreign(folder: Path, known: Collection[str], sources: Collection[str] = ()) -> list[str]:
    """A sentence for everything in the bundle that is neither its own nor one of the host files `known`, nor of the
    `sources` of a merged one.
    """
    found = []
    inner = {HOSTS: known, **({SOURCES: sources} if sources else {})}
    for path in _children(folder):
        if path.name in inner and path.is_dir() and not path.is_symlink():
            found += [child for child in _children(path) if child.name not in inner[path.name]]
        elif path.name not in {MANIFEST, SIGNATURE}:
            found.append(path)
    said = [f"{path} {_is(path)}" for path in found[:SHOWN]]
    return [*said, f"{len(found) - SHOWN} more are no part of the bundle"] if len(found) > SHOWN else said


def _shown(size: int) -> str:
    return f"{size // 1024 // 1024} MB" if size >= 1024 * 1024 else f"{size // 1024} kB"


def _is(path: Path) -> str:
    if path.is_symlink():
        return "is a symbolic link: a bundle holds plain files alone"
    return "is no part of the bundle: it was added"


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as problem:
        raise ClawkeepError(f"{folder} cannot be read: {problem.strerror}") from None
