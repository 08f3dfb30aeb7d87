"""Files that are written whole or not at all, locks, and trees walked without following anything."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import itertools
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clawkeep_host.command import Refusal

POLL_SECONDS = 0.2

ENTRIES = 1_000_000  # of one tree; each costs some 30 microseconds
DEPTH = 500  # each open folder costs a descriptor, and a service has 1024 unless told otherwise
LINKS = 40  # on one way; as many as the kernel follows
TOLD = 20  # sentences about what was left out of a walk; the rest is counted
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
PIN = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


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


@dataclass(frozen=True)
class Entry:
    """One entry of a walked tree, held fast: it stays what `status` describes, wherever its name leads by now.

    `parent` and `descriptor` are closed as soon as the walk goes on.
    """

    parent: int  # descriptor of the folder that holds it
    name: str  # in that folder; `.` for the root, whose `parent` is the root itself
    path: str  # below the root; `.` for the root
    descriptor: int  # O_PATH: for fstat, and as the start of openat
    status: os.stat_result
    mount: str  # the root's mount

    @property
    def handle(self) -> str:
        """A path to the entry itself, also to a link, for calls that take no O_PATH descriptor."""
        return f"/proc/self/fd/{self.descriptor}"

    @property
    def is_folder(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.status.st_mode)

    @functools.cached_property
    def mounted(self) -> bool:
        """Whether something is mounted here, so that this entry does not lie on the root's mount."""
        return _mount(self.descriptor) != self.mount

    def foreign(self, uid: int) -> str:
        """Why the entry may be more than a part of uid's tree, as the end of a sentence; empty when it is not.

        A device is a way to the machine. A file with a second name may be one of the host's own, unless uid owns it.
        """
        if stat.S_IFMT(self.status.st_mode) in (stat.S_IFBLK, stat.S_IFCHR):
            return "is a device"
        if not self.is_folder and self.status.st_nlink > 1 and self.status.st_uid != uid:
            return f"is a file of uid {self.status.st_uid} that has another name too"
        return "is a mount" if self.mounted else ""

    def give(self, uid: int, gid: int) -> None:
        """Make uid and gid the owners of this very entry; raises Refusal when it is `foreign`, and OSError."""
        self._refuse(uid)
        os.chown(self.handle, uid, gid)

    def limit(self, mode: int, uid: int) -> None:
        """Set the mode of this very entry of uid's tree; raises Refusal when it is `foreign`, and OSError (a link)."""
        self._refuse(uid)
        os.chmod(self.handle, mode)  # noqa: PTH101 - nothing between us and the descriptor

    def _refuse(self, uid: int) -> None:
        reason = self.foreign(uid)
        if reason:
            raise Refusal(f"{self.path} {reason}")


class Walk:
    """The entries of a tree that a hostile account may own and change meanwhile: a folder first, then its content.

    Everything below the root is opened by name in the descriptor of its folder, without following a link, so paths of
    any length are reached and nothing outside is. The root's own path is the caller's to trust. A mount below the root
    is an entry and is not entered. What vanishes before it is looked at is no entry.

    `left_out` has path and reason of what else was not looked at (a bound, an error of the system), as far as TOLD;
    `omitted` counts it. `complete` says, once the walk has ended, that there was nothing of the kind. Iterate once;
    raises OSError when the root is no folder.
    """

    def __init__(
        self, root: str | Path, *, entries: int = ENTRIES, depth: int = DEPTH, enter_mounts: bool = False
    ) -> None:
        """Take the root and the bounds: entries below it, and folders inside each other."""
        self.root = root
        self.entries = entries
        self.depth = depth
        self.enter_mounts = enter_mounts
        self.left_out: list[tuple[str, str]] = []
        self.omitted = 0
        self.complete = False
        self._listed = 0

    def __iter__(self) -> Iterator[Entry]:
        """Walk."""
        top = os.open(self.root, FOLDER)
        stack = [(top, "", iter(["."]))]
        try:
            mount = _mount(top)
            while stack:
                folder, prefix, names = stack[-1]
                name = next(names, None)
                if name is None:
                    stack.pop()
                    os.close(folder)
                    continue
                path = prefix + name
                try:
                    pinned = os.open(name, PIN, dir_fd=folder)
                except OSError as problem:
                    self._leave_out(path, problem)
                    continue
                try:
                    try:
                        entry = Entry(folder, name, path, pinned, os.fstat(pinned), mount)
                    except OSError as problem:
                        self._leave_out(path, problem)
                        continue
                    yield entry
                    content = self._content(entry, len(stack)) if entry.is_folder else None
                finally:
                    os.close(pinned)
                if content is not None:
                    stack.append((content[0], "" if path == "." else f"{path}/", iter(content[1])))
            self.complete = not self.omitted
        finally:
            for folder, _, _ in stack:
                os.close(folder)

    def _content(self, entry: Entry, depth: int) -> tuple[int, list[str]] | None:
        """A folder's descriptor and the names in it; None when it is not entered."""
        if depth > self.depth:
            self._leave_out(entry.path, f"it lies deeper than {self.depth} folders")
            return None
        try:
            if entry.mounted and not self.enter_mounts:
                return None
            folder = os.open(".", FOLDER, dir_fd=entry.descriptor)
        except OSError as problem:
            self._leave_out(entry.path, problem)
            return None
        room = self.entries - self._listed
        try:
            with os.scandir(folder) as listing:  # never read to an end that somebody else decides
                names = [found.name for found in itertools.islice(listing, room + 1)]
        except OSError as problem:
            os.close(folder)
            self._leave_out(entry.path, problem)
            return None
        if len(names) > room:
            self._leave_out(entry.path, f"the tree has more than the {self.entries} entries that are looked at")
            names.pop()
        self._listed += len(names)
        return folder, sorted(names)

    def _leave_out(self, path: str, why: str | OSError) -> None:
        if isinstance(why, FileNotFoundError):
            return
        self.omitted += 1
        if len(self.left_out) < TOLD:
            self.left_out.append((path, (why.strerror or str(why)) if isinstance(why, OSError) else why))


