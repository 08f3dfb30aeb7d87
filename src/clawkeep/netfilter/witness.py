"""Packets that stand for all others.

Rules tell values of a field apart only by the patterns they compare it with. Values on which every pattern answers
alike fare alike, so one value out of each such class stands for all of it: a closed world can be checked packet by
packet. Where the expectation makes exceptions, its own constants must cut the classes too, or the one value that is
tried could be the one that is allowed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from clawkeep.netfilter.fields import Field
from clawkeep.netfilter.model import Chain, RuleTables, Table
from clawkeep.netfilter.patterns import Flags, Pattern, Span, Word, leaves
from clawkeep.netfilter.steps import Choice, Match, Verdict

T = TypeVar("T")
Leaf: TypeAlias = Span | Word | Flags
Group: TypeAlias = tuple[Span, ...]


@dataclass(frozen=True)
class Constants:
    """What the rules of some hooks compare each field with, by the field's name: one group of constants a pattern."""

    found: tuple[tuple[str, tuple[Leaf, ...]], ...]

    def cut_by(self, exceptions: Mapping[str, Iterable[Group]]) -> Constants:
        """These constants, and those of an expectation by the field's name."""
        cuts = tuple((name, group) for name, groups in exceptions.items() for group in groups)
        return Constants(self.found + cuts)

    def spans(self, *names: str) -> list[Group]:
        """The groups of numbers that these fields are compared with."""
        groups = (
            tuple(leaf for leaf in group if isinstance(leaf, Span)) for name, group in self.found if name in names
        )
        return [group for group in groups if group]

    def words(self, *names: str) -> list[Word]:
        """The names that these fields are compared with."""
        return [leaf for name, group in self.found if name in names for leaf in group if isinstance(leaf, Word)]

    def flags(self, *names: str) -> list[frozenset[str]]:
        """The flag sets that these fields are compared with."""
        return [leaf.names for name, group in self.found if name in names for leaf in group if isinstance(leaf, Flags)]


def constants(rules: RuleTables, hooks: Sequence[str]) -> Constants:
    """What the chains that can be reached from `hooks` compare with."""
    found: dict[tuple[str, tuple[Leaf, ...]], None] = {}
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


def _constants(field: Field, pattern: Pattern) -> Iterator[tuple[str, tuple[Leaf, ...]]]:
    if not field.parts:
        yield field.name, tuple(leaves(pattern))
    for index, part in enumerate(field.parts):
        # Members of a set of concatenations differ in their other parts: each is a pattern of its own.
        yield from ((part.name, (leaf,)) for leaf in leaves(pattern, index))


def classes(groups: Sequence[Group], low: int, high: int, preferred: Sequence[int] = ()) -> list[int]:
    """One number of low..high out of each class that `groups` tell apart, one of `preferred` where it has one."""
    merged = [_merged(group) for group in groups]
    cuts = {low} | {cut for group in groups for span in group for cut in (span.low, span.high + 1)}
    candidates = [number for number in (*preferred, *sorted(cuts)) if low <= number <= high]
    return distinct(candidates, lambda number: tuple(_within(spans, number) for spans in merged))


def _merged(group: Group) -> tuple[list[int], list[int]]:
    """The first and the last numbers of a group's spans, which neither touch nor overlap any more."""
    lows: list[int] = []
    highs: list[int] = []
    for span in sorted(group, key=lambda span: span.low):
        if highs and span.low <= highs[-1] + 1:
            highs[-1] = max(highs[-1], span.high)
        else:
            lows.append(span.low)
            highs.append(span.high)
    return lows, highs


def _within(spans: tuple[list[int], list[int]], number: int) -> bool:
    lows, highs = spans
    index = bisect_right(lows, number)
    return index > 0 and number <= highs[index - 1]


def distinct(values: Iterable[T], signature: Callable[[T], object]) -> list[T]:
    """The first value of each signature, in order."""
    kept: dict[object, T] = {}
    for value in values:
        kept.setdefault(signature(value), value)
    return list(kept.values())


def alike(words: Sequence[Word]) -> Callable[[str], tuple[bool, ...]]:
    """The signature of a name: which of `words` hold it."""
    return lambda name: tuple(bool(word.holds(name)) for word in words)
