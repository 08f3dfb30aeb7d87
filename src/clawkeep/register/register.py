"""The register of controls: the front matter of docs/controls/*.md, and the files that each control is bound to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from clawkeep.base import safe_yaml
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.errors import sentence as sentence  # the border's modules take it from here
from clawkeep.register import frameworks

ID = re.compile(r"[A-Z]{3}-\d{2}")

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True, pattern=r"^[^\n]+$")]


class Severity(StrEnum):
    """How bad a violation is; declared from the worst down."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Proof(StrEnum):
    """How a control is decided: by tests, by a person, or not yet."""

    AUTOMATED = "automated"
    MANUAL = "manual"
    PLANNED = "planned"


@dataclass(frozen=True)
class Control:
    """One promise: whom it binds (`tier`: the lowest rank), how bad its breach is, and the command that restores it."""

    id: str
    title: str
    tier: int
    severity: Severity
    proof: Proof
    waivable: bool
    remedy: str
    maps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    page: Path = Path()
    body: str = field(default="", repr=False)

    @property
    def area(self) -> str:
        """The part of the id that names its subject: `NET`."""
        return self.id.partition("-")[0]

    @property
    def module_prefix(self) -> str:
        """How the file names of its tests begin: `test_net_03_`."""
        return f"test_{self.id.lower().replace('-', '_')}_"


class _FrontMatter(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}-\d{2}$")]
    title: Text
    tier: Literal[1, 2, 3]
    severity: Literal["critical", "high", "medium", "low"]
    status: Literal["automated", "manual", "planned"]
    waivable: bool
    remedy: Text
    maps: dict[str, list[Text]] = {}


def read_page(path: Path) -> Control:
    """The control that one page declares; raises ClawkeepError naming the file and what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ClawkeepError(f"{path} cannot be read: {problem}") from None
    parts = re.split(r"^---[ \t]*\n", text, maxsplit=2, flags=re.M)
    if len(parts) != 3 or parts[0]:
        raise ClawkeepError(f"{path} must begin with front matter between two lines of `---`")
    try:
        page = _FrontMatter.model_validate(safe_yaml.load(parts[1]))
    except yaml.YAMLError as problem:
        raise ClawkeepError(f"{path}: the front matter is not YAML: {' '.join(str(problem).split())}") from None
    except ValidationError as problem:
        raise ClawkeepError(f"{path}: {sentence(problem)}") from None
    if page.id != path.stem:
        raise ClawkeepError(f"{path} declares {page.id}; a page is named after its control")
    unknown = _unknown(page.maps)
    if unknown:
        raise ClawkeepError(f"{path} maps {page.id} to {unknown}")
    return Control(
        id=page.id,
        title=page.title,
        tier=page.tier,
        severity=Severity(page.severity),
        proof=Proof(page.status),
        waivable=page.waivable,
        remedy=page.remedy,
        maps={key: tuple(ids) for key, ids in page.maps.items()},
        page=path,
        body=parts[2],
    )


def _unknown(maps: Mapping[str, Sequence[str]]) -> str:
    """What of a page's mapping the frameworks' lists do not know, as the end of a sentence; empty when all is known."""
    known = frameworks.load()
    for key, ids in maps.items():
        if key not in known:
            return f"{key}, which is no framework: they are {', '.join(known)}"
        for name in ids:
            if name not in known[key].ids:
                return f"{key} {name}, which {known[key].name} {known[key].version} does not have"
        if len(set(ids)) < len(ids):
            return f"one id of {key} twice"
    return ""


def load(folder: Path) -> dict[str, Control]:
    """Every control of the register by id, in the order of ids; raises ClawkeepError at the first malformed page."""
    pages = sorted(folder.glob("*.md"))
    if not pages:
        raise ClawkeepError(f"the register {folder} has no page")
    return {control.id: control for control in map(read_page, pages)}
