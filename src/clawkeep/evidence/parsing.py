"""Reading what nobody vouches for: a value in the shape that was expected, or `Unmeasured`; nothing else.

All of these refuse null as they refuse any other wrong value, so a field taken with `.get` has to be there. Where the
engine writes null for an empty list or mapping, the caller says `or []` or `or {}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from clawkeep.base.verdict import Unmeasured

V = TypeVar("V")
NUMBER = re.compile(r"[0-9]{1,20}")  # as many digits as the largest number of 64 bits has


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """`value` as a mapping with text keys; `what` names it in the refusal, here and below."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _unlike(value, what, "a mapping")
    return value


def sequence(value: object, what: str) -> Sequence[Any]:
    """`value` as a list of anything."""
    if not isinstance(value, list | tuple):
        raise _unlike(value, what, "a list")
    return value


def rows(value: object, what: str) -> tuple[Mapping[str, Any], ...]:
    """`value`, a list of mappings, as a tuple."""
    return tuple(mapping(item, f"an item of {what}") for item in sequence(value, what))


def texts(value: object, what: str) -> tuple[str, ...]:
    """`value`, a list of texts, as a tuple."""
    return tuple(text(item, f"an item of {what}") for item in sequence(value, what))


def text(value: object, what: str) -> str:
    """`value` as text."""
    if not isinstance(value, str):
        raise _unlike(value, what, "text")
    return value


def integer(value: object, what: str) -> int:
    """`value` as a whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unlike(value, what, "a whole number")
    return value


def boolean(value: object, what: str) -> bool:
    """`value` as true or false."""
    if not isinstance(value, bool):
        raise _unlike(value, what, "true or false")
    return value


def size(value: object, what: str) -> int:
    """Bytes of a size as Compose writes it (`512m`, `2g`, `1073741824`), in powers of 1024."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    written = text(value, what).strip().lower().removesuffix("b").removesuffix("i")
    units = {"k": 10, "m": 20, "g": 30, "t": 40}
    digits, shift = (written[:-1], units[written[-1]]) if written[-1:] in units else (written, 0)
    found = number(digits)
    if found is None:
        raise _unlike(value, what, "a size such as 2g")
    return found << shift


def number(written: str) -> int | None:
    """The number that `written` is, in digits from 0 to 9 alone; None for anything else.

    `str.isdigit` is true of "²" as well, which `int` refuses, as it does thousands of digits.
    """
    return int(written) if NUMBER.fullmatch(written) else None


def get(source: Mapping[str, V], key: str, what: str) -> V:
    """The value of `key` in the mapping `what`: it has to be there, and may be anything, null too."""
    if key not in source:
        raise _illegible(what, f"{key} is not recorded")
    return source[key]


@contextmanager
def legible(what: str) -> Iterator[None]:
    """Turn whatever parsing `what` stumbles over into `Unmeasured`: the last resort, around a whole parser."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as problem:
        raise _illegible(what, f"{type(problem).__name__} {problem}") from problem


def _unlike(value: object, what: str, wanted: str) -> Unmeasured:
    if value is None:
        return _illegible(what, "nothing is recorded")
    shown = repr(value)
    return _illegible(what, f"{shown if len(shown) <= 60 else shown[:57] + '...'} is not {wanted}")


def _illegible(what: str, why: str) -> Unmeasured:
    return Unmeasured(f"{what} cannot be read: {why}")
