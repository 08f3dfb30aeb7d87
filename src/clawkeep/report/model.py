"""The report: one frozen model, in the shape of the contract that other programs read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from clawkeep.verdict import Status

SCHEMA = 1


class Exit(IntEnum):
    """The exit status of `clawkeep verify`."""

    GREEN = 0  # every required control passes or is waived
    RED = 1  # a required control fails
    UNMEASURED = 2  # something could not be measured
    DRIFT = 3  # green apart from being worse than the baseline
    WAIVERS = 4  # the waiver file is invalid, or a waiver has expired or matches nothing


PRECEDENCE = (Exit.WAIVERS, Exit.UNMEASURED, Exit.RED, Exit.DRIFT, Exit.GREEN)


@dataclass(frozen=True)
class HostRow:
    """A host that was expected; `message` says why it was not reached."""

    name: str
    tier: str
    reached: bool
    message: str = ""


@dataclass(frozen=True)
class Excerpt:
    """A piece of evidence: its source, the digest of the whole and a short part of it."""

    source: str
    digest: str
    excerpt: str


@dataclass(frozen=True)
class Result:
    """One control on one host."""

    control: str
    title: str
    severity: str
    host: str
    tier: str
    status: Status
    message: str
    remedy: str
    evidence: tuple[Excerpt, ...] = ()


@dataclass(frozen=True)
class Report:
    """A whole run. `left_out` are controls whose every test needs a vantage that was not asked for: not passed.

    `planned` are controls of the register that have no proof yet; `started` and `finished` are RFC 3339 in UTC.
    """

    version: str
    started: str
    finished: str
    hosts: tuple[HostRow, ...]
    results: tuple[Result, ...]
    planned: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def counts(self) -> Mapping[Status, int]:
        """How many results have each status; every status has its number."""
        found = Counter(result.status for result in self.results)
        return {status: found[status] for status in Status}

    @property
    def exit_status(self) -> Exit:
        """The worst finding, in the order of the contract."""
        found = {Exit.GREEN}
        judged = [r for r in self.results if r.status is not Status.NOT_REQUIRED]
        if any(result.status is Status.FAIL for result in judged):
            found.add(Exit.RED)
        unmeasured = {Status.INCONCLUSIVE, Status.ERROR}
        if not judged or any(result.status in unmeasured for result in judged):
            found.add(Exit.UNMEASURED)
        if not self.hosts or not all(host.reached for host in self.hosts):
            found.add(Exit.UNMEASURED)
        return next(status for status in PRECEDENCE if status in found)
