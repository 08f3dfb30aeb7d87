"""A broken world as it is declared, and as it is replayed from the patch that it left on good evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonpatch
import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from clawkeep.base import safe_yaml
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.verdict import Status
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.lab.bench.changes import Changes
from clawkeep.register.register import Control, Proof, sentence
from clawkeep.sabotage import gateway as gateways
from clawkeep.verify.report import Report

PATCH = ".patch.json"
AWAIT_SECONDS = 420  # how long a sabotage may take to be in force: an emulated gateway starts in minutes

_Id = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}-\d{2}$")]
_Shell = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class Kind(StrEnum):
    """A crude sabotage is what anyone would try; a subtle one is what a careless check would miss."""

    CRUDE = "crude"
    SUBTLE = "subtle"


@dataclass(frozen=True)
class Sabotage:
    """One way to break `control`; `red` are the controls that must fail for it, no more and no fewer.

    `unmeasured` are those that it makes unmeasurable. `tier` is the rank of the tier on whose host it is committed if
    that is not the lowest that its control binds. Agents take a turn in this world only where it says `turns`; what
    needs one is left out otherwise. `constructed` worlds cannot be made in the lab: their patch is written by hand.
    `do`, `awaiting` and `undo` are root shell on the lab host. `here` is shell on the machine that verifies, in
    the folder of the lab's inventory, which is written anew afterwards; $LEDGER is the schedule's. `gateway` is what
    is changed of the gateway alone, on the agent bench or on the lab host, whose shell text then follows from it.
    """

    stem: str
    control: str
    kind: Kind
    title: str
    red: frozenset[str]
    unmeasured: frozenset[str]
    do: str
    here: str
    awaiting: str
    undo: str
    constructed: bool
    tier: int | None
    turns: bool
    gateway: Changes | None
    path: Path

    def rank(self, controls: Mapping[str, Control]) -> int:
        """The rank of the tier on whose host it is committed."""
        return self.tier or controls[self.control].tier

    @property
    def patch(self) -> Path:
        """Where the recorded change of the good evidence lies."""
        return self.path.with_name(self.stem + PATCH)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    control: _Id
    kind: Literal["crude", "subtle"]
    title: Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\n]+$")]
    red: Annotated[list[_Id], Field(min_length=1)]
    unmeasured: list[_Id] = []
    do: _Shell = ""
    here: _Shell = ""
    awaiting: Annotated[_Shell, Field(alias="await")] = ""
    undo: _Shell = ""
    constructed: bool = False
    tier: Annotated[int, Field(ge=2)] | None = None
    turns: bool = False
    gateway: Changes | None = None


def read(path: Path) -> Sabotage:
    """The sabotage that `path` declares; raises ClawkeepError naming the file and what is wrong with it."""
    try:
        declared = _File.model_validate(safe_yaml.load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ClawkeepError(f"{path} cannot be read as YAML: {' '.join(str(problem).split())}") from None
    except ValidationError as problem:
        raise ClawkeepError(f"{path}: {sentence(problem)}") from None
    if not path.stem.startswith(f"{declared.control}-"):
        raise ClawkeepError(f"{path} breaks {declared.control}: its name must begin with {declared.control}-")
    if declared.control not in declared.red:
        raise ClawkeepError(f"{path}: red must contain {declared.control}, the control that it breaks")
    if bool(declared.do or declared.here or declared.gateway) == declared.constructed:
        raise ClawkeepError(
            f"{path}: give `gateway`, `do` or `here`, or say `constructed: true` where the lab cannot make this world"
        )
    shell = gateways.Shell(declared.do, declared.awaiting, declared.undo)
    if declared.gateway is not None:
        if any((*vars(shell).values(), declared.here)):
            raise ClawkeepError(
                f"{path}: `gateway` says all that is done, so leave `do`, `here`, `await` and `undo` out"
            )
        shell = gateways.shell(declared.gateway)
    return Sabotage(
        stem=path.stem,
        control=declared.control,
        kind=Kind(declared.kind),
        title=declared.title,
        red=frozenset(declared.red),
        unmeasured=frozenset(declared.unmeasured),
        do=shell.do,
        here=declared.here,
        awaiting=shell.awaiting,
        undo=shell.undo,
        constructed=declared.constructed,
        tier=declared.tier,
        turns=declared.turns,
        gateway=declared.gateway,
        path=path,
    )


def load(folder: Path) -> dict[str, Sabotage]:
    """Every sabotage at and below `folder` by its stem, in the order of the stems."""
    return {path.stem: read(path) for path in sorted(folder.rglob("*.yml"), key=lambda path: path.stem)}


def place(folder: Path, stem: str) -> Path:
    """Where the sabotage `stem` lies below `folder`: in a folder for its control's family."""
    return folder / stem.partition("-")[0].lower() / f"{stem}.yml"


