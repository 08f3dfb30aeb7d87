"""Drift: how a run differs from an earlier report.json of the same hosts.

Only results decide, by control and host. `waived` is not failing; `manual` is unmeasured where it passed before, for
then somebody's attestation is gone. What was left out on purpose is not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from clawkeep.base.errors import ClawkeepError, sentence
from clawkeep.base.printable import clean
from clawkeep.base.verdict import Status
from clawkeep.verify.report import SCHEMA, Change, Difference, Drift, Report

FILE_CAP = 512 * 1024 * 1024  # bytes; a thousand hosts with a hundred controls each are some 200 MB
UNKNOWN = {Status.INCONCLUSIVE, Status.ERROR}
NOTHING = {*UNKNOWN, Status.MANUAL, Status.NOT_REQUIRED}  # what tells nothing is missed by nobody
GOOD = {Status.PASS, Status.NOT_APPLICABLE}
ORDER = tuple(Change)

Name = Annotated[str, StringConstraints(max_length=1000)]


class _Border(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)  # a report holds more than a comparison needs


class _Head(_Border):
    schema_: Annotated[object, Field(alias="schema")] = None


class _Host(_Border):
    name: Name
    tier: Name
    reached: bool


class _Row(_Border):
    control: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}-\d{2}$")]
    host: Name
    status: Status


class _File(_Border):
    schema_: Annotated[Literal[1], Field(alias="schema")]
    started: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    hosts: list[_Host]
    results: list[_Row]
    left_out: list[Name] = []


@dataclass(frozen=True)
class Run:
    """What a report says, as far as runs are compared: names are as report.json has them."""

    started: str
    tiers: Mapping[str, str]  # by host
    reached: AbstractSet[str]
    statuses: Mapping[tuple[str, str], Status]  # by host and control
    left_out: AbstractSet[str] = frozenset()

    def only(self, *, hosts: Iterable[str] | None = None, controls: Iterable[str] | None = None) -> Run:
        """What it says about these hosts and these controls; None means all of them."""
        kept = self.tiers.keys() if hosts is None else self.tiers.keys() & {clean(host) for host in hosts}
        ids = None if controls is None else frozenset(controls)
        return Run(
            self.started,
            {host: tier for host, tier in self.tiers.items() if host in kept},
            self.reached & kept,
            {key: s for key, s in self.statuses.items() if key[0] in kept and (ids is None or key[1] in ids)},
            self.left_out,
        )


def of(report: Report) -> Run:
    """A report of this program's own, as its report.json would be read."""
    return Run(
        report.started,
        {clean(host.name): host.tier for host in report.hosts},
        {clean(host.name) for host in report.hosts if host.reached},
        {(clean(result.host), result.control): result.status for result in report.results},
        frozenset(report.left_out),
    )


def read(path: Path) -> Run:
    """The run that a report.json tells of; raises ClawkeepError with one sentence when it cannot be compared with."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_CAP + 1)
    except OSError as problem:
        raise ClawkeepError(f"the report {path} cannot be read: {problem.strerror}") from None
    if len(data) > FILE_CAP:
        raise ClawkeepError(f"the report {path} is larger than {FILE_CAP // 1024 // 1024} MB")
    try:
        schema = _Head.model_validate_json(data).schema_
        if schema != SCHEMA:
            newer = isinstance(schema, int) and schema > SCHEMA
            how = (
                "was written by a later Clawkeep: update this one" if newer else "is no report that this Clawkeep knows"
            )
            raise ClawkeepError(f"{path} has schema {str(schema)[:80]}; it {how}")
        told = _File.model_validate_json(data)
    except ValidationError as problem:
        broken = problem.errors(include_url=False)[0]
        why = broken["msg"] if broken["type"] == "json_invalid" else sentence(problem)
        raise ClawkeepError(f"{path} is no report.json: {why}") from None
    run = Run(
        told.started,
        {host.name: host.tier for host in told.hosts},
        {host.name for host in told.hosts if host.reached},
        {(row.host, row.control): row.status for row in told.results},
        frozenset(told.left_out),
    )
    _consistent(path, told, run)
    return run


def _consistent(path: Path, told: _File, run: Run) -> None:
    if not told.hosts:
        raise ClawkeepError(f"{path} has no host: there is nothing to compare with")
    if len(run.tiers) != len(told.hosts):
        raise ClawkeepError(f"{path} names a host twice")
    if len(run.statuses) != len(told.results):
        raise ClawkeepError(f"{path} has two results of one control on one host")
    strangers = {row.host for row in told.results} - run.tiers.keys()
    if strangers:
        raise ClawkeepError(f"{path} has results of {min(strangers)!r}, which is none of its hosts")


def comparable(before: Run, tiers: Mapping[str, str]) -> None:
    """Raise ClawkeepError when a run of the hosts in `tiers` (name to tier) cannot be compared with `before`."""
    now = {clean(host): tier for host, tier in tiers.items()}
    common = now.keys() & before.tiers.keys()
    if not common:
        raise ClawkeepError(
            f"the baseline of {before.started} tells of other hosts ({_some(before.tiers)}), not of {_some(now)}:"
            " compare runs of the same inventory"
        )
    for host in sorted(common):
        if before.tiers[host] != now[host]:
            raise ClawkeepError(
                f"{host} is in {now[host]} and was in {before.tiers[host]} at the baseline of {before.started}:"
                " another tier has other promises, so take a new baseline"
            )


def _some(hosts: Mapping[str, str]) -> str:
    names = sorted(hosts)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def compare(before: Run, now: Run) -> Drift:
    """How `now` differs from `before`, the worst first; raises ClawkeepError when they are of different hosts."""
    comparable(before, now.tiers)
    found = [*_hosts(before, now), *_results(before, now)]
    found.sort(key=lambda one: (ORDER.index(one.change), one.host, one.control))
    return Drift(before.started, tuple(found))


def _hosts(before: Run, now: Run) -> Iterator[Difference]:
    """Hosts that are gone, and hosts that no longer answer: of these nothing else is told."""
    for host in before.tiers:
        if host not in now.tiers:
            yield Difference(Change.HOST_GONE, host, before="there", now="gone")
        elif _lost(host, before, now):
            yield Difference(Change.NEWLY_UNMEASURED, host, before="measured", now="not measured")


def _lost(host: str, before: Run, now: Run) -> bool:
    return host in before.reached and host not in now.reached


def _results(before: Run, now: Run) -> Iterator[Difference]:
    keys = [*now.statuses, *(key for key in before.statuses if key not in now.statuses)]
    for host, control in keys:
        if host not in now.tiers or _lost(host, before, now) or control in now.left_out:
            continue
        was, is_ = before.statuses.get((host, control)), now.statuses.get((host, control))
        change = _change(was, is_, host in before.tiers and control not in before.left_out)
        if change is not None:
            yield Difference(
                change, host, control, was.value if was else "no result", is_.value if is_ else "no result"
            )


def _change(was: Status | None, is_: Status | None, known: bool) -> Change | None:
    """What became of one control on one host; `known` when the baseline could have had a result of it."""
    if is_ is Status.FAIL:
        return None if was is Status.FAIL else Change.NEW_FAILING
    if is_ in UNKNOWN:
        return None if was in UNKNOWN or not known else Change.NEWLY_UNMEASURED
    if is_ is None:
        return None if was in NOTHING else Change.NEWLY_UNMEASURED
    if is_ is Status.MANUAL:
        return Change.NEWLY_UNMEASURED if was is Status.PASS else None
    if is_ in GOOD and was in {Status.FAIL, Status.WAIVED, *UNKNOWN}:
        return Change.FIXED
    return None
