"""What a rule does, one step after the other: matches, changes to the packet, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, TypeAlias

from clawkeep.netfilter.fields import Field, View, read_field
from clawkeep.netfilter.packet import Packet
from clawkeep.netfilter.patterns import ABSENT, Pattern, Sets, Span, Value, hold, read_pattern
from clawkeep.netfilter.truth import Truth, negated

TERMINAL = {"accept": "accept", "drop": "drop", "reject": "drop"}
WITHOUT_EFFECT = frozenset(
    {"counter", "log", "comment", "ct helper", "ct timeout", "ct expectation", "secmark", "dup", "flow", "meter"}
)


@dataclass(frozen=True)
class Match:
    """Goes on if the packet matches; `operator` as in nft's JSON (==, !=, in, !, <, >, <=, >=)."""

    field: Field
    operator: str
    pattern: Pattern

    def truth(self, packet: Packet, view: View) -> Truth:
        """Whether the packet matches; what it does not have, it never matches, not even with `!=`."""
        value = self.field.look(packet, view)
        if value is ABSENT:
            return False
        return self._compare(value)

    def _compare(self, value: Value) -> Truth:
        match self.operator:
            case "==":
                return hold(self.pattern, value)
            case "!=":
                return negated(hold(self.pattern, value))
            case "in" | "!":
                names = getattr(self.pattern, "names", None)
                if names is None or not isinstance(value, frozenset):
                    return hold(self.pattern, value) if self.operator == "in" else None
                return bool(value & names) == (self.operator == "in")
            case "<" | ">" | "<=" | ">=" if isinstance(self.pattern, Span) and isinstance(value, int):
                return {
                    "<": value < self.pattern.low,
                    ">": value > self.pattern.high,
                    "<=": value <= self.pattern.high,
                    ">=": value >= self.pattern.low,
                }[self.operator]
        return None


@dataclass(frozen=True)
class Doubt:
    """Goes on or not, nobody can tell: rate limits, quotas, connection counts, opaque matches."""

    text: str


@dataclass(frozen=True)
class Verdict:
    """Ends the rule: accept, drop, return, continue, or a jump or goto to `target`."""

    kind: str
    target: str = ""


@dataclass(frozen=True)
class Choice:
    """A verdict map: the verdict of the first entry that holds the value; goes on when none does."""

    field: Field
    entries: tuple[tuple[Pattern, Verdict], ...]


@dataclass(frozen=True)
class Translate:
    """Destination NAT to a constant; None leaves a part as it is. `here` is redirect: to the host itself."""

    address: str | None
    port: int | None
    here: bool = False
    certain: bool = True


@dataclass(frozen=True)
class Change:
    """Sets `name` (an attribute of Packet) to `value`; None means to something that cannot be told."""

    name: str
    value: Any

    def apply(self, packet: Packet) -> Packet:
        """The packet afterwards."""
        return replace(packet, **{self.name: self.value})


@dataclass(frozen=True)
class Untrack:
    """Keeps connection tracking away from the packet."""


@dataclass(frozen=True)
class Anything:
    """An opaque target: it may accept, drop, or let the rules go on."""

    text: str


Step: TypeAlias = Match | Doubt | Verdict | Choice | Translate | Change | Untrack | Anything

# What `set` statements write to, by the name of the field.
CHANGES = {
    "mark": "mark",
    "ct mark": "connection_mark",
    **{f"{protocol} {name}": name for protocol in ("tcp", "udp", "th") for name in ("sport", "dport")},
}


def read_steps(expressions: Sequence[Mapping[str, Any]], sets: Sets) -> tuple[Step, ...]:
    """The steps of a rule's JSON expressions, without those that decide nothing."""
    steps = []
    for expression in expressions:
        (key, body), *_ = expression.items()
        step = _step(key, body, sets)
        if step is not None:
            steps.append(step)
    return tuple(steps)


def _step(key: str, body: Any, sets: Sets) -> Step | None:
    if key in TERMINAL:
        return Verdict(TERMINAL[key])
    if key in WITHOUT_EFFECT:
        return None
    match key:
        case "match":
            field = read_field(body["left"])
            return Match(field, str(body["op"]), read_pattern(body["right"], field.kinds, sets))
        case "return" | "continue":
            return Verdict(key)
        case "jump" | "goto":
            return Verdict(key, str(body["target"]))
        case "vmap":
            field = read_field(body["key"])
            return Choice(field, _entries(body["data"], field, sets))
        case "dnat" | "redirect":
            return _translate(body or {}, here=key == "redirect")
        case "masquerade" | "snat":
            # Where a packet may go does not depend on its new source: the chain just ends here.
            return Verdict("accept")
        case "notrack":
            return Untrack()
        case "mangle":
            return _change(body)
        case "set" | "map":
            # Adding to a set goes on, unless it carries a limit of its own.
            return Doubt(f"{key} with a limit") if isinstance(body, Mapping) and body.get("stmt") else None
        case "xt" if not (isinstance(body, Mapping) and body.get("type") == "match"):
            return Anything(str(body))
        case "queue" | "synproxy" | "fwd" | "tproxy":
            return Anything(key)
    return Doubt(key)


def _entries(data: Any, field: Field, sets: Sets) -> tuple[tuple[Pattern, Verdict], ...]:
    pairs = sets.members.get(data.removeprefix("@"), ()) if isinstance(data, str) else data.get("set", ())
    entries = []
    for key, verdict in pairs:
        (kind, body), *_ = verdict.items()
        target = str(body["target"]) if isinstance(body, Mapping) else ""
        entries.append((read_pattern(key, field.kinds, sets), Verdict(TERMINAL.get(kind, kind), target)))
    return tuple(entries)


def _translate(body: Mapping[str, Any], *, here: bool) -> Translate:
    address, port = body.get("addr"), body.get("port")
    certain = (address is None or isinstance(address, str)) and (port is None or isinstance(port, int))
    return Translate(
        address if isinstance(address, str) else None, port if isinstance(port, int) else None, here, certain
    )


def _change(body: Mapping[str, Any]) -> Step | None:
    field, value = read_field(body["key"]), body.get("value")
    if field.name in CHANGES:
        return Change(CHANGES[field.name], value if isinstance(value, int) else None)
    if field.name in ("ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr") and isinstance(value, str):
        return Change(field.name.split()[1], ip_address(value))
    if field.name == "pkttype" and isinstance(value, str):
        return Change("link_type", value)
    return None
