"""Three-valued logic: True, False, and None for "cannot be told from the ruleset"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Truth: TypeAlias = bool | None


def negated(truth: Truth) -> Truth:
    """The opposite; what cannot be told stays so."""
    return None if truth is None else not truth


def any_of(truths: Iterable[Truth]) -> Truth:
    """True if one is true, else None if one cannot be told."""
    unknown = False
    for truth in truths:
        if truth:
            return True
        unknown = unknown or truth is None
    return None if unknown else False


def all_of(truths: Iterable[Truth]) -> Truth:
    """False if one is false, else None if one cannot be told."""
    return negated(any_of(negated(truth) for truth in truths))
