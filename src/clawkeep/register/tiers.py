"""The tiers: `playbooks/group_vars/tier*.yml`, read as literal YAML, never through Ansible's merged variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from clawkeep.base import safe_yaml
from clawkeep.base.errors import ClawkeepError

PREFIX = "tier"


@dataclass(frozen=True)
class Tier(Mapping[str, Any]):
    """One tier's settings by key; `name` is its inventory group, `rank` its strictness (1 is the lowest)."""

    name: str
    rank: int
    settings: Mapping[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        """Make the settings read-only: they are every test's oracle."""
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    def __getitem__(self, key: str) -> Any:
        """The value of one key; a key that the tier file does not spell out is a mistake of the test, not a default."""
        try:
            return self.settings[key]
        except KeyError:
            raise KeyError(f"{key} is no key of the tier file {self.name}.yml") from None

    def __iter__(self) -> Iterator[str]:
        """The keys of the tier file."""
        return iter(self.settings)

    def __len__(self) -> int:
        """How many keys the tier file has."""
        return len(self.settings)

    def __hash__(self) -> int:
        """By name and rank: two tiers of one name never meet in a run."""
        return hash((self.name, self.rank))


def parse(name: str, settings: object, source: str) -> Tier:
    """The tier in `settings`, which was read from `source`; raises ClawkeepError naming what is wrong."""
    if not isinstance(settings, Mapping):
        raise ClawkeepError(f"{source} is not a mapping of settings")
    tier = settings.get("tier")
    rank = tier.get("rank") if isinstance(tier, Mapping) else None
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise ClawkeepError(f"{source} must have `tier: {{name: ..., rank: N}}` with a rank of 1 or more")
    return Tier(name, rank, {str(key): value for key, value in settings.items()})


def load(folder: Path) -> dict[str, Tier]:
    """The tiers of `folder` by group name, in order of rank; raises ClawkeepError when there is none."""
    found = []
    for path in sorted(folder.glob(f"{PREFIX}*.yml")):
        try:
            settings = safe_yaml.load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
            raise ClawkeepError(f"{path} cannot be read as YAML: {_line(problem)}") from None
        found.append(parse(path.stem, settings, str(path)))
    if not found:
        raise ClawkeepError(f"there is no tier file {folder}/{PREFIX}*.yml")
    found.sort(key=lambda tier: tier.rank)
    for lower, higher in pairwise(found):
        if lower.rank == higher.rank:
            raise ClawkeepError(f"the tiers {lower.name} and {higher.name} both have rank {lower.rank}")
    return {tier.name: tier for tier in found}


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split())
