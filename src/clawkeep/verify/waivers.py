"""Waivers: exceptions that somebody answers for, each with an end. `inventories/<site>/waivers.yml`.

A waived control is judged like any other; where it fails, the fail becomes `waived`. Nothing else can be waived: what
was not measured (inconclusive, error) is not excused by anybody. A waiver that is not in order excuses nothing.
"""

from __future__ import annotations

import datetime
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from clawkeep.base.verdict import Status
from clawkeep.register.register import Control, Severity
from clawkeep.site.dated_entries import Day, Entry, Hosts, Text, read
from clawkeep.verify import report
from clawkeep.verify.report import Result

FILE = "waivers.yml"
LONGEST = {Severity.CRITICAL: 30, Severity.HIGH: 90, Severity.MEDIUM: 180, Severity.LOW: 180}  # days
SOON = 14  # days before the end from which on a report warns
SETTLED = {Status.PASS, Status.NOT_APPLICABLE, Status.NOT_REQUIRED, Status.MANUAL}  # measured, and nothing to excuse


class Waiver(Entry):
    """One exception. It stands from `created` to `expires`, both days included (UTC)."""

    reason: Text
    owner: Text
    approved_by: Text
    ticket: Text
    created: Day
    expires: Day
    compensating: Text

    def days_left(self, today: datetime.date) -> int:
        """How many days it still stands after `today`; 0 on its last day, negative when it has expired."""
        return (self.expires - today).days

    def told(self, today: datetime.date) -> report.Waiver:
        """As a report tells it."""
        return report.Waiver(
            scope=str(self.scope),
            reason=self.reason,
            owner=self.owner,
            approved_by=self.approved_by,
            ticket=self.ticket,
            created=self.created.isoformat(),
            expires=self.expires.isoformat(),
            days_left=self.days_left(today),
            compensating=self.compensating,
        )


def load(path: Path) -> tuple[Waiver, ...]:
    """The waivers of a file, in its order; raises NotInOrder when it cannot be used."""
    return read(path, "waivers", Waiver)


def review(
    waivers: Iterable[Waiver], register: Mapping[str, Control], hosts: Hosts, today: datetime.date
) -> tuple[tuple[Waiver, ...], tuple[str, ...]]:
    """The waivers that are in order as far as that can be told without a host, and sentences about the others."""
    good, objections = [], []
    taken: dict[tuple[str, str], Waiver] = {}
    for waiver in waivers:
        found = [*_wrong(waiver, register, today), hosts.unmatched(waiver), _again(waiver, hosts, taken)]
        if any(found):
            objections += [sentence for sentence in found if sentence]
        else:
            good.append(waiver)
    return tuple(good), tuple(objections)


def _wrong(waiver: Waiver, register: Mapping[str, Control], today: datetime.date) -> list[str]:
    at, control = waiver.where, register.get(waiver.control)
    found = [waiver.of_the_register(register)]
    if control is not None and not control.waivable:
        found.append(f"{at}: {control.id} accepts no waiver: {control.title}")
    if waiver.created > today:
        found.append(f"{at}: it is created on {waiver.created}, which is after today, {today} (UTC)")
    age = (waiver.expires - waiver.created).days
    if age < 0:
        found.append(f"{at}: it expires on {waiver.expires}, before it is created on {waiver.created}")
    elif waiver.expires < today:
        found.append(
            f"{at}: the waiver of {waiver.control} for {waiver.scope} expired on {waiver.expires}:"
            " mend the control, or have a new waiver approved"
        )
    if control is not None and age > LONGEST[control.severity]:
        longest = f"at most {LONGEST[control.severity]} for a control of severity {control.severity}"
        found.append(f"{at}: it is to stand for {age} days, {longest}")
    if _name(waiver.owner) == _name(waiver.approved_by):
        found.append(f"{at}: {waiver.approved_by} approves a waiver of their own: another person must approve it")
    return found


def _name(person: str) -> str:
    """A person's name without case, blanks, hyphens and characters that do not show."""
    return "".join(c for c in unicodedata.normalize("NFKC", person).casefold() if c.isalnum())


def _again(waiver: Waiver, hosts: Hosts, taken: dict[tuple[str, str], Waiver]) -> str:
    first: dict[str, list[str]] = defaultdict(list)
    for host in hosts.of(waiver.scope):
        other = taken.setdefault((waiver.control, host), waiver)
        if other is not waiver:
            first[other.where].append(host)
    for where, twice in first.items():
        more = f" (and {len(twice) - 1} more)" if len(twice) > 1 else ""
        return f"{waiver.where}: it waives {waiver.control} on {twice[0]}{more}, as {where} does already"
    return ""


@dataclass(frozen=True)
class Applied:
    """What waivers made of the results; `objections` are about stale waivers, `warnings` about those that end soon."""

    results: tuple[Result, ...]
    objections: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def apply(
    results: Sequence[Result],
    waivers: Sequence[Waiver],
    hosts: Hosts,
    today: datetime.date,
    partial: AbstractSet[str] = frozenset(),
) -> Applied:
    """Turn the fails that a waiver covers into `waived`, and find the waivers that cover none.

    `partial` are controls of which not every test ran: a waiver of these is never stale. Neither is one whose hosts
    were not all judged, or not all measured.
    """
    excused = {(w.control, host): number for number, w in enumerate(waivers) for host in hosts.of(w.scope)}
    kept: list[Result] = []
    seen: list[dict[str, Status]] = [{} for _ in waivers]  # by waiver and host: what was found
    for result in results:
        number = excused.get((result.control, result.host))
        if number is not None:
            seen[number][result.host] = result.status
        if number is not None and result.status is Status.FAIL:
            kept.append(replace(result, status=Status.WAIVED, waiver=waivers[number].told(today)))
        else:
            kept.append(result)
    objections, warnings = [], []
    for waiver, found in zip(waivers, seen, strict=True):
        covered = hosts.of(waiver.scope)
        known = hosts.complete or waiver.scope.kind == "host"
        settled = [host for host in covered if found.get(host) in SETTLED]
        if known and covered and len(settled) == len(covered) and waiver.control not in partial:
            was = ", ".join(sorted({found[host].value for host in covered}))
            objections.append(
                f"{waiver.where}: the waiver of {waiver.control} for {waiver.scope} is stale, nothing there fails"
                f" ({was}): delete it"
            )
        elif waiver.days_left(today) <= SOON:
            days = waiver.days_left(today)
            warnings.append(
                f"{waiver.where}: the waiver of {waiver.control} for {waiver.scope} ends on {waiver.expires},"
                f" {'today' if days == 0 else f'in {days} days' if days > 1 else 'tomorrow'}"
            )
    return Applied(tuple(kept), tuple(objections), tuple(warnings))
