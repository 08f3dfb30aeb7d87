"""The flag that keeps the agent stopped from a kill to its release, and remembers what the release gives back.

It lies on disk, where it holds over a reboot, and on a tmpfs, where it holds until then while the disk is full,
read-only or broken. Units that would start the agent have a `ConditionPathExists=!` for each of the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clawkeep_host import files

ON_DISK = Path("/var/lib/clawkeep/kill/active")
ON_TMPFS = Path("/run/clawkeep/kill/active")
FLAGS = (ON_DISK, ON_TMPFS)


@dataclass
class Memory:
    """What a kill found and took: the flag's content, as JSON with these keys."""

    since: str = ""  # ISO 8601; empty when no flag says it
    bridges: list[str] = field(default_factory=list)
    restart: dict[str, dict[str, Any]] = field(default_factory=dict)  # a container's id to its former restart policy
    units: list[str] = field(default_factory=list)

    def joined(self, other: Memory) -> Memory:
        """What either remembers; of the time and of a container's policy, what this one does."""
        return Memory(
            self.since or other.since,
            sorted({*self.bridges, *other.bridges}),
            {**other.restart, **self.restart},
            sorted({*self.units, *other.units}),
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is remembered, as by a flag that was made by hand."""
        return self == Memory()


def is_set(flags: Iterable[Path] = FLAGS) -> bool:
    """Whether the agent is stopped; a flag that cannot be looked at counts as one."""
    return any(map(_is_there, flags))


def _is_there(flag: Path) -> bool:
    try:
        flag.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def read(flag: Path) -> Memory:
    """What a flag remembers: nothing when it is not there or illegible, and of an odd one what is legible."""
    try:
        found = json.loads(flag.read_bytes())
    except (OSError, ValueError):
        return Memory()
    if not isinstance(found, dict):
        return Memory()
    since, restart = found.get("since"), found.get("restart")
    return Memory(
        since if isinstance(since, str) else "",
        _words(found.get("bridges")),
        {k: v for k, v in restart.items() if isinstance(v, dict)} if isinstance(restart, dict) else {},
        _words(found.get("units")),
    )


def _words(value: object) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def write(flag: Path, memory: Memory) -> None:
    """Set the flag, durably; raises OSError when that cannot be done."""
    files.make_folder(flag.parent)
    files.write(flag, json.dumps(asdict(memory), indent=2))


def remove(flag: Path) -> None:
    """Take the flag away, durably; raises OSError when it stays."""
    flag.unlink(missing_ok=True)
    if flag.parent.is_dir():
        files.settle(flag.parent)
