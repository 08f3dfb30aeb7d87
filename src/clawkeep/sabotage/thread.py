"""All that carries one control's id, from the task that remedies it to the worlds that break it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.repo import Repo
from clawkeep.evidence.document import Citation, HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register import register, tiers
from clawkeep.register.register import Control, Proof
from clawkeep.sabotage import collected, world
from clawkeep.sabotage.record import recorded
from clawkeep.sabotage.world import Kind, Sabotage
from clawkeep.subjects.table import SUBJECTS
from clawkeep.verify.evaluate import run_suite
from clawkeep.verify.plugin import INSIDE, Evaluation

Read = tuple[str, str]  # a vantage, and a path in its document such as `facts/sysctl`


@dataclass(frozen=True)
class Task:
    """A task of a role or a playbook, or an import of tasks, that wears the control's tag."""

    path: Path
    line: int
    name: str


@dataclass(frozen=True)
class Key:
    """What the control's tests read of a recorded good host; `modules` record it, `experiments` act on it for that."""

    vantage: str
    path: str
    modules: tuple[Path, ...]
    experiments: tuple[Path, ...]


@dataclass(frozen=True)
class Thread:
    """One control's whole thread; what is not there yet is told by `missing`."""

    control: Control
    tasks: tuple[Task, ...]
    tests: tuple[Path, ...]
    subjects: Mapping[str, Path]  # by the name of the fixture
    keys: tuple[Key, ...]
    sabotages: tuple[Sabotage, ...]

    @property
    def experiments(self) -> tuple[Path, ...]:
        """The modules that act on a host so that the control can be judged."""
        return tuple(sorted({path for key in self.keys for path in key.experiments}))

    @property
    def missing(self) -> tuple[str, ...]:
        """Sentences about parts that are still to come; a control that a person checks needs none of them."""
        if self.control.proof is Proof.MANUAL:
            return ()
        kinds = {one.kind for one in self.sabotages}
        parts = (
            (self.tasks, f"no task of a role or a playbook wears the tag {self.control.id}"),
            (self.tests, f"no module {self.control.module_prefix}*.py proves it"),
            *((kind in kinds, f"no {kind} sabotage breaks it") for kind in Kind),
        )
        return tuple(sentence for there, sentence in parts if not there)


def of(control: Control, checkout: Repo) -> Thread:
    """The thread of a control; raises ClawkeepError for files of the checkout that cannot be read."""
    tests = tuple(sorted(checkout.suite.rglob(f"{control.module_prefix}*.py")))
    known = world.load(checkout.sabotages).values()
    family = checkout.suite / control.area.lower()
    read = read_by_tests({control.id: control}, _good_hosts(control, checkout), family, checkout)
    return Thread(
        control=control,
        tasks=tuple(tasks(checkout, control.id)),
        tests=tests,
        subjects=dict(sorted(item for path in tests for item in _subjects(path, checkout))),
        keys=tuple(_keys(read, checkout)),
        sabotages=tuple(one for one in known if one.control == control.id),
    )


# --- tasks -----------------------------------------------------------------------------------------------------------


def tasks(checkout: Repo, tag: str) -> Iterator[Task]:
    """Every task that wears `tag`, in the order of files and lines."""
    folders = (checkout.roles.glob("*/tasks/*.yml"), checkout.roles.glob("*/handlers/*.yml"))
    for path in sorted([*(path for folder in folders for path in folder), *checkout.playbooks.glob("*.yml")]):
        text = path.read_text(encoding="utf-8")
        if tag not in text:
            continue
        try:
            yield from _tagged(path, yaml.compose(text, Loader=yaml.SafeLoader), tag)
        except yaml.YAMLError as problem:
            raise ClawkeepError(f"{path} cannot be read as YAML: {' '.join(str(problem).split())}") from None


def _tagged(path: Path, node: yaml.Node | None, tag: str) -> Iterator[Task]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _tagged(path, item, tag)
    elif isinstance(node, yaml.MappingNode):
        parts = {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}
        if tag in _words(parts.get("tags")):
            yield Task(path, node.start_mark.line + 1, next(iter(_words(parts.get("name") or parts.get("role"))), ""))
        for value in parts.values():
            yield from _tagged(path, value, tag)


def _words(node: yaml.Node | None) -> list[str]:
    """The texts of a list; a single one may hold several, with commas between."""
    if isinstance(node, yaml.SequenceNode):
        return [str(item.value) for item in node.value]
    if isinstance(node, yaml.ScalarNode):
        return [str(node.value), *(word.strip() for word in str(node.value).split(","))]
    return []


# --- tests and what they read ----------------------------------------------------------------------------------------


def _subjects(path: Path, checkout: Repo) -> Iterator[tuple[str, Path]]:
    """The subjects that a test module asks for, as a fixture or by its class."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    names = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    classes = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for name, kind in SUBJECTS.items():
        if name in names or kind.__name__ in classes:
            yield name, _source(kind, checkout)


def _source(kind: type, checkout: Repo) -> Path:
    return checkout.root.joinpath("src", *kind.__module__.split(".")).with_suffix(".py")


class _Watched(HostEvidence):
    """Evidence that remembers all that was ever read of it."""

    def __init__(self, name: str, raw: Mapping[str, Any]) -> None:
        super().__init__(name, raw)
        self.everything: set[Read] = set()

    def take_citations(self) -> list[Citation]:
        self.everything |= self.cited | {(name, path) for name, doc in self._documents.items() for path in doc.read}
        return super().take_citations()


def read_by_tests(
    controls: Mapping[str, Control], hosts: Iterable[Observation], suite: Path, checkout: Repo
) -> frozenset[Read]:
    """What the tests of these controls at and below the folder `suite` read when they judge these hosts."""
    pairs = [(one, _Watched(one.host.name, one.evidence.raw)) for one in hosts if one.evidence is not None]
    watched = [Observation(one.host, one.site, evidence) for one, evidence in pairs]
    if watched and suite.is_dir():
        run_suite(Evaluation(controls, watched, frozenset(register.load(checkout.controls))), suite, checkout.root)
    return frozenset(read for _, evidence in pairs for read in evidence.everything)


def _good_hosts(control: Control, checkout: Repo) -> Iterator[Observation]:
    for tier in tiers.load(checkout.tiers).values():
        if tier.rank >= control.tier and (checkout.recorded / tier.name).is_dir():
            yield recorded(checkout, tier.name)


def _keys(read: Iterable[Read], checkout: Repo) -> Iterator[Key]:
    """What was read, with who records it: the collector on the host, or a module of `measure` from elsewhere."""
    source = checkout.root / "src" / "clawkeep"
    known = collected.recorded(source / "collector")
    for vantage, path in sorted(read, key=lambda one: (one[0] != INSIDE, one)):
        key = path.partition("/")[2]
        if vantage == INSIDE:
            by = [one for one in known if one.fits(key)]
            modules = {one.module for one in by}
            experiments = {experiment for one in by for experiment in one.experiments}
        else:
            modules, experiments = set((source / "measure").rglob(f"{vantage}.py")), set()
        yield Key(vantage, path, tuple(sorted(modules)), tuple(sorted(experiments)))
