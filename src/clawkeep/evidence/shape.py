"""Reading JSON that nobody vouches for: the value in the shape that was expected, or `Unmeasured` in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clawkeep.verdict import Unmeasured


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """`value` when it is a JSON object; `what` names it in the sentence otherwise."""
    if not isinstance(value, Mapping):
        raise Unmeasured(f"{what} is {_shown(value)}, not a mapping")
    return value


def rows(value: object, what: str) -> list[Mapping[str, Any]]:
    """`value` when it is a JSON list of objects."""
    if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
        raise Unmeasured(f"{what} is {_shown(value)}, not a list of mappings")
    return value


def texts(value: object, what: str) -> list[str]:
    """`value` when it is a JSON list of strings."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Unmeasured(f"{what} is {_shown(value)}, not a list of texts")
    return value


def text(row: Mapping[str, Any], key: str, what: str) -> str:
    """The string under `key` of `row`."""
    value = row.get(key)
    if not isinstance(value, str):
        raise Unmeasured(f"{what} has no text {key}: {_shown(value)}")
    return value


def number(row: Mapping[str, Any], key: str, what: str) -> int:
    """The whole number under `key` of `row`."""
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unmeasured(f"{what} has no number {key}: {_shown(value)}")
    return value


def flag(row: Mapping[str, Any], key: str, what: str) -> bool:
    """The truth value under `key` of `row`."""
    value = row.get(key)
    if not isinstance(value, bool):
        raise Unmeasured(f"{what} does not say whether {key}: {_shown(value)}")
    return value


def units(lines: Sequence[str]) -> dict[str, dict[str, str]]:
    """`systemctl show` of several units by their Id; blocks are parted by empty lines, values may hold `=`."""
    blocks: list[dict[str, str]] = [{}]
    for line in lines:
        if not line.strip():
            blocks.append({})
            continue
        key, _, value = line.partition("=")
        # A list property such as Listen is printed once for each member.
        blocks[-1][key] = f"{blocks[-1][key]}\n{value}" if key in blocks[-1] else value
    return {block["Id"]: block for block in blocks if "Id" in block}


def _shown(value: object) -> str:
    return repr(value)[:60]