def content(path: str | Path, limit: int) -> bytes:
    """At most `limit` bytes of the regular file at `path`; links are followed, so what leads there is root's own.

    Whatever else lies there (a pipe that nobody writes to, a device that acts when it is opened) is refused unopened.
    Raises OSError.
    """
    pinned = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return _content(pinned, path, limit)
    finally:
        os.close(pinned)


def content_beneath(root: str | Path, path: str, limit: int) -> bytes:
    """The same of what lies at `path` below `root`, found as `pin_beneath` finds it; raises OSError."""
    pinned = pin_beneath(root, path)
    try:
        return _content(pinned, path, limit)
    finally:
        os.close(pinned)


def pin_beneath(root: str | Path, path: str) -> int:
    """An O_PATH descriptor of what lies at `path` for a process whose root is `root`, which the caller trusts.

    Links and `..` stay below the root. A link is followed only where root alone can have put it: as soon as the way
    leads through a folder that somebody else may write to, a link raises OSError (ELOOP), as the last part does.
    """
    way = [(os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), True)]
    parts = [part for part in path.split("/") if part not in ("", ".")]
    links = 0
    try:
        while parts:
            part = parts.pop(0)
            folder, trusted = way[-1]
            if part == "..":
                if len(way) > 1:
                    os.close(way.pop()[0])
                continue
            trusted = trusted and _is_roots_alone(os.fstat(folder))
            pinned = os.open(part, PIN, dir_fd=folder)
            if not stat.S_ISLNK(os.fstat(pinned).st_mode):
                way.append((pinned, trusted))
                continue
            try:
                links += 1
                if not trusted or links > LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = os.readlink("", dir_fd=pinned)
            finally:
                os.close(pinned)
            if target.startswith("/"):
                while len(way) > 1:
                    os.close(way.pop()[0])
            parts = [part for part in target.split("/") if part not in ("", ".")] + parts
        return os.dup(way[-1][0])
    finally:
        for folder, _ in way:
            os.close(folder)


def is_roots_alone(path: str) -> bool:
    """Whether nobody but root can change what is at `path`, a link of root's followed: it, and each folder to it."""
    real = os.path.realpath(path)
    try:
        return all(_is_roots_alone(os.lstat(place)) for place in (real, *map(str, Path(real).parents)))
    except OSError:
        return False


def _is_roots_alone(folder: os.stat_result) -> bool:
    return folder.st_uid == 0 and not stat.S_ISLNK(folder.st_mode) and not folder.st_mode & 0o022


def _content(pinned: int, path: str | Path, limit: int) -> bytes:
    if not stat.S_ISREG(os.fstat(pinned).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    descriptor = os.open(f"/proc/self/fd/{pinned}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)


def _mount(descriptor: int) -> str:
    """The mount that a descriptor was opened on, as the kernel numbers them.

    A device's number would not do: a bind mount has that of what it shows, and a Btrfs subvolume has one of its own.
    """
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:  # noqa: PTH123
        return next((line for line in file if line.startswith("mnt_id:")), "")
