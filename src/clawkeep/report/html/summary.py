"""What the page shows without its script: verdict, what needs attention, tiers and hosts, charts, waivers, pages."""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from clawkeep.base.printable import clean
from clawkeep.base.verdict import Status
from clawkeep.register import frameworks
from clawkeep.register.register import Control, Severity
from clawkeep.report import page, words
from clawkeep.report.terminal import MEANINGS
from clawkeep.verify.report import Change, Difference, HostRow, Report, Result, Waiver
from clawkeep.verify.waivers import SOON

HOSTS = 60  # rows of the table of hosts, the worst first; the map has all of them
GROUPS = 15  # controls of "What needs attention" that are open; the others are behind one click
PLACES = 12  # hosts named under one control, fewer where many controls need attention
FEW_PLACES = 4
CHANGES = 200  # rows of the table of changes
LONG = 90  # days that fill a waiver's meter

# From left to right in every bar: what must be seen first. What a host does not owe is in no bar.
_IN_BARS = tuple(status for status in words.STATUSES if status not in words.UNCOUNTED)


@dataclass(frozen=True)
class Segment:
    """A part of a bar: `start` and `width` in per cent."""

    status: Status
    label: str
    count: int
    start: float
    width: float


@dataclass(frozen=True)
class Bar:
    """A stacked bar of what is owed, with its words; `open` is how many findings are in it."""

    name: str
    note: str
    segments: tuple[Segment, ...]
    owed: int
    kept: int
    counts: Mapping[Status, int]

    @property
    def open(self) -> int:
        """How many of them keep the run from being green."""
        return sum(self.counts[status] for status in words.FINDINGS)


@dataclass(frozen=True)
class Group:
    """A control that needs attention, and where: `places` are the first hosts, `more` counts the others."""

    control: str
    title: str
    severity: str
    remedy: str
    failing: int
    unmeasured: int
    places: tuple[Result, ...]
    more: int


@dataclass(frozen=True)
class Exemption:
    """A waiver and the hosts on which it was needed; `filled` is its meter in per cent."""

    control: str
    title: str
    waiver: Waiver
    hosts: tuple[str, ...]
    more: int
    filled: int

    @property
    def urgency(self) -> str:
        """`expired`, `soon` or `fine`."""
        left = self.waiver.days_left
        return "expired" if left < 0 else "soon" if left <= SOON else "fine"


@dataclass(frozen=True)
class Page:
    """A control of the register with its prose as HTML and its results."""

    control: Control
    counts: tuple[tuple[Status, str, int], ...]
    prose: Markup


@dataclass(frozen=True)
class View:
    """All that the template shows."""

    report: Report
    headline: str
    meaning: str
    verdict: str
    when: str
    measured: str
    took: str
    all: Bar
    counts: tuple[tuple[Status, str, int], ...]
    attention: tuple[Group, ...]
    attention_open: int
    unreached: tuple[HostRow, ...]
    tiers: tuple[Bar, ...]
    hosts: tuple[Bar, ...]
    hosts_more: int
    severities: tuple[Bar, ...]
    areas: tuple[Bar, ...]
    changes: Mapping[Change, int]
    differences: tuple[Difference, ...]
    differences_more: int
    baseline: str
    waivers: tuple[Exemption, ...]
    unverified: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    pages: tuple[Page, ...]
    known: frozenset[str]
    words: Mapping[Status, tuple[str, str]] = field(default_factory=lambda: words.STATUSES)
    change_words: Mapping[Change, str] = field(default_factory=lambda: words.CHANGES)
    frameworks: Mapping[str, str] = field(
        default_factory=lambda: {key: f"{one.name} {one.version}" for key, one in frameworks.load().items()}
    )


def view(report: Report, register: Mapping[str, Control]) -> View:
    """The report as the template wants it."""
    tiers = {host.tier: [h for h in report.hosts if h.tier == host.tier] for host in report.hosts}
    by_host = _by(report.results, lambda r: r.host)
    by_tier = _by(report.results, lambda r: r.tier)
    by_severity = _by(report.results, lambda r: r.severity)
    by_area = _by(report.results, lambda r: words.area(r.control))
    hosts = sorted(
        (_bar(host.name, _seen(host), by_host[host.name]) for host in report.hosts),
        key=lambda bar: (-bar.counts[Status.FAIL], -bar.open, bar.name),
    )
    differences = report.drift.differences if report.drift else ()
    order = list(Change)
    severities = [*(s.value for s in Severity), *(s for s in by_severity if words.severity_rank(s) >= len(Severity))]
    return View(
        report=report,
        headline=words.headline(report),
        meaning=MEANINGS[report.exit_status],
        verdict=report.exit_status.name.lower(),
        when=_moment(report.started),
        measured=clean(words.measured(report)),
        took=_duration(report.started, report.finished),
        all=_bar("all", "", report.results),
        counts=tuple((status, label, report.counts[status]) for status, (label, _) in words.STATUSES.items()),
        attention=tuple(_attention(report)),
        attention_open=GROUPS,
        unreached=tuple(host for host in report.hosts if not host.reached),
        tiers=tuple(
            _bar(tier, words.plural(len(members), "host") + _missing(members), by_tier[tier])
            for tier, members in sorted(tiers.items())
        ),
        hosts=tuple(hosts[:HOSTS]),
        hosts_more=max(0, len(hosts) - HOSTS),
        severities=tuple(_bar(s, "", by_severity[s]) for s in severities if by_severity[s]),
        areas=tuple(_bar(a, words.AREAS.get(a, ""), by_area[a]) for a in sorted(by_area) if by_area[a]),
        changes={change: sum(one.change is change for one in differences) for change in Change},
        differences=tuple(
            sorted(differences, key=lambda d: (order.index(d.change), d.control, d.host))[:CHANGES],
        ),
        differences_more=max(0, len(differences) - CHANGES),
        baseline=_moment(report.drift.baseline) if report.drift else "",
        waivers=tuple(_waivers(report.results)),
        unverified=tuple(_unverified(report, register)),
        pages=tuple(_pages(report, register)),
        known=frozenset(register),
    )


