"""The report: one frozen model, in the shape of the contract that other programs read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from clawkeep.base.verdict import Status

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
    """A host that was expected; `message` says why it was not reached.

    `measured` is when it was, by the clock of the machine that asked it (RFC 3339 in UTC); empty when nobody noted it.
    """

    name: str
    tier: str
    reached: bool
    message: str = ""
    measured: str = ""


@dataclass(frozen=True)
class Excerpt:
    """A piece of evidence: its source, the digest of the whole and a short part of it."""

    source: str
    digest: str
    excerpt: str


@dataclass(frozen=True)
class Waiver:
    """An exception that somebody answers for, as a report tells it: dates as YYYY-MM-DD, days counted from the run."""

    scope: str  # the host, group or tier that it names
    reason: str
    owner: str
    approved_by: str
    ticket: str
    created: str
    expires: str
    days_left: int
    compensating: str


@dataclass(frozen=True)
class Bundle:
    """The saved evidence that a report rests on: every cited digest is that of a piece of it.

    `digest` is the manifest's (empty when it could not be kept), `key` the fingerprint of the key that signed it (None:
    unsigned), `signer` the allowed signer whose key that is (None: nobody was asked for). `problem` says why it was not
    kept or signed as was asked for.
    """

    digest: str
    key: str | None = None
    signer: str | None = None
    problem: str = ""

    @property
    def signature(self) -> str:
        """Who vouches for it, in words."""
        if self.key is None:
            return "unsigned: nothing shows who recorded it"
        if self.signer is None:
            return f"signed with the key {self.key}, whose it is was not checked"
        return f"signed by {self.signer} with the key {self.key}"


class Change(StrEnum):
    """How a result differs from the baseline's; declared from the worst down."""

    NEW_FAILING = "new_failing"
    NEWLY_UNMEASURED = "newly_unmeasured"
    HOST_GONE = "host_gone"
    FIXED = "fixed"


@dataclass(frozen=True)
class Difference:
    """One change since the baseline; `control` is empty where a whole host is meant."""

    change: Change
    host: str
    control: str = ""
    before: str = ""
    now: str = ""


@dataclass(frozen=True)
class Drift:
    """The comparison with an earlier report, which started at `baseline` (RFC 3339)."""

    baseline: str
    differences: tuple[Difference, ...] = ()

    @property
    def worse(self) -> bool:
        """Whether anything of it is a turn for the worse."""
        return any(one.change is not Change.FIXED for one in self.differences)


@dataclass(frozen=True)
class Result:
    """One control on one host; `waiver` is there exactly when the status is `waived`."""

    control: str
    title: str
    severity: str
    host: str
    tier: str
    status: Status
    message: str
    remedy: str
    evidence: tuple[Excerpt, ...] = ()
    waiver: Waiver | None = None


@dataclass(frozen=True)
class Report:
    """A whole run. `left_out` are controls whose every test needs a vantage that was not asked for: not passed.

    `planned` are controls of the register that have no proof yet; `started` and `finished` are RFC 3339 in UTC, and of
    the run: recorded evidence was measured long before, as its hosts' rows tell.
    `warnings` are sentences that change no status, such as a waiver about to expire; `objections` are sentences about
    waivers and attestations that are not in order. `drift` is None where no baseline was given, `bundle` where the
    evidence was not kept.
    """

    version: str
    started: str
    finished: str
    hosts: tuple[HostRow, ...]
    results: tuple[Result, ...]
    planned: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    objections: tuple[str, ...] = ()
    drift: Drift | None = None
    bundle: Bundle | None = None

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
        if self.bundle is not None and self.bundle.problem:
            found.add(Exit.UNMEASURED)
        if self.objections:
            found.add(Exit.WAIVERS)
        if self.drift is not None and self.drift.worse:
            found.add(Exit.DRIFT)
        return next(status for status in PRECEDENCE if status in found)
