"""Evidence comes from the host that is judged: what cannot be taken apart is not measured, and crashes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clawkeep.verdict import Unmeasured


@contextmanager
def legible(what: str) -> Iterator[None]:
    """Turn whatever parsing `what` stumbles over into `Unmeasured`."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as problem:
        raise Unmeasured(f"{what} cannot be read: {type(problem).__name__} {problem}") from problem
