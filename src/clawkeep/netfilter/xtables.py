"""iptables' tables as `iptables-save` prints them, turned into tables of the evaluator.

nft shows most of what iptables-nft made as opaque `xt` expressions, and nothing of legacy iptables; iptables-save
tells both in full. Rules become the JSON expressions nft itself would have for them; what is not understood becomes
an opaque `xt` expression, so that the evaluator follows both worlds.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from clawkeep.evidence.parsing import number
from clawkeep.netfilter.model import Chain, Hook, Rule, Table
from clawkeep.netfilter.patterns import Sets

Expression: TypeAlias = dict[str, Any]

BASE: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "raw": {"PREROUTING": ("filter", -300), "OUTPUT": ("filter", -300)},
    "mangle": {
        "PREROUTING": ("filter", -150),
        "INPUT": ("filter", -150),
        "FORWARD": ("filter", -150),
        "OUTPUT": ("route", -150),
        "POSTROUTING": ("filter", -150),
    },
    "nat": {
        "PREROUTING": ("nat", -100),
        "INPUT": ("nat", 100),
        "OUTPUT": ("nat", -100),
        "POSTROUTING": ("nat", 100),
    },
    "filter": {"INPUT": ("filter", 0), "FORWARD": ("filter", 0), "OUTPUT": ("filter", 0)},
    "security": {"INPUT": ("filter", 50), "FORWARD": ("filter", 50), "OUTPUT": ("filter", 50)},
}

COUNTED = re.compile(r"^\[\d+:\d+\] ")
STATES = frozenset({"new", "established", "related", "invalid", "untracked"})
HEAD = re.compile(r"^:(?P<chain>\S+) (?P<policy>\S+)")


def read_save(lines: Sequence[str], family: str) -> list[Table]:
    """The tables in the output of iptables-save (`family` ip) or ip6tables-save (ip6), counters or not."""
    tables: list[Table] = []
    name = ""
    policies: dict[str, str] = {}
    rules: dict[str, list[list[str]]] = {}
    for line in lines:
        if line.startswith("*"):
            name, policies, rules = line[1:].strip(), {}, {}
        elif head := HEAD.match(line):
            policies[head["chain"]] = head["policy"]
        elif line == "COMMIT":
            tables.append(_table(family, name, policies, rules))
        else:
            words = shlex.split(COUNTED.sub("", line), comments=line.startswith("#"))
            if words[:1] == ["-A"]:
                rules.setdefault(words[1], []).append(words[2:])
    return tables


def _table(family: str, name: str, policies: Mapping[str, str], rules: Mapping[str, Sequence[Sequence[str]]]) -> Table:
    chains = {}
    for chain, policy in policies.items():
        hook = None
        if chain in BASE.get(name, {}):
            kind, priority = BASE[name][chain]
            hook = Hook(kind, chain.lower(), priority, "drop" if policy == "DROP" else "accept")
        built = tuple(
            Rule(number, _expressions(words, family), Sets({}), original=f"-A {chain} {' '.join(words)}")
            for number, words in enumerate(rules.get(chain, ()), start=1)
        )
        chains[chain] = Chain(family, name, chain, hook, built)
    return Table(family, name, chains, xtables=True)


# --- one rule ------------------------------------------------------------------------------------------------------


def _expressions(words: Sequence[str], family: str) -> list[Expression]:
    matches: list[Expression] = []
    targets: list[Expression] = []
    target: str | None = None
    options: dict[str, list[str]] = {}
    module = ""
    for option, arguments, negated in _options(words):
        if option in ("-j", "-g"):
            target = arguments[0] if arguments else ""
            targets = [{"goto": {"target": target}}] if option == "-g" else []
        elif target is not None:
            options[option] = arguments
        elif option == "-m":
            module = arguments[0] if arguments else ""
            if module not in MODULES:
                matches.append(_opaque(module))
        else:
            matches.extend(_match(option, arguments, negated, family))
    if target is not None and not targets:
        targets = _target(target, options)
    return [*matches, {"counter": None}, *targets]


def _options(words: Sequence[str]) -> Iterator[tuple[str, list[str], bool]]:
    """The options of a rule with their arguments, and whether a `!` stood before them."""
    option, negated, pending = "", False, False
    arguments: list[str] = []
    for word in words:
        if word == "!":
            pending = True
        elif word.startswith("-") and len(word) > 1 and number(word[1]) is None:
            if option:
                yield option, arguments, negated
            option, arguments, negated, pending = word, [], pending, False
        else:
            arguments.append(word)
    if option:
        yield option, arguments, negated


def _opaque(name: str, kind: str = "match") -> Expression:
    return {"xt": {"type": kind, "name": name}}


def _compare(left: Expression, right: Any, negated: bool, operator: str = "==") -> Expression:
    return {"match": {"op": "!=" if negated else operator, "left": left, "right": right}}


def _meta(key: str) -> Expression:
    return {"meta": {"key": key}}


def _payload(protocol: str, field: str) -> Expression:
    return {"payload": {"protocol": protocol, "field": field}}


def _range(text: str) -> Any:
    low, colon, high = text.partition(":")
    if not colon:
        return int(low)
    return {"range": [int(low or 0), int(high or 65535)]}


def _network(text: str) -> Any:
    network = ipaddress.ip_network(text, strict=False)
    if network.prefixlen == network.max_prefixlen:
        return str(network.network_address)
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def _interface(text: str) -> str:
    return f"{text[:-1]}*" if text.endswith("+") else text


def _states(arguments: Sequence[str]) -> Any:
    states = _lower(arguments)
    if not STATES.issuperset(states):
        raise ValueError(arguments[0])  # SNAT and DNAT are no states of nft
    return {"set": states}


def _lower(arguments: Sequence[str]) -> list[str]:
    return [word.lower() for word in arguments[0].split(",")]


Translation: TypeAlias = Callable[[Sequence[str], str], tuple[Expression, Any]]

# Options whose whole meaning is one comparison: what is compared, and with what.
COMPARISONS: dict[str, Translation] = {
    "-i": lambda a, _: (_meta("iifname"), _interface(a[0])),
    "-o": lambda a, _: (_meta("oifname"), _interface(a[0])),
    "-s": lambda a, family: (_payload(family, "saddr"), _network(a[0])),
    "-d": lambda a, family: (_payload(family, "daddr"), _network(a[0])),
    "-p": lambda a, _: (_meta("l4proto"), a[0] if (found := number(a[0])) is None else found),
    "--sport": lambda a, _: (_payload("th", "sport"), _range(a[0])),
    "--dport": lambda a, _: (_payload("th", "dport"), _range(a[0])),
    "--sports": lambda a, _: (_payload("th", "sport"), {"set": [_range(part) for part in a[0].split(",")]}),
    "--dports": lambda a, _: (_payload("th", "dport"), {"set": [_range(part) for part in a[0].split(",")]}),
    "--tcp-flags": lambda a, _: ({"&": [_payload("tcp", "flags"), _lower(a)]}, _lower(a[1:])),
    "--ctstate": lambda a, _: ({"ct": {"key": "state"}}, _states(a)),
    "--state": lambda a, _: ({"ct": {"key": "state"}}, _states(a)),
    "--ctorigdst": lambda a, family: ({"ct": {"key": f"{family} daddr", "dir": "original"}}, _network(a[0])),
    "--ctorigsrc": lambda a, family: ({"ct": {"key": f"{family} saddr", "dir": "original"}}, _network(a[0])),
    "--ctorigdstport": lambda a, _: ({"ct": {"key": "proto-dst", "dir": "original"}}, _range(a[0])),
    "--ctorigsrcport": lambda a, _: ({"ct": {"key": "proto-src", "dir": "original"}}, _range(a[0])),
    "--ctdir": lambda a, _: ({"ct": {"key": "direction"}}, a[0].lower()),
    "--dst-type": lambda a, _: ({"fib": {"result": "type", "flags": ["daddr"]}}, {"set": _lower(a)}),
    "--src-type": lambda a, _: ({"fib": {"result": "type", "flags": ["saddr"]}}, {"set": _lower(a)}),
    "--pkt-type": lambda a, _: (_meta("pkttype"), "host" if a[0] == "unicast" else a[0]),
    "--uid-owner": lambda a, _: (_meta("skuid"), {"range": [int(end) for end in (a[0].split("-") * 2)[:2]]}),
    "--src-range": lambda a, family: (_payload(family, "saddr"), {"range": a[0].split("-")}),
    "--dst-range": lambda a, family: (_payload(family, "daddr"), {"range": a[0].split("-")}),
    "--icmp-type": lambda a, _: (_payload("icmp", "type"), int(a[0])),
    "--icmpv6-type": lambda a, _: (_payload("icmpv6", "type"), int(a[0])),
}
# Modules all of whose common options are above or mean nothing here; `limit` is a doubt like any other.
MODULES = frozenset(
    {
        "tcp",
        "udp",
        "sctp",
        "udplite",
        "icmp",
        "icmp6",
        "multiport",
        "conntrack",
        "state",
        "addrtype",
        "pkttype",
        "owner",
        "iprange",
        "comment",
        "mark",
    }
)


def _match(option: str, arguments: Sequence[str], negated: bool, family: str) -> list[Expression]:
    if option == "--comment":
        return []
    try:
        if option == "--mark":
            return [_mark(arguments[0], negated)]
        if option in COMPARISONS:
            left, right = COMPARISONS[option](arguments, family)
            return [_compare(left, right, negated)]
    except (IndexError, ValueError):
        pass  # an argument of a form that is not known here
    return [_opaque(option)]


def _mark(text: str, negated: bool) -> Expression:
    value, _, mask = text.partition("/")
    left = _meta("mark")
    if mask and int(mask, 0) != 0xFFFFFFFF:
        left = {"&": [left, int(mask, 0)]}
    return _compare(left, int(value, 0), negated)


PLAIN = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "RETURN": "return", "MASQUERADE": "masquerade"}
HARMLESS = frozenset({"LOG", "NFLOG", "TRACE", "CHECKSUM", "TCPMSS", "CLASSIFY", "DSCP", "TOS", "TTL", "HL"})


def _target(name: str, options: Mapping[str, Sequence[str]]) -> list[Expression]:
    if name in PLAIN:
        return [{PLAIN[name]: None}]
    if name in HARMLESS:
        return []
    try:
        match name:
            case "DNAT":
                return [_destination(options["--to-destination"][0])]
            case "REDIRECT":
                ports = options.get("--to-ports")
                return [{"redirect": {"port": int(ports[0])} if ports else None}]
            case "SNAT":
                return [{"snat": None}]
            case "MARK" | "CONNMARK":
                return [_set_mark(name, options)]
            case "CT" | "NOTRACK" if name == "NOTRACK" or "--notrack" in options:
                return [{"notrack": None}]
    except (KeyError, IndexError, ValueError):
        return [_opaque(name, "target")]
    if name.isupper() and name in XT_TARGETS:
        return [_opaque(name, "target")]
    return [{"jump": {"target": name}}]


# Kernel targets that decide in ways not followed here; any other name is a chain's.
XT_TARGETS = frozenset(
    {
        "CT",
        "DNAT",
        "REDIRECT",
        "NFQUEUE",
        "QUEUE",
        "NETMAP",
        "TPROXY",
        "SYNPROXY",
        "SET",
        "TEE",
        "SECMARK",
        "CONNSECMARK",
    }
    | {"CONNMARK", "MARK", "AUDIT", "IDLETIMER", "RATEEST", "CLUSTERIP", "DNPT", "SNPT", "ECN", "HMARK"}
)


def _destination(text: str) -> Expression:
    found = re.fullmatch(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>[^:\[\]]*)|(?P<bare>.*))(?::(?P<port>\d+))?", text)
    address = found and (found["six"] or found["four"] or found["bare"])
    if found is None or (address and "-" in address):
        raise ValueError(text)
    body: Expression = {"addr": str(ipaddress.ip_address(address))} if address else {}
    if found["port"]:
        body["port"] = int(found["port"])
    return {"dnat": body}


def _set_mark(name: str, options: Mapping[str, Sequence[str]]) -> Expression:
    left = _meta("mark") if name == "MARK" else {"ct": {"key": "mark"}}
    value, _, mask = options.get("--set-xmark", ["?"])[0].partition("/")
    known = int(mask or "0xffffffff", 0) == 0xFFFFFFFF if value != "?" else False
    return {"mangle": {"key": left, "value": int(value, 0) if known else None}}
