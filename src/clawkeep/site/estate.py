"""Why each host has its tier: `inventories/<site>/estate.yml`, one entry a host, kept and reviewed by people.

schema: 1
estate:
  - host: claw-anna
    tier: tier1_personal
    reason: Anna's own assistant, on the host itself
    data: [public, own]
    credentials: test
    reviewed: 2026-11-16
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from clawkeep.base.errors import ClawkeepError, NotInOrder
from clawkeep.site.dated_entries import Day, Located, Text, read

FILE = "estate.yml"

Class = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Entry(Located):
    """One host: the tier that the reason is for, the classes of data that its agent meets, the kind of credentials it
    holds, and the day on which somebody last looked whether all of this is still so."""

    host: Text
    tier: Text
    reason: Text
    data: Annotated[tuple[Class, ...], Field(min_length=1)]
    credentials: Literal["none", "test", "scoped", "live"]
    reviewed: Day

    def told(self) -> dict[str, Any]:
        """As evidence tells it."""
        return self.model_dump(mode="json")


def load(path: Path) -> Mapping[str, Entry]:
    """The entries of a file by host; none when there is no file. Raises ClawkeepError when it cannot be used."""
    if not path.exists() and not path.is_symlink():
        return {}
    try:
        entries = read(path, "estate", Entry)
    except NotInOrder as problem:
        raise ClawkeepError(str(problem)) from None
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.host in found:
            raise ClawkeepError(f"{entry.where}: the host {entry.host} stands in {found[entry.host].where} already")
        found[entry.host] = entry
    return found
