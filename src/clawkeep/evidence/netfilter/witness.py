"""Packets that stand for all others.

Rules tell packets apart only by the constants they compare with. Between two neighbouring constants every value fares
alike, so one value out of each such class stands for all of it: a closed world can be checked packet by packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from clawkeep.evidence.netfilter.fields import Field
from clawkeep.evidence.netfilter.model import Chain, RuleTables, Table
from clawkeep.evidence.netfilter.patterns import Flags, Pattern, Span, Word, leaves
from clawkeep.evidence.netfilter.steps import Choice, Match, Verdict

T = TypeVar("T")


@dataclass(frozen=True)
class Constants:
    """The constants that the rules of some hooks compare each field with, by the field's name."""

    found: tuple[tuple[str, Span | Word | Flags], ...]

    def spans(self, *names: str) -> list[Span]:
        """The numeric constants of these fields."""
        return [item for name, item in self.found if name in names and isinstance(item, Span)]

    def words(self, *names: str) -> list[Word]:
        """The names that these fields are compared with."""
        return [item for name, item in self.found if name in names and isinstance(item, Word)]

    def flags(self, *names: str) -> list[frozenset[str]]:
        """The flag sets that these fields are compared with."""
        return [item.names for name, item in self.found if name in names and isinstance(item, Flags)]


def constants(rules: RuleTables, hooks: Sequence[str]) -> Constants:
    """What the chains that can be reached from `hooks` compare with."""
    found: dict[tuple[str, Span | Word | Flags], None] = {}
    for table in rules.tables:
        starts = [chain for chain in table.chains.values() if chain.hook and chain.hook.name in hooks]
        for chain in _reachable(table, starts):
            for rule in chain.rules:
                for step in rule.steps:
                    for field, pattern in _comparisons(step):
                        for item in _constants(field, pattern):
                            found[item] = None
    return Constants(tuple(found))


def _reachable(table: Table, starts: Iterable[Chain]) -> Iterator[Chain]:
    todo, seen = list(starts), set()
    while todo:
        chain = todo.pop()
        if chain.name in seen:
            continue
        seen.add(chain.name)
        yield chain
        for rule in chain.rules:
            for step in rule.steps:
                verdicts = [step] if isinstance(step, Verdict) else []
                verdicts += [verdict for _, verdict in step.entries] if isinstance(step, Choice) else []
                todo += [table.chains[verdict.target] for verdict in verdicts if verdict.target in table.chains]


def _comparisons(step: object) -> Iterator[tuple[Field, Pattern]]:
    if isinstance(step, Match):
        yield step.field, step.pattern
    elif isinstance(step, Choice):
        for pattern, _ in step.entries:
            yield step.field, pattern


def _constants(field: Field, pattern: Pattern) -> Iterator[tuple[str, Span | Word | Flags]]:
    if not field.parts:
        yield from ((field.name, leaf) for leaf in leaves(pattern))
    for index, part in enumerate(field.parts):
        yield from ((part.name, leaf) for leaf in leaves(pattern, index))


def classes(spans: Iterable[Span], low: int, high: int, preferred: Sequence[int] = ()) -> list[int]:
    """One number out of each class that `spans` make of low..high; one of `preferred` where the class has one."""
    cuts = {low}
    for span in spans:
        cuts |= {cut for cut in (span.low, span.high + 1) if low < cut <= high}
    edges = [*sorted(cuts), high + 1]
    return [next((number for number in preferred if begin <= number < end), begin) for begin, end in pairwise(edges)]


def distinct(values: Iterable[T], signature: Callable[[T], object]) -> list[T]:
    """The first value of each signature, in order."""
    kept: dict[object, T] = {}
    for value in values:
        kept.setdefault(signature(value), value)
    return list(kept.values())


def alike(words: Sequence[Word]) -> Callable[[str], tuple[bool, ...]]:
    """The signature of a name: which of `words` hold it."""
    return lambda name: tuple(bool(word.holds(name)) for word in words)
