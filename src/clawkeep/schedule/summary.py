"""What a run's report.json says, as far as the schedule needs it: read as a stranger's file, told in a few lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clawkeep.base.errors import ClawkeepError, sentence
from clawkeep.base.verdict import Status
from clawkeep.report.terminal import MEANINGS
from clawkeep.schedule.notice import Level, Notice
from clawkeep.site.ledger import Attempt, Seen
from clawkeep.verify.report import SCHEMA, Exit

REPORT = "report.json"
CAP = 256 * 1024 * 1024  # bytes; a thousand hosts with a hundred controls take some 150 MB
JUDGED = frozenset({Status.PASS, Status.FAIL, Status.WAIVED})  # somebody looked, and it was decided
LOUD = (Status.FAIL, Status.ERROR, Status.INCONCLUSIVE)


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Host(_Lenient):
    name: str
    tier: str
    reached: bool
    message: str = ""


class _Result(_Lenient):
    control: str
    host: str
    tier: str
    status: Status
    message: str = ""


class _Bundle(_Lenient):
    key: str | None = None


class Report(_Lenient):
    """The parts of report.json that are used here; what else it holds is left alone."""

    schema_: Literal[1] = Field(alias="schema")
    exit_status: int
    hosts: tuple[_Host, ...]
    results: tuple[_Result, ...]
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    objections: tuple[str, ...] = ()
    bundle: _Bundle | None = None

    @property
    def seen(self) -> dict[str, Seen]:
        """How far each host was measured; see `ledger.Attempt`."""
        judged = {result.host for result in self.results if result.status in JUDGED}
        return {
            host.name: "lost" if not host.reached else "measured" if host.name in judged else "reached"
            for host in self.hosts
        }

    @property
    def counts(self) -> dict[str, int]:
        """How many results have each status."""
        found = Counter(result.status for result in self.results)
        return {status.value: found[status] for status in Status}

    @property
    def per_host(self) -> dict[tuple[str, str], dict[Status, int]]:
        """The same by host and tier."""
        found = {(host.name, host.tier): dict.fromkeys(Status, 0) for host in self.hosts}
        for result in self.results:
            key = (result.host, result.tier)
            if key in found:
                found[key][result.status] += 1
        return found


def read(folder: Path) -> Report:
    """The report in `folder`; raises ClawkeepError when there is none that can be used."""
    path = folder / REPORT
    try:
        with path.open("rb") as file:
            data = file.read(CAP + 1)
    except OSError as problem:
        raise ClawkeepError(f"{path} cannot be read: {problem.strerror}") from None
    if len(data) > CAP:
        raise ClawkeepError(f"{path} is larger than {CAP // 1024 // 1024} MB: that is no report")
    try:
        raw: Any = json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise ClawkeepError(f"{path} is not JSON: {problem}") from None
    schema = raw.get("schema") if isinstance(raw, Mapping) else None
    if schema != SCHEMA:
        raise ClawkeepError(f"{path} has schema {schema!r}, this Clawkeep reads schema {SCHEMA}")
    try:
        return Report.model_validate(raw)
    except ValidationError as problem:
        raise ClawkeepError(f"{path}: {sentence(problem)}") from None


@dataclass(frozen=True)
class Story:
    """One attempt as it is told: what it found, what it lacks to count as a run, and where to read more."""

    node: str
    attempt: Attempt
    report: Report | None
    folder: Path

    @property
    def level(self) -> Level:
        """How loud it is told."""
        if not self.attempt.complete:
            return Level.ERROR
        return Level.INFO if self.attempt.exit_status == Exit.GREEN else Level.WARNING

    def notice(self, *, again_green: bool = False) -> Notice:
        """The message for people."""
        status = self.attempt.exit_status
        meaning = MEANINGS[Exit(status)] if status in set(Exit) else "it did not end by itself"
        state = f"exit status {status}" if status is not None else "no exit status"
        subject = f"{self.node}: {meaning} ({state}); {self._counted()}"
        if not self.attempt.complete:
            subject = f"{self.node}: the run does not count: {self.attempt.shortcomings()[0]}"
        elif again_green:
            subject = f"{self.node}: in order again; {self._counted()}"
        return Notice.of(self.level, subject, self._lines(meaning, state), self._data())

    def _counted(self) -> str:
        counts = self.attempt.counts
        told = [
            f"{count} {name}" for name, count in counts.items() if count and name in {"fail", "error", "inconclusive"}
        ]
        hosts = f"{self.attempt.count('measured')} of {len(self.attempt.hosts)} hosts measured"
        return ", ".join([*told, hosts])

    def _lines(self, meaning: str, state: str) -> list[str]:
        lines = [f"{meaning} ({state}), started {self.attempt.started}, finished {self.attempt.finished}"]
        lines.append(f"on {self.node}: {self.folder}")
        lines.append("  ".join(f"{name} {count}" for name, count in self.attempt.counts.items() if count))
        lines += [f"this run does not count: {said}" for said in self.attempt.shortcomings()]
        if self.report is not None:
            lines += [f"{host.name} was not reached: {host.message}" for host in self.report.hosts if not host.reached]
            reached = {host.name for host in self.report.hosts if host.reached}
            loud = [one for one in self.report.results if one.status in LOUD and one.host in reached]
            loud.sort(key=lambda one: (LOUD.index(one.status), one.control, one.host))
            lines += [f"{one.status} {one.control} on {one.host}: {one.message}" for one in loud]
            lines += [f"objection: {said}" for said in self.report.objections]
            lines += [f"warning: {said}" for said in self.report.warnings]
        return [line for line in lines if line]

    def _data(self) -> Mapping[str, Any]:
        return {
            "node": self.node,
            "exit_status": self.attempt.exit_status,
            "complete": self.attempt.complete,
            "started": self.attempt.started,
            "finished": self.attempt.finished,
            "hosts_expected": len(self.attempt.hosts),
            "hosts_reached": self.attempt.count("measured", "reached"),
            "counts": self.attempt.counts,
        }
