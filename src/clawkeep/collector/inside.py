"""What the probe inside a container printed: its rows, and whether each of them is its own. Standard library only."""

from __future__ import annotations

import urllib.parse
from typing import List, Tuple

Row = List[str]
MOST_COMPLAINTS = 5


def rows(text: str) -> List[Row]:
    """Rows of tab-separated, percent-escaped fields, one a line, unescaped."""
    return [[urllib.parse.unquote(field) for field in line.split("\t")] for line in text.split("\n") if line]


def authentic(text: str, token: str) -> Tuple[List[Row], List[str]]:
    """The rows that have the run's `token` and, behind it, the number that is due; and a sentence for each other line.

    The token was given to the probe alone. A last line without its end was cut off, and is no row.
    """
    found: List[Row] = []
    foreign: List[str] = []
    for row in rows(text[: text.rfind("\n") + 1]):
        if row[:2] == [token, str(len(found) + 1)] and len(row) > 2:
            found.append(row[2:])
        else:
            foreign.append("what it printed holds a line that is not its own, behind row %d" % len(found))
    return found, foreign[:MOST_COMPLAINTS]
