"""Read JSON that somebody else wrote, who may want whoever reads it to hang, or to write what is no JSON."""

from __future__ import annotations

import json
import math
from typing import Any

DIGITS = 400  # of an integer: reading one takes a time that grows with their square, and Python limits it since 3.11


def loads(text: str) -> Any:
    """The value; raises ValueError when the text is no JSON, or nested deeper than Python can read.

    An integer beyond DIGITS becomes text, and so does what JSON cannot write again: NaN, Infinity, 1e999.
    """
    try:
        return json.loads(text, parse_int=_integer, parse_float=_real, parse_constant=str)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= DIGITS else digits


def _real(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits
