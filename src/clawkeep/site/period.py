"""How often a tier wants its hosts verified: the words of `verify_period`."""

from __future__ import annotations

from collections.abc import Mapping

from clawkeep.base.errors import ClawkeepError

SECONDS: Mapping[str, int] = {"weekly": 7 * 86400, "daily": 86400, "6h": 6 * 3600}
OVERDUE = 2  # periods without a complete run, after which the promise is broken


def seconds(period: str) -> int:
    """The length of a period in seconds; raises ClawkeepError for a word that is none."""
    try:
        return SECONDS[period]
    except KeyError:
        raise ClawkeepError(f"{period!r} is no period: choose from {', '.join(SECONDS)}") from None
