"""Tables, chains and rules, read from `nft -j list ruleset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from clawkeep.base.verdict import Unmeasured
from clawkeep.netfilter.patterns import Sets
from clawkeep.netfilter.render import rendered
from clawkeep.netfilter.steps import Step, read_steps


@dataclass(frozen=True)
class Rule:
    """One rule; `expressions` are nft's JSON statements, `text` is how its own tool writes it."""

    number: int  # the handle in nft; in iptables the position, from 1
    expressions: Sequence[Mapping[str, Any]]
    sets: Sets = field(repr=False)
    original: str = ""

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """What the rule does, in order."""
        return read_steps(self.expressions, self.sets)

    @cached_property
    def text(self) -> str:
        """The rule as a person would type it."""
        return self.original or rendered(self.expressions)


@dataclass(frozen=True)
class Hook:
    """Where the kernel calls a base chain: `kind` filter, nat or route; lower priorities come first."""

    kind: str
    name: str
    priority: int
    policy: str
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chain:
    """A chain; `hook` is None unless the kernel calls it by itself."""

    family: str
    table: str
    name: str
    hook: Hook | None
    rules: tuple[Rule, ...]

    @property
    def title(self) -> str:
        """Family, table and name, as nft wants them."""
        return f"{self.family} {self.table} {self.name}"


@dataclass(frozen=True)
class Table:
    """A table with its chains by name; `xtables` tells that it was read from iptables."""

    family: str
    name: str
    chains: Mapping[str, Chain]
    sets: Sets = field(default_factory=lambda: Sets({}))
    xtables: bool = False

    @property
    def title(self) -> str:
        """Family and name."""
        return f"{self.family} {self.name}"


# Families whose chains see packets of an IP family; an inet table sees both.
SEES = {"ip": ("ip", "inet"), "ip6": ("ip6", "inet")}


@dataclass(frozen=True)
class RuleTables:
    """A ruleset: tables in the order in which they were listed."""

    tables: tuple[Table, ...]

    def table(self, family: str, name: str) -> Table | None:
        """The table of this family and name, None when there is none."""
        return next((table for table in self.tables if (table.family, table.name) == (family, name)), None)

    def hooked(self, family: str, hook: str, interface: str = "") -> list[tuple[Table, Chain]]:
        """The base chains that see a packet of `family` (ip, ip6) at `hook`, first called first."""
        found = []
        for table in self.tables:
            for chain in table.chains.values():
                if chain.hook is None or chain.hook.name != hook:
                    continue
                sees = interface in chain.hook.devices if hook == "ingress" else table.family in SEES[family]
                if sees:
                    found.append((table, chain))
        return sorted(found, key=lambda pair: pair[1].hook.priority if pair[1].hook else 0)

    def compile(self) -> None:
        """Take every rule apart now: one of a form that does not exist raises here, not in the middle of a journey."""
        for table in self.tables:
            for chain in table.chains.values():
                for rule in chain.rules:
                    _ = rule.steps


def read_tables(listing: object) -> RuleTables:
    """The ruleset in nft's JSON; raises `Unmeasured` for anything else."""
    objects = listing.get("nftables") if isinstance(listing, Mapping) else None
    if not isinstance(objects, list):
        raise Unmeasured("`nft -j` printed no ruleset")
    heads: dict[tuple[str, str], None] = {}
    sets: dict[tuple[str, str], dict[str, Sequence[Any]]] = {}
    volatile: dict[tuple[str, str], set[str]] = {}
    chains: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    rules: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for item in objects:
        (kind, body), *_ = item.items()
        where = (str(body.get("family")), str(body.get("table", body.get("name"))))
        if kind == "table":
            heads[where] = None
        elif kind in ("set", "map"):
            name = str(body["name"])
            sets.setdefault(where, {})[name] = body.get("elem") or ()
            if {"dynamic", "timeout"} & set(body.get("flags") or ()):
                volatile.setdefault(where, set()).add(name)
        elif kind == "chain":
            chains.setdefault(where, {})[str(body["name"])] = body
        elif kind == "rule":
            rules.setdefault((*where, str(body["chain"])), []).append(body)
    tables = []
    for family, name in heads:
        where = (family, name)
        held = Sets(sets.get(where, {}), frozenset(volatile.get(where, ())))
        built = {
            chain: Chain(
                family,
                name,
                chain,
                _hook(body),
                tuple(
                    Rule(int(rule["handle"]), rule.get("expr") or (), held) for rule in rules.get((*where, chain), ())
                ),
            )
            for chain, body in chains.get(where, {}).items()
        }
        tables.append(Table(family, name, built, held))
    return RuleTables(tuple(tables))


def _hook(body: Mapping[str, Any]) -> Hook | None:
    if "hook" not in body:
        return None
    devices = body.get("dev") or ()
    return Hook(
        kind=str(body.get("type")),
        name=str(body["hook"]),
        priority=int(body.get("prio", 0)),
        policy=str(body.get("policy", "accept")),
        devices=(devices,) if isinstance(devices, str) else tuple(devices),
    )
