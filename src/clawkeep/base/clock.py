"""Times as the project writes them: RFC 3339 in UTC, to the second (`2026-11-22T19:35:02Z`)."""

from __future__ import annotations

import datetime

FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def now() -> str:
    """The present time."""
    return written(datetime.datetime.now(datetime.UTC))


def written(moment: datetime.datetime) -> str:
    """A time that knows its zone, as the project writes it."""
    return moment.astimezone(datetime.UTC).strftime(FORMAT)


def moment(text: str) -> datetime.datetime:
    """The time that `text` writes; raises ValueError for any other form."""
    return datetime.datetime.strptime(text, FORMAT).replace(tzinfo=datetime.UTC)


def day(text: str) -> datetime.date:
    """The day (UTC) of a written time; raises ValueError as `moment` does."""
    return moment(text).date()


def since(earlier: str, later: str) -> float:
    """Seconds from one written time to another; negative when the second comes first."""
    return (moment(later) - moment(earlier)).total_seconds()


def spoken(seconds: float) -> str:
    """A length of time as a person says it, in its two largest units: `8 d 3 h`, `4 min`."""
    left, parts = max(0, round(seconds)), []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
