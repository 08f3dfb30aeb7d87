"""The journey of a packet through base chains: every world that the ruleset leaves open is followed to its end."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address

from clawkeep.netfilter.fields import CONNTRACK_PRIORITY, View
from clawkeep.netfilter.model import Chain, Rule, RuleTables, Table
from clawkeep.netfilter.packet import Packet, Surroundings
from clawkeep.netfilter.patterns import ABSENT, hold
from clawkeep.netfilter.steps import Anything, Change, Choice, Doubt, Match, Translate, Untrack, Verdict

ACCEPT, DROP, RETURN, FURTHER = "accept", "drop", "return", "further"
TRACKING_HOOKS = frozenset({"prerouting", "output"})


@dataclass(frozen=True)
class Site:
    """Where a verdict was given: a rule of a chain, or the chain's policy when `rule` is None."""

    chain: Chain
    rule: Rule | None

    def __str__(self) -> str:
        """Chain, number and text of the rule, as in "inet clawkeep input, handle 12: `tcp dport 22 accept`"."""
        if self.rule is None:
            policy = self.chain.hook.policy if self.chain.hook else "return"
            return f"{self.chain.title}, policy {policy}"
        number = f"rule {self.rule.number}" if self.rule.original else f"handle {self.rule.number}"
        return f"{self.chain.title}, {number}: `{self.rule.text}`"


@dataclass(frozen=True)
class End:
    """One possible end of a journey: `verdict` accept or drop, the packet as it came out, and who decided, in order."""

    verdict: str
    packet: Packet
    sites: tuple[Site, ...]


@dataclass(frozen=True)
class _State:
    """A world: what becomes of a packet at one point of a chain."""

    verdict: str
    packet: Packet
    site: Site | None = None


