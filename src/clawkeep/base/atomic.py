"""Files that a reader sees as they were or as they are, never half written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TextIO


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the file at `path` by `data` in one step, and have it on the disk; raises OSError."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)  # noqa: PTH105 - the name is not ours to wrap
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - as above
        raise


def lock(path: Path) -> TextIO:
    """The file at `path`, to be locked; made for its owner alone, since whoever can open it can hold the lock."""
    return open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600))
