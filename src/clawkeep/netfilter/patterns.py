"""What a rule compares with: constants, ranges, prefixes, wildcards, concatenations and sets of these.

Numbers, addresses (as integers; the field says which family), enumerations with a numeric value and ports are `Span`s;
interface names and other words are `Word`s; flag sets are `Flags`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from clawkeep.evidence.parsing import number
from clawkeep.netfilter.packet import PROTOCOLS
from clawkeep.netfilter.truth import Truth, all_of, any_of


class Unknowable:
    """A value that a rule looks at and the evaluator cannot know, such as the time of day or a length."""


class Absent:
    """A value that the packet does not have, such as the port of an ICMP packet: the expression then never matches."""


UNKNOWN = Unknowable()
ABSENT = Absent()

Value: TypeAlias = "int | str | frozenset[str] | tuple[Any, ...] | Unknowable | Absent"


@dataclass(frozen=True)
class Span:
    """The numbers from `low` to `high`, both included."""

    low: int
    high: int

    def holds(self, value: Value) -> Truth:
        """Whether a number lies within."""
        return self.low <= value <= self.high if isinstance(value, int) else None


@dataclass(frozen=True)
class Word:
    """A name; a trailing `*` stands for anything."""

    text: str

    def holds(self, value: Value) -> Truth:
        """Whether a name is this one or begins as it does."""
        if not isinstance(value, str):
            return None
        return value.startswith(self.text[:-1]) if self.text.endswith("*") else value == self.text


@dataclass(frozen=True)
class Flags:
    """Exactly these flags."""

    names: frozenset[str]

    def holds(self, value: Value) -> Truth:
        """Whether a set of flags is the same one."""
        return value == self.names if isinstance(value, frozenset) else None


@dataclass(frozen=True)
class Concatenation:
    """One pattern for each part of a concatenated value."""

    parts: tuple[Pattern, ...]

    def holds(self, value: Value) -> Truth:
        """Whether every part holds its value."""
        if not isinstance(value, tuple) or len(value) != len(self.parts):
            return None
        return all_of(hold(part, item) for part, item in zip(self.parts, value, strict=True))


@dataclass(frozen=True)
class Members:
    """Any of these patterns. Packets themselves add to a `volatile` set, so that nothing is surely outside of it."""

    patterns: tuple[Pattern, ...]
    volatile: bool = False

    def holds(self, value: Value) -> Truth:
        """Whether one of the members holds the value."""
        found = any_of(hold(pattern, value) for pattern in self.patterns)
        return None if found is False and self.volatile else found


@dataclass(frozen=True)
class Opaque:
    """A constant that the evaluator cannot read."""

    text: str

    def holds(self, value: Value) -> Truth:  # noqa: ARG002 - the same question for every kind of pattern
        """Cannot be told."""
        return None


Pattern: TypeAlias = Span | Word | Flags | Concatenation | Members | Opaque


def hold(pattern: Pattern, value: Value) -> Truth:
    """Whether `pattern` holds `value`; what is unknown about either is unknown of the answer."""
    return None if isinstance(value, Unknowable) else pattern.holds(value)


def leaves(pattern: Pattern, index: int | None = None) -> Iterator[Span | Word | Flags]:
    """The constants of a pattern; `index` picks one part of concatenations."""
    if isinstance(pattern, Members):
        for member in pattern.patterns:
            yield from leaves(member, index)
    elif isinstance(pattern, Concatenation):
        if index is not None and index < len(pattern.parts):
            yield from leaves(pattern.parts[index])
    elif not isinstance(pattern, Opaque):
        yield pattern


# --- kinds of values, by the field that is compared ----------------------------------------------------------------

Reader: TypeAlias = Callable[[Any], "Pattern | None"]

ICMP = {
    "echo-reply": 0,
    "destination-unreachable": 3,
    "source-quench": 4,
    "redirect": 5,
    "echo-request": 8,
    "router-advertisement": 9,
    "router-solicitation": 10,
    "time-exceeded": 11,
    "parameter-problem": 12,
    "timestamp-request": 13,
    "timestamp-reply": 14,
    "info-request": 15,
    "info-reply": 16,
    "address-mask-request": 17,
    "address-mask-reply": 18,
}
ICMPV6 = {
    "destination-unreachable": 1,
    "packet-too-big": 2,
    "time-exceeded": 3,
    "parameter-problem": 4,
    "echo-request": 128,
    "echo-reply": 129,
    "mld-listener-query": 130,
    "mld-listener-report": 131,
    "mld-listener-done": 132,
    "mld-listener-reduction": 132,
    "nd-router-solicit": 133,
    "nd-router-advert": 134,
    "nd-neighbor-solicit": 135,
    "nd-neighbor-advert": 136,
    "nd-redirect": 137,
    "router-renumbering": 138,
    "ind-neighbor-solicit": 141,
    "ind-neighbor-advert": 142,
    "mld2-listener-report": 143,
}


def _number(names: Mapping[str, int]) -> Reader:
    def read(constant: Any) -> Pattern | None:
        if isinstance(constant, bool):
            return None
        if isinstance(constant, str):
            constant = names[constant] if constant in names else number(constant)
        return Span(constant, constant) if isinstance(constant, int) else None

    return read


def _address(version: int) -> Reader:
    def read(constant: Any) -> Pattern | None:
        try:
            address = ipaddress.ip_address(constant) if isinstance(constant, str) else None
        except ValueError:
            return None
        return Span(int(address), int(address)) if address is not None and address.version == version else None

    return read


def _word(constant: Any) -> Pattern | None:
    return Word(constant) if isinstance(constant, str) else None


def _flags(constant: Any) -> Pattern | None:
    names = flag_names(constant)
    return None if names is None else Flags(names)


def flag_names(constant: Any) -> frozenset[str] | None:
    """The flags in `"syn"`, `["fin", "syn"]`, `{"|": [..]}`, 0; None when there is more to it."""
    if constant == 0:
        return frozenset()
    if isinstance(constant, str):
        return frozenset({constant})
    items = constant.get("|") if isinstance(constant, Mapping) and len(constant) == 1 else constant
    if not isinstance(items, Sequence):
        return None
    parts = [flag_names(item) for item in items]
    return None if None in parts else frozenset().union(*(part for part in parts if part is not None))


READERS: dict[str, Reader] = {
    "number": _number({}),
    "protocol": _number(PROTOCOLS),
    "icmp": _number(ICMP),
    "icmpv6": _number(ICMPV6),
    "address4": _address(4),
    "address6": _address(6),
    "word": _word,
    "flags": _flags,
    "opaque": lambda _: None,
}


@dataclass(frozen=True)
class Sets:
    """The named sets and maps of one table: `members` by name (nft's JSON elements), and which are volatile."""

    members: Mapping[str, Sequence[Any]]
    volatile: frozenset[str] = frozenset()


def read_pattern(constant: Any, kinds: Sequence[str], sets: Sets) -> Pattern:
    """The pattern in the right side of a match; `kinds` are the kinds of the left side's parts."""
    if isinstance(constant, str) and constant.startswith("@"):
        name = constant[1:]
        if name not in sets.members:
            return Opaque(constant)
        items = (read_pattern(item, kinds, sets) for item in sets.members[name])
        return Members(tuple(items), name in sets.volatile)
    if isinstance(constant, Mapping) and len(constant) == 1:
        (key, value), *_ = constant.items()
        nested = _nested(key, value, kinds, sets)
        if nested is not None:
            return nested
    pattern = READERS[kinds[0]](constant) if len(kinds) == 1 else None
    return pattern if pattern is not None else Opaque(str(constant))


def _nested(key: str, value: Any, kinds: Sequence[str], sets: Sets) -> Pattern | None:
    match key:
        case "set":
            items = value if isinstance(value, list) else [value]
            return Members(tuple(read_pattern(item, kinds, sets) for item in items))
        case "elem":
            return read_pattern(value.get("val"), kinds, sets)
        case "concat" if len(value) == len(kinds):
            return Concatenation(
                tuple(read_pattern(item, [kind], sets) for item, kind in zip(value, kinds, strict=True))
            )
        case "range" if len(kinds) == 1:
            low, high = (read_pattern(end, kinds, sets) for end in value)
            if isinstance(low, Span) and isinstance(high, Span):
                return Span(low.low, high.high)
        case "prefix" if len(kinds) == 1:
            return _prefix(value, kinds[0])
    return None


def _prefix(value: Mapping[str, Any], kind: str) -> Pattern | None:
    if kind not in ("address4", "address6"):
        return None
    try:
        network = ipaddress.ip_network(f"{value['addr']}/{value['len']}", strict=False)
    except (KeyError, ValueError):
        return None
    return Span(int(network.network_address), int(network.broadcast_address))
