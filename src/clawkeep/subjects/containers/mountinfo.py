"""The kernel's own table of mounts, and which path of the host lies behind a container's mount."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from clawkeep.base.verdict import Unmeasured

DELETED = "//deleted"


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo(5). `root` is the path within the file system `device`; `peers` are propagation tags."""

    point: str
    root: str
    device: str
    filesystem: str
    source: str
    options: frozenset[str]
    peers: tuple[str, ...]
    features: frozenset[str]

    @property
    def flags(self) -> frozenset[str]:
        """The options of this mount and of its file system together."""
        return self.options | self.features


def parse(lines: Sequence[str]) -> tuple[Mount, ...]:
    """The mounts in the lines of a mountinfo file; raises Unmeasured on a line of another form."""
    return tuple(_line(line) for line in lines)


def _line(line: str) -> Mount:
    head, dash, tail = line.partition(" - ")
    fields, rest = head.split(" "), tail.split(" ")
    if not dash or len(fields) < 6 or len(rest) < 3:
        raise Unmeasured(f"a line of mountinfo has an unknown form: {line[:80]!r}")
    return Mount(
        point=unescape(fields[4]),
        root=unescape(fields[3]).removesuffix(DELETED),
        device=fields[2],
        filesystem=rest[0],
        source=unescape(rest[1]),
        options=frozenset(fields[5].split(",")),
        peers=tuple(fields[6:]),
        features=frozenset(rest[2].split(",")),
    )


def unescape(text: str) -> str:
    """Text with the kernel's octal escapes (space, tab, newline, backslash) undone."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), text)


def host_paths(mount: Mount, host: Iterable[Mount]) -> list[str]:
    """Every path of the host at which the content of `mount` is seen; empty when it is the container's alone.

    The host's mounts of the same device whose root lies at or above the container's tell the path; this is what the
    kernel did, whatever links, volumes or drivers led to it.
    """
    wanted = PurePosixPath(mount.root)
    found = []
    for other in host:
        if other.device == mount.device and wanted.is_relative_to(other.root):
            found.append(str(PurePosixPath(other.point) / wanted.relative_to(other.root)))
    return found
