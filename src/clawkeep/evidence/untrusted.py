"""Take evidence apart without trusting its shape: a value of the wrong type is not measured, never a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clawkeep.verdict import Unmeasured


def _refuse(value: object, what: str, wanted: str) -> Unmeasured:
    shown = repr(value)
    return Unmeasured(f"{what} is not {wanted} but {shown if len(shown) <= 60 else shown[:57] + '...'}")


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """`value` as a mapping with text keys; `what` names it in the refusal."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _refuse(value, what, "a mapping")
    return value


def sequence(value: object, what: str) -> Sequence[Any]:
    """`value` as a list."""
    if not isinstance(value, list | tuple):
        raise _refuse(value, what, "a list")
    return value


def text(value: object, what: str) -> str:
    """`value` as text."""
    if not isinstance(value, str):
        raise _refuse(value, what, "text")
    return value


def integer(value: object, what: str) -> int:
    """`value` as a whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise _refuse(value, what, "a whole number")
    return value


def boolean(value: object, what: str) -> bool:
    """`value` as true or false."""
    if not isinstance(value, bool):
        raise _refuse(value, what, "true or false")
    return value


def get(source: Mapping[str, Any], key: str, what: str) -> Any:
    """The value of `key`, which must be there: a field that is missing is not an empty one."""
    if key not in source:
        raise Unmeasured(f"{what} has no {key}")
    return source[key]


def texts(value: object, what: str) -> tuple[str, ...]:
    """`value` as a tuple of texts; null counts as none, as the engine writes it."""
    if value is None:
        return ()
    return tuple(text(item, f"an item of {what}") for item in sequence(value, what))


def size(value: object, what: str) -> int:
    """Bytes of a size as Compose writes it (`512m`, `2g`, `1073741824`), in powers of 1024."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    written = text(value, what).strip().lower().removesuffix("b").removesuffix("i")
    units = {"k": 10, "m": 20, "g": 30, "t": 40}
    number, shift = (written[:-1], units[written[-1]]) if written[-1:] in units else (written, 0)
    if not number.isdigit():
        raise _refuse(value, what, "a size such as 2g")
    return int(number) << shift
