"""The frameworks that pages map to: their ids, in our own words, and why an id has no control.

One YAML file a framework: `name`, `version`, `ids` (id: what it asks for in a few words, or nothing where the id says
it itself), and `not_mapped`, a list of `{ids, in_scope, reason}`. An id there may be the beginning of several, up to a
dot: `"7"` means 7.1, 7.2 and so on. Only ids and our own words are kept here, no framework's text.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from clawkeep.base import safe_yaml
from clawkeep.base.errors import ClawkeepError, sentence

NAMES = ("cis_docker", "cis_controls", "nist_800_190", "owasp_asi", "openclaw")
FOLDER = Path(__file__).parent

Line = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True, pattern=r"^[^\n]+$")]


@dataclass(frozen=True)
class Gap:
    """Ids that no control maps to, with the reason; `in_scope` says whether they count as missing."""

    ids: tuple[str, ...]
    in_scope: bool
    reason: str


@dataclass(frozen=True)
class Framework:
    """A framework as far as pages may map to it: `ids` with our own few words, in the framework's order."""

    key: str
    name: str
    version: str
    ids: Mapping[str, str]
    not_mapped: tuple[Gap, ...]


class _Gap(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    ids: Annotated[list[Line], Field(min_length=1)]
    in_scope: bool
    reason: Line


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Line
    version: Line
    ids: Annotated[dict[Line, Line | None], Field(min_length=1)]
    not_mapped: list[_Gap]


def read(path: Path) -> Framework:
    """The framework that one file describes; raises ClawkeepError naming the file and what is wrong with it."""
    try:
        file = _File.model_validate(safe_yaml.load_unique(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ClawkeepError(f"{path} cannot be read as YAML: {' '.join(str(problem).split())}") from None
    except ValidationError as problem:
        raise ClawkeepError(f"{path}: {sentence(problem)}") from None
    gaps = tuple(Gap(_expand(gap.ids, file.ids, path), gap.in_scope, gap.reason) for gap in file.not_mapped)
    twice = [name for name, count in Counter(name for gap in gaps for name in gap.ids).items() if count > 1]
    if twice:
        raise ClawkeepError(f"{path} gives two reasons for {twice[0]} under not_mapped: one is enough")
    ids = {name: words or "" for name, words in file.ids.items()}
    return Framework(path.stem, file.name, file.version, ids, gaps)


@functools.cache
def load() -> Mapping[str, Framework]:
    """Every framework by key, in the order in which reports name them."""
    return {name: read(FOLDER / f"{name}.yml") for name in NAMES}


def _expand(wanted: list[str], known: Mapping[str, object], path: Path) -> tuple[str, ...]:
    found = []
    for one in wanted:
        ids = [name for name in known if name == one or name.startswith(f"{one}.")]
        if not ids:
            raise ClawkeepError(f"{path}: not_mapped names {one}, which is no id of it and begins none")
        found += ids
    return tuple(found)
