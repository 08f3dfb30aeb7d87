"""What /proc and the file system say of processes, sockets, users and files. Standard library only."""

from __future__ import annotations

import ipaddress
import os
import re
import struct
from typing import Any, Dict, Iterator, List, Optional, Tuple

LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp
UNCONNECTED = "07"  # a UDP socket that is bound and talks to no one in particular
ACL_VERSION = 2
ACL_TAGS = {1: "owner", 2: "user", 4: "group-owner", 8: "group", 16: "mask", 32: "other"}


def read(path: str, limit: int = 262_144) -> Optional[str]:
    """The text of a file, at most `limit` bytes of it; None when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return None


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
    lines = (read("/proc/%d/status" % pid) or "").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def cgroup(pid: int) -> str:
    """The path of a process's cgroup (v2)."""
    for line in (read("/proc/%d/cgroup" % pid) or "").splitlines():
        if line.startswith("0::"):
            return line[3:]
    return ""


def namespace(pid: int, kind: str) -> Optional[str]:
    """The namespace of that kind (`pid`, `mnt` ...) in which a process is; None when it has gone."""
    try:
        return os.readlink("/proc/%d/ns/%s" % (pid, kind))
    except OSError:
        return None


def ancestry(pid: int) -> Iterator[int]:
    """A process's parents, nearest first."""
    while pid > 1:
        parent = re.search(r"\) \S (\d+)", read("/proc/%d/stat" % pid) or "")
        pid = int(parent.group(1)) if parent else 0
        yield pid


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
        for line in (read("/proc/1/net/" + proto, 4_000_000) or "").splitlines()[1:]:
            words = line.split()
            if words[3] == (LISTEN if proto.startswith("tcp") else UNCONNECTED):
                where, port = address(words[1])
                found.append({"proto": proto, "address": where, "port": port, "inode": int(words[9])})
    return found


def unix_listeners() -> Dict[int, str]:
    """The path of every listening Unix socket of the host by inode."""
    found = {}
    for line in (read("/proc/1/net/unix", 4_000_000) or "").splitlines()[1:]:
        words = line.split(None, 7)
        accepting = int(words[3], 16) & 0x10000  # __SO_ACCEPTCON
        if accepting and len(words) == 8:
            found[int(words[6])] = words[7]
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
    kinds = {0o140000: "socket", 0o100000: "file", 0o040000: "directory"}
    return {
        "path": path,
        "kind": kinds.get(seen.st_mode & 0o170000, "other"),
        "uid": seen.st_uid,
        "gid": seen.st_gid,
        "mode": seen.st_mode & 0o7777,
        "changed": seen.st_mtime,
        "acl": acl(path),
    }
