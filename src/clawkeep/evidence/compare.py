"""How the evidence of two hosts differs, apart from what no two hosts have in common.

Evidence is taken apart into statements: a value with the keys that lead to it, or one line of what a command printed.
Numbers, times, digests, random names and addresses are masked, and the order of lists, lines and words is let go. What
is left is how a host is set up: one that was raised to a tier should say of itself what one does that was built so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_MASKS = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?", "TIME"),
        (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b", "DAY"),
        (r"\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b", "MONTH"),
        (r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC"),
        (r"\b[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){3,7}\b", "IPV6"),
        (r"\bveth[0-9a-f]{7}\b", "VETH"),
        (r"(?=[\w+/-]*\d)(?=[\w+/-]*[a-z])(?=[\w+/-]*[A-Z])[\w+/-]{20,}={0,2}", "RANDOM"),
        (r"[A-Za-z0-9+/]{40,}={0,2}", "RANDOM"),
        (r"\b(?=[a-z]*\d)(?=\d*[a-z])[0-9a-z]{12,}\b", "RANDOM"),
        (r"\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{3,}\b", "HEX"),
        (r"-?\d+", "N"),
    )
)
_OWN = ("identity", "controller")  # of whoever measured: its names and times say nothing of the host


@dataclass(frozen=True, order=True)
class Statement:
    """One masked value or line, and where in the evidence it stands, such as `inside/commands/sshd-T/lines`."""

    place: str
    text: str


def statements(raw: Mapping[str, Any]) -> frozenset[Statement]:
    """What one host's evidence says, masked; its own name, too."""
    name = re.compile(rf"\b{re.escape(str(raw['host']))}\b") if raw.get("host") else None
    return frozenset(_statements(raw, (), name))


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[list[Statement], list[Statement]]:
    """What only the first host's evidence says, and what only the second's does, in the order of their places."""
    one, other = statements(first), statements(second)
    return sorted(one - other), sorted(other - one)


def masked(text: str, name: re.Pattern[str] | None = None) -> str:
    """`text` without what differs from host to host and from run to run, its words in alphabetical order."""
    if name is not None:
        text = name.sub("HOST", text)
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return " ".join(sorted(re.findall(r"[^\s,=]+=?", text)))


def _statements(value: Any, way: tuple[str, ...], name: re.Pattern[str] | None) -> Iterator[Statement]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            if key not in _OWN:
                yield from _statements(one, (*way, masked(key, name)), name)
    elif isinstance(value, list):
        for one in value:
            yield from _statements(one, way, name)
    elif isinstance(value, str):
        inner = _json(value)
        if inner is not None:
            yield from _statements(inner, way, name)
        else:
            yield from (Statement("/".join(way), masked(line, name)) for line in value.splitlines())
    else:
        yield Statement("/".join(way), masked(json.dumps(value)))


def _json(text: str) -> Any:
    """What a text that is a JSON object or array holds; None for any other text."""
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
