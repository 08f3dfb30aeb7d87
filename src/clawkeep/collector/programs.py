"""Clawkeep's own programs as they are installed: the archive, the wrappers that start it, and the folders of both."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import stat
from typing import Any, Dict, Optional

from clawkeep.collector import proc
from clawkeep.collector.recorder import Recorder

KEY = "host-programs"
ARCHIVE = "/usr/local/lib/clawkeep/clawkeep_host.zip"
WRAPPERS = "/usr/local/sbin/clawkeep-*"
LIMIT = 16 << 20  # bytes of one file; the archive has some hundred kilobytes
END_OF_ARCHIVE = b"PK\x05\x06"  # with 18 bytes more before the archive's comment
VERSION = re.compile(r"[0-9A-Za-z.+-]{1,64}")
NAMED = re.compile(rb"# \S{1,64} of Clawkeep ([0-9A-Za-z.+-]{1,64}): ")


def collect(rec: Recorder) -> None:
    """Record owner, mode, digest and the version that each file claims; nothing is run."""
    wrappers = [seen for seen in map(_wrapper, sorted(glob.glob(WRAPPERS))) if seen is not None]
    folders = [seen for seen in map(_place, (os.path.dirname(ARCHIVE), os.path.dirname(WRAPPERS))) if seen is not None]
    rec.note(KEY, {"wrappers": wrappers, "archive": _archive(ARCHIVE), "folders": folders})


def _wrapper(path: str) -> Optional[Dict[str, Any]]:
    content = _content(path)
    found = _place(path)
    if found is None:
        return None
    named = NAMED.search(content[:400]) if content is not None else None
    return dict(found, sha256=_digest(content), version=named.group(1).decode("ascii") if named else None)


def _archive(path: str) -> Optional[Dict[str, Any]]:
    content = _content(path)
    found = _place(path)
    if found is None:
        return None
    comment = content.rpartition(END_OF_ARCHIVE)[2][18:].decode("utf-8", "replace") if content is not None else ""
    return dict(found, sha256=_digest(content), version=comment if VERSION.fullmatch(comment) else None)


def _place(path: str) -> Optional[Dict[str, Any]]:
    """Kind, owner, mode and access list of what is at `path` itself, a link included; None when there is nothing."""
    try:
        seen = os.lstat(path)
    except OSError:
        return None
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    return {
        "path": path,
        "kind": kinds.get(stat.S_IFMT(seen.st_mode), "other"),
        "uid": seen.st_uid,
        "gid": seen.st_gid,
        "mode": stat.S_IMODE(seen.st_mode),
        "acl": proc.acl(path),
    }


def _content(path: str) -> Optional[bytes]:
    """The content of a regular file of at most LIMIT bytes; None for anything else. Never waits and follows no link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        try:
            content = file.read(LIMIT + 1)
        except OSError:
            return None
    return content if len(content) <= LIMIT else None


def _digest(content: Optional[bytes]) -> Optional[str]:
    return hashlib.sha256(content).hexdigest() if content is not None else None
