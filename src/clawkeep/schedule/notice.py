"""What people are told: one subject line, a text of a screen at most, and the same as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from clawkeep.base.printable import clean

SUBJECT = 160  # characters
LINES = 40  # of the text


class Level(IntEnum):
    """How bad it is, as syslog counts."""

    ERROR = 3
    WARNING = 4
    INFO = 6


@dataclass(frozen=True)
class Notice:
    """One message. Every line is clean of what a terminal, a mail header or a log would misread."""

    level: Level
    subject: str
    lines: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, level: Level, subject: str, lines: list[str], data: Mapping[str, Any] | None = None) -> Notice:
        """A notice of untrusted texts: cleaned, and cut with a word on how much was left out."""
        shown = [clean(line) for line in lines[:LINES]]
        if len(lines) > LINES:
            shown.append(f"... and {len(lines) - LINES} more")
        return cls(level, clean(subject, SUBJECT), tuple(shown), data or {})

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines) + "\n"
