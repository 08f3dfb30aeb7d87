"""Make the difference between two worlds as small as it can be while every control is judged as before.

What remains of a recorded sabotage is what the suite saw; counters, times and process numbers fall away. Candidates are
judged many at a time, for the suite takes many hosts in one run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

from clawkeep.sabotage.difference import Operation

Judge = Callable[[list[list[Operation]]], list[bool]]  # for each candidate patch: is everything judged as before?
T = TypeVar("T")

PREFIX_STEPS = 3  # /inside/commands/ss is one source of evidence
LONG_VALUE = 1500  # characters of JSON; a shorter value is kept as it was seen


def minimise(patch: list[Operation], judge: Judge) -> list[Operation]:
    """A smallest part of `patch` by which everything is judged as by the whole of it.

    Whole sources of evidence are left out first, then smaller groups, single operations, and parts of long values.
    """
    units = [[operation] for operation in patch]
    for steps in (PREFIX_STEPS, PREFIX_STEPS + 2, PREFIX_STEPS + 4, 99):
        flat = [operation for unit in units for operation in unit]
        units = [list(group) for _, group in groupby(flat, key=lambda o, s=steps: _prefix(o, s))]  # type: ignore[misc]
        units = shrink(units, lambda many: judge([[o for unit in kept for o in unit] for kept in many]))
    kept = shrink([operation for unit in units for operation in unit], judge)
    for index in range(len(kept)):
        kept = _trim(kept, index, judge)
    return kept


def shrink(units: list[T], judge: Callable[[list[list[T]]], list[bool]]) -> list[T]:
    """The units without those that can be left out, in their order."""
    while units:
        alone = judge([units[:i] + units[i + 1 :] for i in range(len(units))])
        idle = [i for i, same in enumerate(alone) if same]
        if not idle:
            return units
        counts = sorted({max(1, len(idle) >> shift) for shift in range(len(idle).bit_length())}, reverse=True)
        candidates = [_without(units, idle[:count]) for count in counts]
        units = next(c for c, same in zip(candidates, [*judge(candidates[:-1]), True], strict=True) if same)
    return units


def _without(units: Sequence[T], indexes: Sequence[int]) -> list[T]:
    gone = set(indexes)
    return [unit for i, unit in enumerate(units) if i not in gone]


def _prefix(operation: Operation, steps: int) -> str:
    return "/".join(operation["path"].split("/")[: steps + 1])


def _trim(patch: list[Operation], index: int, judge: Judge) -> list[Operation]:
    """`patch` with the long value of one operation cut down to what matters, level by level."""

    def with_value(value: Any) -> list[Operation]:
        return [*patch[:index], {**patch[index], "value": value}, *patch[index + 1 :]]

    def trim(value: Any, put: Callable[[Any], list[Operation]]) -> Any:
        if len(json.dumps(value)) <= LONG_VALUE or not isinstance(value, dict | list):
            return value
        if isinstance(value, dict):
            kept = shrink(list(value), lambda many: judge([put({k: value[k] for k in keys}) for keys in many]))
            value = {key: value[key] for key in kept}
            for key in kept:
                value[key] = trim(value[key], lambda inner, k=key: put({**value, k: inner}))  # type: ignore[misc]
            return value
        value = shrink(list(value), lambda many: judge([put(elements) for elements in many]))
        for i in range(len(value)):
            value[i] = trim(value[i], lambda inner, i=i: put([*value[:i], inner, *value[i + 1 :]]))  # type: ignore[misc]
        return value

    return with_value(trim(patch[index]["value"], with_value)) if "value" in patch[index] else patch
