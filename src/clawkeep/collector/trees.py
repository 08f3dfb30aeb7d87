"""What lies in the agent's state on this host, and what others than the agent get of it. Standard library only.

Whoever owns a tree may fill and change it while it is looked at. It is walked by descriptors, without following a link
and within bounds, and nothing in it is opened.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
import struct
import time
from typing import Any, Dict, List, Tuple

from clawkeep.collector import others, proc
from clawkeep.collector.recorder import Recorder
from clawkeep_host import files

TREE_ENTRIES = 50_000  # a larger state tree is recorded as not read to its end
TREE_SECONDS = 20.0
READS = 40  # files per tree that are tried as another uid, the likely secrets first
LONGEST = 4000  # bytes of a path that can be given to open(2) as it is
SECRET_FILE = re.compile(r"\.sqlite|\.env$|\.json5?$|\.key$|\.pem$|credential|auth|token", re.I)
ACL_TAGS = {0x01: "user", 0x02: "user", 0x04: "group", 0x08: "group", 0x10: "mask", 0x20: "other"}
KINDS = {stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFLNK: "l", stat.S_IFSOCK: "s", stat.S_IFIFO: "p"}


def acl(entry: files.Entry) -> List[str]:
    """The entries of the access and default ACL of an entry as getfacl spells them; empty when modes say it all."""
    entries = []
    for name, prefix in (("system.posix_acl_access", ""), ("system.posix_acl_default", "default:")):
        try:
            raw = os.getxattr(entry.handle, name)
        except OSError:
            continue
        for tag, permissions, identity in struct.iter_unpack("<HHI", raw[4 : 4 + (len(raw) - 4) // 8 * 8]):
            who = str(identity) if tag in (0x02, 0x08) else ""
            bits = "".join(letter if permissions & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
            entries.append("%s%s:%s:%s" % (prefix, ACL_TAGS.get(tag, str(tag)), who, bits))
    return entries


def describe(entry: files.Entry) -> Dict[str, Any]:
    """One entry of a tree: path, kind, mode, uid and gid; of a link its target; an ACL and several names, if any."""
    status = entry.status
    found: Dict[str, Any] = {
        "path": proc.shown(entry.path),
        "kind": KINDS.get(stat.S_IFMT(status.st_mode), "?"),
        "mode": "%04o" % stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
    if entry.is_link:
        found["target"] = proc.shown(os.readlink("", dir_fd=entry.descriptor))
    else:
        rules = acl(entry)
        if rules:
            found["acl"] = rules
    if found["kind"] == "f" and status.st_nlink > 1:
        found["links"] = status.st_nlink
    return found


def is_open(entry: Dict[str, Any], owner: int) -> bool:
    """Whether an entry is anything but a plain file or directory that its owner alone may use."""
    return (
        entry["kind"] not in ("d", "f")
        or int(entry["mode"], 8) & 0o7077 != 0
        or "acl" in entry
        or "links" in entry
        or entry["uid"] != owner
    )


def tree(root: str, everything: bool) -> Dict[str, Any]:
    """The tree at `root`, walked without following links or entering what is mounted in it.

    `entries` holds the root (as `.`) and `everything`, or, so that a large workspace stays small here, the entries that
    are open in the sense of `is_open`; `counted` says how many were looked at, `files` names some to try to read. Of a
    root that is no directory it is all that is told; there are no entries without a root.
    """
    end = time.monotonic() + TREE_SECONDS
    result: Dict[str, Any] = {"root": root, "entries": [], "files": [], "counted": -1, "complete": False}
    likely: List[Tuple[bool, str]] = []
    walk = files.Walk(root, entries=TREE_ENTRIES)
    try:
        for found in walk:
            if time.monotonic() > end:
                break
            result["counted"] += 1
            entry = describe(found)
            if found.path == "." or everything or is_open(entry, result["entries"][0]["uid"]):
                result["entries"].append(entry)
            if entry["kind"] == "f" and len(os.fsencode(found.path)) < LONGEST and entry["path"] == found.path:
                likely.append((not SECRET_FILE.search(found.name), found.path))
        else:
            result["complete"] = walk.complete
    except (NotADirectoryError, FileNotFoundError):
        result["entries"] = _alone(root)
        result["complete"] = bool(result["entries"])
    except OSError:  # it cannot be opened, which is not complete
        result["entries"] = _alone(root)
    result["counted"] = max(0, result["counted"])
    result["files"] = [path for _, path in sorted(likely)[:READS]]
    return result


def _alone(root: str) -> List[Dict[str, Any]]:
    """The entry of a root in which there is nothing to walk; nothing when there is no root either."""
    try:
        pinned = os.open(root, files.PIN)
    except OSError:
        return []
    try:
        return [describe(files.Entry(pinned, ".", ".", pinned, os.fstat(pinned), ""))]
    finally:
        os.close(pinned)


def reads(rec: Recorder, trees: List[Dict[str, Any]], service: int) -> List[Dict[str, Any]]:
    """What the service uid and a stranger get when they open the files of each tree."""
    try:
        stranger = pwd.getpwnam("nobody").pw_uid
    except KeyError:
        stranger = 65534
    requests = [
        {"do": "read", "tree": one["root"], "path": path, "uid": uid}
        for one in trees
        for path in [".", *one["files"]]
        for uid in (service, stranger)
    ]
    answers = others.ask(rec, requests)
    return [
        {
            "tree": request["tree"],
            "path": request["path"],
            "as": "service" if request["uid"] == service else "stranger",
            "got": answers[number],
        }
        for number, request in enumerate(requests)
    ]