def of_tier(known: Mapping[str, Sabotage], controls: Mapping[str, Control], rank: int) -> dict[str, Sabotage]:
    """Those that are committed on a host of the tier of that rank.

    Those of a planned control wait with it: no test could turn red.
    """
    return {
        stem: one
        for stem, one in known.items()
        if one.rank(controls) == rank and controls[one.control].proof is not Proof.PLANNED
    }


def read_patch(sabotage: Sabotage) -> list[dict[str, Any]]:
    """The operations of its recorded JSON Patch; raises ClawkeepError when it is missing or is none."""
    try:
        patch = json.loads(sabotage.patch.read_text(encoding="utf-8"))
    except FileNotFoundError:
        how = "write it by hand" if sabotage.constructed else "`clawkeep lab sabotage SCENARIO STEM --record` makes it"
        raise ClawkeepError(f"{sabotage.patch} is missing: {how}") from None
    except ValueError as problem:
        raise ClawkeepError(f"{sabotage.patch} is not JSON: {problem}") from None
    if not isinstance(patch, list):
        raise ClawkeepError(f"{sabotage.patch} is no JSON Patch")
    return patch


def broken(good: Observation, name: str, patch: Iterable[Mapping[str, Any]], source: str) -> Observation:
    """The good host with `patch` (read from `source`) applied to its evidence, as a host called `name`."""
    if good.evidence is None:
        raise ClawkeepError(f"the good evidence holds nothing of {good.host.name}: {good.message}")
    copy = json.loads(json.dumps(good.evidence.raw))  # ten times faster than the deep copy that jsonpatch would make
    try:
        raw = jsonpatch.apply_patch(copy, [dict(operation) for operation in patch], in_place=True)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError) as problem:
        raise ClawkeepError(f"{source} does not fit the good evidence: {problem}") from None
    return Observation(replace(good.host, name=name), good.site, HostEvidence(name, raw))


def statuses(report: Report, host: str, *wanted: Status) -> frozenset[str]:
    """The controls that have one of the `wanted` statuses on a host."""
    return frozenset(result.control for result in report.results if result.host == host and result.status in wanted)


def complaints(sabotage: Sabotage, report: Report, host: str) -> list[str]:
    """How what was seen differs from what the sabotage says must be seen, as sentences; none when it does not."""
    red = statuses(report, host, Status.FAIL)
    unmeasured = statuses(report, host, Status.INCONCLUSIVE, Status.ERROR)
    said = {result.control: result.message for result in report.results if result.host == host}
    return [
        *(
            f"{control} stayed green: {said.get(control, 'it was not judged')}"
            for control in sorted(sabotage.red - red)
        ),
        *(f"{control} turned red too: {said[control]}" for control in sorted(red - sabotage.red)),
        *(f"{control} was not measured: {said[control]}" for control in sorted(unmeasured - sabotage.unmeasured)),
        *(f"{control} was measured after all" for control in sorted(sabotage.unmeasured - unmeasured)),
    ]
