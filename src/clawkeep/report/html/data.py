"""What the page's script works on: the whole report in a compact form, every text once.

statuses   names, in the order of the digits of `grid`
controls   [id, title, severity, area, remedy, has a page here]
hosts      [name, tier, reached, message, when it was measured]
grid       a string a host: the digit of each control's status, `.` where there is no result
details    a list a host: a list a result, in the order of the digits: message, then its evidence
evidence   [source, digest, excerpt], -1 for an excerpt that had no room
texts      what the numbers in `details` (message) and `evidence` point at
waivers    [scope, reason, owner, approved by, ticket, created, expires, what is left of it, compensating control]
waived     {"host,control": number of the waiver}
changes    {"host,control": change since the baseline}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from typing import Any

from clawkeep.base.printable import EXCERPT, clean
from clawkeep.base.verdict import Status
from clawkeep.register.register import Control
from clawkeep.report import words
from clawkeep.verify.report import Excerpt, HostRow, Report, Result, Waiver

ROOM = 8_000_000  # characters of excerpts; a small fleet needs far less, and report.json has all of them

_DIGITS = {status: str(number) for number, status in enumerate(Status)}


class _Pool:
    """Numbers for texts: each text is kept once, cleaned."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, int], int] = {}
        self.texts: list[str] = []

    def number(self, text: str, limit: int) -> int:
        """The number of `text` when no more than `limit` characters of it are shown."""
        key = (text, limit)
        if key not in self._numbers:
            self._numbers[key] = len(self.texts)
            self.texts.append(clean(text, limit))
        return self._numbers[key]


def encode(report: Report, register: Mapping[str, Control]) -> dict[str, Any]:
    """The report as JSON data in the form above."""
    by_host: dict[str, dict[str, Result]] = {host.name: {} for host in report.hosts}
    controls: dict[str, Result] = {}
    for result in report.results:
        by_host.setdefault(result.host, {})[result.control] = result
        controls.setdefault(result.control, result)
    rows = {host.name: host for host in report.hosts}
    columns = {name: number for number, name in enumerate(controls)}
    pool = _Pool()
    room = _room(report.results)
    evidence: dict[Excerpt, int] = {}
    cited: list[list[int]] = []
    waivers: dict[Waiver, int] = {}
    waived = {}
    grid, details = [], []
    for number, results in enumerate(by_host.values()):
        grid.append("".join(_DIGITS[results[name].status] if name in results else "." for name in controls))
        told = []
        for name in controls:
            if name not in results:
                continue
            result = results[name]
            numbers = [pool.number(result.message, 400)]
            for excerpt in result.evidence:
                if excerpt not in evidence:
                    evidence[excerpt] = len(cited)
                    shown = pool.number(excerpt.excerpt, EXCERPT) if excerpt in room else -1
                    cited.append([pool.number(excerpt.source, 400), pool.number(excerpt.digest, 400), shown])
                numbers.append(evidence[excerpt])
            told.append(numbers)
            if result.waiver is not None:
                waived[f"{number},{columns[name]}"] = waivers.setdefault(result.waiver, len(waivers))
        details.append(told)
    return {
        "statuses": [status.value for status in Status],
        "controls": [
            [
                clean(name),
                clean(one.title),
                clean(one.severity),
                clean(words.area(name)),
                clean(one.remedy),
                int(name in register),
            ]
            for name, one in controls.items()
        ],
        "hosts": [
            [clean(row.name), clean(row.tier), int(row.reached), clean(row.message), clean(row.measured)]
            for row in (rows.get(name, HostRow(name, "", False)) for name in by_host)
        ],
        "grid": grid,
        "details": details,
        "evidence": cited,
        "texts": pool.texts,
        "waivers": [
            [clean(v) if isinstance(v, str) else words.days_left(v) for v in astuple(waiver)] for waiver in waivers
        ],
        "waived": waived,
        "changes": _changes(report, {name: n for n, name in enumerate(by_host)}, columns),
    }


def _room(results: Iterable[Result]) -> frozenset[Excerpt]:
    """The excerpts that the page has room for: those of what a person must look at first come first."""
    by_status: dict[Status, list[Result]] = defaultdict(list)
    for result in results:
        by_status[result.status].append(result)
    left = ROOM
    chosen = set()
    for status in words.STATUSES:
        for result in by_status[status]:
            for excerpt in result.evidence:
                size = min(len(excerpt.excerpt), EXCERPT)
                if excerpt not in chosen and size <= left:
                    chosen.add(excerpt)
                    left -= size
    return frozenset(chosen)


def _changes(report: Report, hosts: Mapping[str, int], columns: Mapping[str, int]) -> dict[str, str]:
    return {
        f"{hosts[one.host]},{columns[one.control]}": words.CHANGES[one.change]
        for one in (report.drift.differences if report.drift else ())
        if one.host in hosts and one.control in columns
    }
