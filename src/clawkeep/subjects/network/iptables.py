"""Destination NAT in force: which addresses and ports the kernel hands on to containers.

Both of Docker's backends are read alike: iptables' nat tables, and the tables `docker-bridges` of nft.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from clawkeep.evidence.document import HostEvidence
from clawkeep.netfilter.model import Rule, RuleTables
from clawkeep.netfilter.packet import PROTOCOL_NAMES
from clawkeep.netfilter.patterns import Span, leaves
from clawkeep.netfilter.steps import Match, Translate
from clawkeep.subjects.network.ruleset import Ruleset

ADDRESSES = {"ip daddr": IPv4Address, "ip6 daddr": IPv6Address}
TRANSPORTS = ("tcp", "udp", "sctp")
ANY_PORT = 0
ANYWHERE = "?"


@dataclass(frozen=True)
class Dnat:
    """One port that a rule of destination NAT takes.

    `family` is that of the table (ip, ip6, inet); `listen` the address or network asked for, None for every address;
    `port` is 0 where the rule takes all ports, or a range that ends in `last`; `protocol` is `any` where it does not
    say. `to_address` is `?` where it is not a constant. `source` names the chain, `text` is the rule.
    """

    family: str
    protocol: str
    listen: str | None
    port: int
    last: int
    to_address: str
    source: str
    text: str


def published(host: HostEvidence) -> list[Dnat]:
    """Every rule of destination NAT to another address; raises `Unmeasured` when the rules were not listed."""
    ruleset = host.subject(Ruleset)
    return [*_translations(ruleset.xtables), *_translations(ruleset.native)]


def _translations(rules: RuleTables) -> Iterator[Dnat]:
    for table in rules.tables:
        for chain in table.chains.values():
            for rule in chain.rules:
                for step in rule.steps:
                    if isinstance(step, Translate) and not step.here:
                        yield _translation(table.family, chain.title, rule, step)


def _translation(family: str, source: str, rule: Rule, step: Translate) -> Dnat:
    port = next((span for name in TRANSPORTS for span in _spans(rule, f"{name} dport")), None)
    port = port or next(iter(_spans(rule, "th dport")), Span(ANY_PORT, ANY_PORT))
    return Dnat(
        family=family,
        protocol=_protocol(rule),
        listen=_listen(rule),
        port=port.low,
        last=port.high,
        to_address=step.address or ANYWHERE,
        source=source,
        text=rule.text,
    )


def _protocol(rule: Rule) -> str:
    named = next((name for name in TRANSPORTS if _spans(rule, f"{name} dport")), None)
    number = next(iter(_spans(rule, "protocol")), None)
    return named or (PROTOCOL_NAMES.get(number.low, str(number.low)) if number else "any")


def _listen(rule: Rule) -> str | None:
    for name, kind in ADDRESSES.items():
        for span in _spans(rule, name):
            low, high = kind(span.low), kind(span.high)
            return str(low) if low == high else f"{low}-{high}"
    return None


def _spans(rule: Rule, field: str) -> list[Span]:
    """The ranges that the rule asks this field to be in."""
    return [
        leaf
        for step in rule.steps
        if isinstance(step, Match) and step.field.name == field and step.operator == "=="
        for leaf in leaves(step.pattern)
        if isinstance(leaf, Span)
    ]