class Traveller:
    """Sends packets through one ruleset on one host."""

    def __init__(self, rules: RuleTables, around: Surroundings) -> None:
        """Take the ruleset and what it may ask of the host."""
        self.rules = rules
        self.around = around
        self._hooked = functools.cache(rules.hooked)

    def through(self, hook: str, packet: Packet, *, before: int | None = None) -> list[End]:
        """Every end that `packet` may meet at `hook`; `before` leaves out chains of that priority and later."""
        worlds = {packet: End(ACCEPT, packet, ())}
        ends: list[End] = []
        for table, chain in self._hooked(packet.family, hook, packet.iif):
            assert chain.hook is not None  # noqa: S101 - hooked() gives base chains only
            if before is not None and chain.hook.priority >= before:
                break
            onward: dict[Packet, End] = {}
            for end in worlds.values():
                if chain.hook.kind == "nat" and not _translatable(end.packet):
                    onward.setdefault(end.packet, end)
                    continue
                for state in self._base(table, chain, end.packet):
                    site = (state.site,) if state.site else ()
                    after = End(state.verdict, state.packet, end.sites + site)
                    if state.verdict == DROP:
                        ends.append(after)
                    else:
                        onward.setdefault(after.packet, after)
            worlds = onward
        return [*ends, *worlds.values()]

    def _base(self, table: Table, chain: Chain, packet: Packet) -> Iterator[_State]:
        hook = chain.hook
        assert hook is not None  # noqa: S101
        tracked = hook.name not in TRACKING_HOOKS or hook.priority >= CONNTRACK_PRIORITY
        view = View(self.around, tracked and hook.name != "ingress")
        seen: set[tuple[str, Packet]] = set()
        for state in self._chain(table, chain, packet, view):
            ended = state if state.verdict in (ACCEPT, DROP) else _State(hook.policy, state.packet, Site(chain, None))
            if (ended.verdict, ended.packet) not in seen:
                seen.add((ended.verdict, ended.packet))
                yield ended

    def _chain(self, table: Table, chain: Chain, packet: Packet, view: View) -> list[_State]:
        """The worlds in which a chain ends: accept, drop, or return."""
        here: list[Packet] = [packet]
        done: dict[tuple[str, Packet], _State] = {}
        for rule in chain.rules:
            if not here:
                break
            if all(_passes_by(rule, current, view) for current in here):
                continue
            onward: dict[Packet, None] = {}
            for current in here:
                for state in self._rule(table, chain, rule, current, view):
                    if state.verdict == FURTHER:
                        onward[state.packet] = None
                    else:
                        done.setdefault((state.verdict, state.packet), state)
            here = list(onward)
        for current in here:
            done.setdefault((RETURN, current), _State(RETURN, current))
        return list(done.values())

    def _rule(self, table: Table, chain: Chain, rule: Rule, packet: Packet, view: View) -> Iterator[_State]:
        """The worlds after one rule."""
        for step in rule.steps:
            match step:
                case Match():
                    truth = step.truth(packet, view)
                    if truth is not True:
                        yield _State(FURTHER, packet)
                    if truth is False:
                        return
                case Doubt():
                    yield _State(FURTHER, packet)
                case Verdict():
                    yield from self._verdict(table, step, packet, view, Site(chain, rule))
                    return
                case Choice():
                    surely = yield from self._choice(table, step, packet, view, Site(chain, rule))
                    if surely:
                        return
                case Translate():
                    yield from self._translate(step, packet, Site(chain, rule))
                    return
                case Change():
                    packet = step.apply(packet)
                case Untrack():
                    if not view.tracked:
                        packet = replace(packet, state="untracked")
                case Anything():
                    yield _State(ACCEPT, packet, Site(chain, rule))
                    yield _State(DROP, packet, Site(chain, rule))
        yield _State(FURTHER, packet)

    def _verdict(self, table: Table, step: Verdict, packet: Packet, view: View, site: Site) -> Iterator[_State]:
        if step.kind == "continue":
            yield _State(FURTHER, packet)
        elif step.kind in ("jump", "goto"):
            target = table.chains.get(step.target)
            if target is None:
                yield from self._anything(packet, site)
                return
            back = FURTHER if step.kind == "jump" else RETURN
            for state in self._chain(table, target, packet, view):
                yield _State(back, state.packet) if state.verdict == RETURN else state
        else:
            yield _State(step.kind, packet, site)

    def _anything(self, packet: Packet, site: Site) -> Iterable[_State]:
        return [_State(ACCEPT, packet, site), _State(DROP, packet, site), _State(FURTHER, packet)]

    def _choice(
        self, table: Table, step: Choice, packet: Packet, view: View, site: Site
    ) -> Generator[_State, None, bool]:
        """The worlds of a verdict map; returns whether one of its entries surely applied."""
        value = step.field.look(packet, view)
        if value is ABSENT:
            yield _State(FURTHER, packet)
            return True
        for pattern, verdict in step.entries:
            truth = hold(pattern, value)
            if truth is not False:
                yield from self._verdict(table, verdict, packet, view, site)
            if truth:
                return True
        return False

    def _translate(self, step: Translate, packet: Packet, site: Site) -> Iterator[_State]:
        address = ip_address(step.address) if step.address else None
        if step.here:
            own = sorted(self.around.addresses.get(packet.iif, ()), key=int)
            address = next((item for item in own if item.version == packet.daddr.version), packet.daddr)
        if address is not None and address.version != packet.daddr.version:
            address = None
        yield _State(ACCEPT, packet.translated(address, step.port), site)
        if not step.certain:
            yield _State(ACCEPT, packet, site)


def _passes_by(rule: Rule, packet: Packet, view: View) -> bool:
    """Whether the first thing that a rule asks is surely not so, as for most rules and packets: it leaves no trace."""
    return bool(rule.steps) and isinstance(rule.steps[0], Match) and rule.steps[0].truth(packet, view) is False


def _translatable(packet: Packet) -> bool:
    """NAT chains see the first packet of a tracked connection, and only until one of them translated it."""
    return packet.state == "new" and "dnat" not in packet.status