def _by(results: Iterable[Result], key: Callable[[Result], str]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        found[key(result)].append(result)
    return found


def _bar(name: str, note: str, results: Iterable[Result]) -> Bar:
    found = Counter(result.status for result in results)
    counts = {status: found[status] for status in Status}
    owed = sum(counts[status] for status in _IN_BARS)
    segments, start = [], 0.0
    for status in _IN_BARS:
        if counts[status]:
            width = 100 * counts[status] / owed
            segments.append(
                Segment(status, words.STATUSES[status][0], counts[status], round(start, 3), round(width, 3))
            )
            start += width
    return Bar(clean(name), note, tuple(segments), owed, counts[Status.PASS], counts)


def _seen(host: HostRow) -> str:
    if not host.reached:
        return "not reached"
    return f"measured {_moment(host.measured)}" if host.measured else ""


def _missing(hosts: Iterable[HostRow]) -> str:
    missing = sum(not host.reached for host in hosts)
    return f", {missing} not reached" if missing else ""


def _attention(report: Report) -> Iterator[Group]:
    """Controls with findings on hosts that were reached: failing before unmeasured, severe before mild."""
    silent = {host.name for host in report.hosts if not host.reached}
    groups = _by(
        (r for r in report.results if r.status in words.FINDINGS and r.host not in silent), lambda r: r.control
    )

    def first(results: list[Result]) -> tuple[bool, int, str]:
        fails = any(result.status is Status.FAIL for result in results)
        return not fails, words.severity_rank(results[0].severity), results[0].control

    shown = PLACES if len(groups) <= GROUPS else FEW_PLACES
    for results in sorted(groups.values(), key=first):
        results.sort(key=words.urgency)
        one = results[0]
        failing = sum(result.status is Status.FAIL for result in results)
        yield Group(
            control=clean(one.control),
            title=clean(one.title),
            severity=clean(one.severity),
            remedy=clean(one.remedy),
            failing=failing,
            unmeasured=len(results) - failing,
            places=tuple(results[:shown]),
            more=max(0, len(results) - shown),
        )


def _waivers(results: Iterable[Result]) -> Iterator[Exemption]:
    groups: dict[tuple[str, Waiver], list[Result]] = defaultdict(list)
    for result in results:
        if result.waiver is not None:
            groups[result.control, result.waiver].append(result)
    for (control, waiver), found in sorted(groups.items(), key=lambda item: (item[0][1].days_left, item[0][0])):
        yield Exemption(
            control=clean(control),
            title=clean(found[0].title),
            waiver=waiver,
            hosts=tuple(clean(result.host) for result in found[:PLACES]),
            more=max(0, len(found) - PLACES),
            filled=round(100 * min(max(waiver.days_left, 0), LONG) / LONG),
        )


def _unverified(report: Report, register: Mapping[str, Control]) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """Why controls were judged on no host, and their (id, title)."""
    reasons = (
        ("Planned, no proof yet", report.planned),
        ("Left out, their vantage was not asked for", report.left_out),
    )
    for why, names in reasons:
        if names:
            yield (
                why,
                tuple((clean(name), clean(register[name].title) if name in register else "") for name in names),
            )


def _pages(report: Report, register: Mapping[str, Control]) -> Iterator[Page]:
    by_control = _by(report.results, lambda r: r.control)
    for name, control in register.items():
        found = Counter(result.status for result in by_control[name])
        counts = tuple((status, label, found[status]) for status, (label, _) in words.STATUSES.items() if found[status])
        yield Page(control, counts, page.as_html(control.body))


def _parsed(moment: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(moment)
    except ValueError:
        return None


def _moment(moment: str) -> str:
    """`20 November 2026, 06:00 UTC`; what is no date is shown as it is."""
    at = _parsed(moment)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M} UTC" if at else clean(moment)


def _duration(started: str, finished: str) -> str:
    began, ended = _parsed(started), _parsed(finished)
    seconds = int((ended - began).total_seconds()) if began and ended else 0
    minutes, seconds = divmod(max(seconds, 0), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


# Not strftime's: those follow the locale.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
