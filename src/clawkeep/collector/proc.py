"""What /proc and the file system say of processes, sockets, users and files. Standard library only."""

from __future__ import annotations

import ipaddress
import os
import re
import struct
from typing import Any, Dict, Iterator, List, Optional, Tuple

from clawkeep_host import files

LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp
UNCONNECTED = "07"  # a UDP socket that is bound and talks to no one in particular
PF_KTHREAD = 0x00200000  # linux/sched.h
MOST_PARENTS = 1000
# Num RefCount Protocol Flags Type St Inode Path, as net/unix/af_unix.c writes them
UNIX_SOCKET = re.compile(r"[0-9a-f]+: [0-9A-F]{8} [0-9A-F]{8} ([0-9A-F]{8}) [0-9A-F]{4} [0-9A-F]{2} +(\d+) (.+)")
ACCEPTING = 0x10000  # __SO_ACCEPTCON
ACL_VERSION = 2
ACL_TAGS = {1: "owner", 2: "user", 4: "group-owner", 8: "group", 16: "mask", 32: "other"}


def read(path: str, limit: int = 262_144) -> Optional[str]:
    """The text of a regular file, at most `limit` bytes of it; None when it cannot be read.

    Links are followed: for places that root alone arranges, /proc among them, though what they lead to may be anything.
    """
    try:
        return files.content(path, limit).decode("utf-8", "replace")
    except OSError:
        return None


def read_inside(pid: int, path: str, limit: int = 262_144) -> Optional[str]:
    """The text of a regular file as the process `pid` sees it, at most `limit` bytes; None when it cannot be read."""
    try:
        return files.content_beneath("/proc/%d/root" % pid, path, limit).decode("utf-8", "replace")
    except OSError:
        return None


def shown(name: str) -> str:
    """A file's name as text that can be written down; bytes that are no UTF-8 as `\\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def pids() -> List[int]:
    """The numbers of all processes at this moment."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def argv(pid: int) -> List[str]:
    """A process's command line."""
    return [word for word in (read("/proc/%d/cmdline" % pid) or "").split("\0") if word]


def executable(pid: int) -> Tuple[str, bool]:
    """The file a process runs, and whether that file was deleted or replaced since it started."""
    try:
        path = os.readlink("/proc/%d/exe" % pid)
    except OSError:
        return "", False
    mark = " (deleted)"
    return (path[: -len(mark)], True) if path.endswith(mark) else (path, False)


def status(pid: int) -> Dict[str, str]:
    """The fields of /proc/PID/status; empty when the process is gone."""
    return fields(read("/proc/%d/status" % pid) or "")


def fields(text: str) -> Dict[str, str]:
    """The fields of a `status` file. The kernel escapes a line's end in a name, but no other character that parts lines
    in Python.
    """
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.split("\n"))}


def cgroup(pid: int) -> str:
    """The path of a process's cgroup (v2)."""
    for line in (read("/proc/%d/cgroup" % pid) or "").split("\n"):
        if line.startswith("0::"):
            return line[3:]
    return ""


def stat(pid: int) -> List[str]:
    """The fields of /proc/PID/stat behind the name, the state first; empty when the process is gone.

    A process chooses its name, which may hold blanks, brackets and line ends: it ends at the last bracket.
    """
    return (read("/proc/%d/stat" % pid) or "").rpartition(")")[2].split()


def namespace(pid: int, kind: str) -> Optional[str]:
    """The namespace of that kind (`pid`, `mnt` ...) in which a process is; None when it has gone."""
    try:
        return os.readlink("/proc/%d/ns/%s" % (pid, kind))
    except OSError:
        return None


def ancestry(pid: int) -> Iterator[int]:
    """A process's parents, nearest first."""
    for _ in range(MOST_PARENTS):
        if pid <= 1:
            return
        found = stat(pid)
        pid = int(found[1]) if len(found) > 1 else 0
        yield pid


def is_kernel_thread(pid: int) -> bool:
    """Whether the kernel says that a process is a thread of its own; no program can say so of itself."""
    found = stat(pid)
    return len(found) > 6 and bool(int(found[6]) & PF_KTHREAD)


def socket_inodes(pid: int) -> List[int]:
    """The inodes of the sockets that a process holds open."""
    folder = "/proc/%d/fd" % pid
    found: List[int] = []
    try:
        names = os.listdir(folder)
    except OSError:
        return found
    for name in names:
        try:
            target = os.readlink(os.path.join(folder, name))
        except OSError:
            continue
        if target.startswith("socket:["):
            found.append(int(target[8:-1]))
    return found


def address(word: str) -> Tuple[str, int]:
    """Address and port of a `0100007F:0947` of /proc/net/tcp; words of four bytes are in the host's order."""
    raw, port = word.split(":")
    packed = b"".join(struct.pack("=I", int(raw[i : i + 8], 16)) for i in range(0, len(raw), 8))
    return str(ipaddress.ip_address(packed)), int(port, 16)


def bound_sockets() -> List[Dict[str, Any]]:
    """Every listening TCP and unconnected UDP socket of the host's own network: proto, address, port, inode."""
    found = []
    for proto in ("tcp", "tcp6", "udp", "udp6"):
        for line in (read("/proc/1/net/" + proto, 4_000_000) or "").split("\n")[1:]:
            words = line.split()
            if len(words) > 9 and words[3] == (LISTEN if proto.startswith("tcp") else UNCONNECTED):
                where, port = address(words[1])
                found.append({"proto": proto, "address": where, "port": port, "inode": int(words[9])})
    return found


def unix_listeners() -> Dict[int, List[str]]:
    """The paths of every listening Unix socket of the host by inode.

    A path may hold line ends, so that one socket's owner can write a second line about another's: both are kept.
    """
    found: Dict[int, List[str]] = {}
    for line in (read("/proc/1/net/unix", 4_000_000) or "").split("\n"):
        row = UNIX_SOCKET.fullmatch(line)
        if row and int(row.group(1), 16) & ACCEPTING:
            found.setdefault(int(row.group(2)), []).append(row.group(3))
    return found


def acl(path: str) -> List[Dict[str, Any]]:
    """The named entries of a file's POSIX access list: whom, which id, which permission bits; usually none."""
    try:
        raw = os.getxattr(path, "system.posix_acl_access")
    except OSError:
        return []
    if struct.unpack_from("<I", raw)[0] != ACL_VERSION:
        return [{"whom": "unknown", "id": -1, "bits": 7}]
    entries = [struct.unpack_from("<HHI", raw, at) for at in range(4, len(raw), 8)]
    return [{"whom": ACL_TAGS[tag], "id": number, "bits": bits} for tag, bits, number in entries if tag in (2, 8)]


def entry(path: str) -> Optional[Dict[str, Any]]:
    """Type, owner, mode, times and access list of what is at `path` (links followed); None when there is nothing."""
    try:
        seen = os.stat(path)
    except OSError:
        return None
    return described(path, seen, acl(path))


def described(path: str, seen: os.stat_result, rules: List[Dict[str, Any]]) -> Dict[str, Any]:
    """The same of what was looked at already."""
    kinds = {0o140000: "socket", 0o100000: "file", 0o040000: "directory"}
    return {
        "path": path,
        "kind": kinds.get(seen.st_mode & 0o170000, "other"),
        "uid": seen.st_uid,
        "gid": seen.st_gid,
        "mode": seen.st_mode & 0o7777,
        "changed": seen.st_mtime,
        "acl": rules,
    }
