"""The files in a container that change who runs them: setuid, setgid, file capabilities. Standard library only.

Searched from the host, as root, through the container's own mounts: no directory is closed to us. Each mount is entered
by a descriptor, found below the container's own root, and `find` goes on from there by descriptors, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Any, Dict, Iterable, List

from clawkeep.collector import proc
from clawkeep.collector.recorder import Recorder
from clawkeep_host import files

SEARCH_SECONDS = 60
WITHOUT = (errno.ENODATA, errno.ENOTSUP, errno.ENOENT)  # no capability, no such thing here, no file any more


def privileged_files(rec: Recorder, pid: int, points: Iterable[str]) -> Dict[str, Any]:
    """{"files": [[path, mode, owner, has capabilities]], "executables": how many were seen, "error": sentence or None}.

    `points` are the container's mount points. What was found stands beside an error: the search did not end.
    """
    seen: Dict[str, List[Any]] = {}
    errors: List[str] = []
    with contextlib.ExitStack() as stack:
        starts: Dict[str, str] = {}
        for point in points:
            try:
                pinned = files.pin_beneath("/proc/%d/root" % pid, point)
            except FileNotFoundError:
                continue  # something else is mounted over it
            except OSError as problem:
                errors.append("%s cannot be entered: %s" % (proc.shown(point), problem.strerror))
                continue
            stack.callback(os.close, pinned)
            status = os.fstat(pinned)
            if stat.S_ISDIR(status.st_mode):
                starts["/proc/%d/fd/%d/." % (os.getpid(), pinned)] = point.rstrip("/")
            elif stat.S_ISREG(status.st_mode) and status.st_mode & 0o6111:
                _add(seen, errors, point, stat.S_IMODE(status.st_mode), status.st_uid, "/proc/self/fd/%d" % pinned)
        if starts:
            errors += _search(rec, starts, seen)
    found = [
        [proc.shown(path), "%o" % mode, owner, capable]
        for path, (mode, owner, capable) in seen.items()
        if capable or mode & 0o6000
    ]
    return {"files": sorted(found), "executables": len(seen), "error": "; ".join(errors[:3]) or None}


def _search(rec: Recorder, starts: Dict[str, str], seen: Dict[str, List[Any]]) -> List[str]:
    """Add every executable below `starts` to `seen`; what went wrong, as sentences without their ends."""
    errors: List[str] = []
    wanted = ("-type", "f", "-perm", "/6111", "-printf", "%m %U %H %P\\0")
    argv = ["find", *starts, "-ignore_readdir_race", "-xdev", *wanted]
    result = rec.run("", argv, timeout=SEARCH_SECONDS, keep=False)
    for line in result.raw.split(b"\0")[:-1]:
        mode, owner, start, name = os.fsdecode(line).split(" ", 3)
        path = "%s/%s" % (starts[start], name)
        if path in seen:
            continue  # mounts of one device are walked twice
        try:
            pinned = files.pin_beneath(start, name)
        except OSError as problem:
            if problem.errno not in WITHOUT:
                errors.append("%s cannot be looked at: %s" % (proc.shown(path), problem.strerror))
            seen[path] = [int(mode, 8), int(owner), False]
            continue
        try:
            _add(seen, errors, path, int(mode, 8), int(owner), "/proc/self/fd/%d" % pinned)
        finally:
            os.close(pinned)
    if result.error is not None:
        errors.append(result.error)
    elif result.status != 0:
        errors.append("find ended with status %s" % result.status)
    return errors


def _add(seen: Dict[str, List[Any]], errors: List[str], path: str, mode: int, owner: int, handle: str) -> None:
    capable = False
    try:
        capable = bool(os.getxattr(handle, "security.capability"))
    except OSError as problem:
        if problem.errno not in WITHOUT:
            errors.append("%s cannot be looked at: %s" % (proc.shown(path), problem.strerror))
    seen[path] = [mode, owner, capable]
