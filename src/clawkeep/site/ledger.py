"""The ledger of a control node: when the schedule was set up, its last attempts, and what the watch saw.

One JSON file, `schedule.json` (schema 1). Programs on the node change it under a lock; `clawkeep verify` reads it from
wherever it runs, for LOG-09 is judged by it.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from clawkeep.base import atomic, clock
from clawkeep.base.errors import ClawkeepError, sentence
from clawkeep.site.period import SECONDS

SCHEMA = 1
FILE = "schedule.json"
CAP = 16 * 1024 * 1024  # bytes; thirty attempts on a thousand hosts take one
NAME = r"\d{8}T\d{6}Z(?:-\d{1,3})?"


def _time(text: str) -> str:
    clock.moment(text)
    return text


def _period(text: str) -> str:
    if text not in SECONDS:
        raise ValueError(f"a period is one of {', '.join(SECONDS)}")
    return text


Time = Annotated[str, AfterValidator(_time)]
Period = Annotated[str, AfterValidator(_period)]
Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
Seen = Literal["measured", "reached", "lost"]


class _Border(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Attempt(_Border):
    """One scheduled run, whatever came of it.

    `hosts` are those of the inventory: `lost` was not reached, `reached` gave nothing that could be judged, `measured`
    has at least one control that passed, failed or was waived. `exit_status` is None when `clawkeep verify` did not end
    by itself; `trouble` says why there is no report. `invocation` is systemd's id of the service's start.
    """

    name: Name
    started: Time
    finished: Time
    exit_status: int | None
    hosts: dict[str, Seen] = {}
    left_out: int = 0
    signed_by: str | None = None
    counts: dict[str, int] = {}
    trouble: str = ""
    invocation: str = ""

    def count(self, *wanted: Seen) -> int:
        """How many hosts were seen so."""
        return sum(seen in wanted for seen in self.hosts.values())

    def shortcomings(self) -> tuple[str, ...]:
        """Why it does not count as a run, in sentences; none when it was complete."""
        found = shortcomings(
            expected=len(self.hosts),
            reached=self.count("measured", "reached"),
            measured=self.count("measured"),
            left_out=self.left_out,
            signed=self.signed_by is not None,
        )
        return (self.trouble, *found) if self.trouble else found

    @property
    def complete(self) -> bool:
        """Whether it counts as a run: green or not, it measured what it was to measure."""
        return not self.shortcomings()


def shortcomings(*, expected: int, reached: int, measured: int, left_out: int, signed: bool) -> tuple[str, ...]:
    """Why a run over `expected` hosts does not count as one, in sentences; none when it does."""
    found = []
    if not expected:
        found.append("it verified no host")
    if reached < expected:
        found.append(f"{expected - reached} of {expected} hosts were not reached")
    if measured < reached:
        found.append(f"on {reached - measured} of {reached} hosts nothing could be judged")
    if left_out:
        found.append(f"{left_out} controls were left out")
    if not signed:
        found.append("its evidence is not signed")
    return tuple(found)


class Watch(_Border):
    """What the staleness watch saw last: `complaints`, none when all is well, and when people heard of them."""

    looked: Time | None = None
    complaints: tuple[str, ...] = ()
    told: Time | None = None
    invocation: str = ""


class Ledger(_Border):
    """The whole file; `attempts` are in the order of time. `established` is when the schedule was set up."""

    schema_: Literal[1] = Field(alias="schema", default=1)
    node: str
    period: Period
    established: Time
    watch: Watch = Watch()
    attempts: tuple[Attempt, ...] = ()

    @property
    def last_complete(self) -> Attempt | None:
        """The last attempt that counts as a run."""
        return next((one for one in reversed(self.attempts) if one.complete), None)

    def with_attempt(self, attempt: Attempt, keep: int) -> Ledger:
        """The ledger with one attempt more; of the old ones the last `keep` stay, and the last complete one always."""
        every = (*self.attempts, attempt)
        newest = every[-keep:]
        complete = next((one for one in reversed(every) if one.complete), None)
        kept = newest if complete is None or complete in newest else (complete, *newest)
        return self.model_copy(update={"attempts": kept})


def parse(text: str | bytes, source: str) -> Ledger:
    """The ledger in `text`, which was read from `source`; raises ClawkeepError saying what is wrong with it."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ClawkeepError(f"{source} is no ledger of a schedule: {problem}") from None
    schema = raw.get("schema") if isinstance(raw, Mapping) else None
    if schema != SCHEMA:
        later = isinstance(schema, int) and schema > SCHEMA
        how = "was written by a later Clawkeep: update this one" if later else "is no ledger of a schedule"
        raise ClawkeepError(f"{source} has schema {schema!r}; it {how}")
    try:
        return Ledger.model_validate_json(text)
    except ValidationError as problem:
        raise ClawkeepError(f"{source}: {sentence(problem)}") from None


def read(path: Path) -> Ledger:
    """The ledger at `path`; raises ClawkeepError when there is none or when it cannot be used."""
    try:
        with path.open("rb") as file:
            data = file.read(CAP + 1)
    except FileNotFoundError:
        raise ClawkeepError(f"there is no ledger {path}: `clawkeep schedule establish` begins one") from None
    except OSError as problem:
        raise ClawkeepError(f"{path} cannot be read: {problem.strerror}") from None
    if len(data) > CAP:
        raise ClawkeepError(f"{path} is larger than {CAP // 1024 // 1024} MB: that is no ledger")
    return parse(data, str(path))


def establish(path: Path, node: str, period: str, at: str) -> bool:
    """Begin a ledger at `path` unless there is one, so that a missing first run is noticed; whether one was begun."""
    with _locked(path):
        if path.exists():
            return False
        _save(path, Ledger(node=node, period=period, established=at))
        return True


def change(path: Path, alter: Callable[[Ledger], Ledger]) -> Ledger:
    """Put `alter` of the ledger in its place, with nobody else changing it meanwhile; the new ledger."""
    with _locked(path):
        ledger = alter(read(path))
        _save(path, ledger)
        return ledger


def _save(path: Path, ledger: Ledger) -> None:
    document: dict[str, Any] = ledger.model_dump(mode="json", by_alias=True)
    try:
        atomic.write(path, (json.dumps(document, indent=1) + "\n").encode("utf-8", "backslashreplace"))
    except OSError as problem:
        raise ClawkeepError(f"the ledger {path} cannot be written: {problem.strerror}") from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        lock = atomic.lock(path.with_suffix(".lock"))
    except OSError as problem:
        raise ClawkeepError(f"the ledger {path} cannot be locked: {problem.strerror}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
