"""The register against a framework, both ways: which control answers which id, and why an id has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clawkeep.register.frameworks import Framework, Gap
from clawkeep.register.register import Control, Proof


@dataclass(frozen=True)
class Coverage:
    """One framework, id by id. `mapped` are ids in the framework's order with the controls that map to them.

    `gaps` are the reasons of the framework's file, each with those of its ids that are really without a control;
    `unexplained` are ids without a control and without a reason, `stale` those that have both.
    """

    framework: Framework
    mapped: Mapping[str, tuple[Control, ...]]
    gaps: tuple[Gap, ...]
    unexplained: tuple[str, ...]
    stale: tuple[str, ...]

    @property
    def missing(self) -> int:
        """How many ids are in scope and have no control; one without a reason is in scope."""
        return sum(len(gap.ids) for gap in self.gaps if gap.in_scope) + len(self.unexplained)

    @property
    def in_scope(self) -> int:
        """How many ids there is something to do for: those with a control, and those that are missing."""
        return len(self.mapped) + self.missing

    @property
    def proved(self) -> int:
        """How many ids have a control that is more than planned."""
        return sum(any(c.proof is not Proof.PLANNED for c in controls) for controls in self.mapped.values())


def of(framework: Framework, controls: Mapping[str, Control]) -> Coverage:
    """How the register covers one framework."""
    by_id = {
        name: tuple(control for control in controls.values() if name in control.maps.get(framework.key, ()))
        for name in framework.ids
    }
    mapped = {name: found for name, found in by_id.items() if found}
    excused = {name for gap in framework.not_mapped for name in gap.ids}
    gaps = tuple(
        Gap(left, gap.in_scope, gap.reason)
        for gap in framework.not_mapped
        if (left := tuple(name for name in gap.ids if name not in mapped))
    )
    return Coverage(
        framework=framework,
        mapped=mapped,
        gaps=gaps,
        unexplained=tuple(name for name in framework.ids if name not in mapped and name not in excused),
        stale=tuple(name for name in framework.ids if name in mapped and name in excused),
    )


def percent(part: int, whole: int) -> str:
    """`part` of `whole` in whole per cent, rounded down: only all of it is 100 %."""
    return f"{100 * part // whole} %" if whole else "-"
