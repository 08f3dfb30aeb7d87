"""Files that are written whole or not at all, locks, and trees walked without following anything."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from clawkeep_host.command import Refusal

POLL_SECONDS = 0.2


def write(path: Path, content: str | bytes, mode: int = 0o600, owner: int | None = None) -> None:
    """Replace a file in one step, durably: a reader sees the old content or the new one, also after a power cut.

    The file is made afresh (never through a link) with `mode` from its first byte and given to `owner` (uid and gid).
    Raises OSError when it cannot be written; then the old file stands and nothing is left beside it.
    """
    data = content.encode() if isinstance(content, str) else content
    fresh = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), owner, owner)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    settle(path.parent)


def make_folder(path: Path, mode: int = 0o700) -> None:
    """Make a folder with `mode`, and what is missing above it with 0755, whatever the umask; one that is there stays.

    Raises OSError when it cannot be made.
    """
    if path.is_dir():
        return
    make_folder(path.parent, 0o755)
    path.mkdir(mode, exist_ok=True)
    path.chmod(mode)


def settle(folder: Path) -> None:
    """Make a folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock(path: Path, what: str, seconds: float | None = None) -> Iterator[None]:
    """Hold a lock file; wait `seconds` for it (None: as long as it takes), then raise Refusal naming `what`.

    The kernel gives it back when the process ends, however it ends.
    """
    limit = None if seconds is None else time.monotonic() + seconds
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if limit is not None else 0))
                break
            except BlockingIOError:
                if limit is not None and time.monotonic() > limit:
                    raise Refusal(f"another {what} is at work") from None
                time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)
