"""The left sides of matches: which property of a packet an nft expression looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from clawkeep.netfilter.packet import PROTOCOLS, WITH_PORTS, Packet, Surroundings
from clawkeep.netfilter.patterns import ABSENT, UNKNOWN, Value, flag_names

CONNTRACK_PRIORITY = -200


@dataclass(frozen=True)
class View:
    """Where in its journey a packet is looked at: `tracked` tells whether connection tracking has seen it."""

    around: Surroundings
    tracked: bool


Look: TypeAlias = Callable[[Packet, View], Value]


@dataclass(frozen=True)
class Field:
    """One property: `name` as nft writes it, `kinds` of its parts (see patterns.READERS), and how to look at it."""

    name: str
    kinds: tuple[str, ...]
    look: Look
    parts: tuple[Field, ...] = ()


def _always(value: Value) -> Look:
    return lambda _packet, _view: value


def unknown(name: str) -> Field:
    """A property that exists and cannot be known."""
    return Field(name, ("opaque",), _always(UNKNOWN))


def _or(value: Value | None, otherwise: Value) -> Value:
    return otherwise if value is None else value


def _address(name: str, kind: str, family: str) -> Field:
    def look(packet: Packet, _: View) -> Value:
        return int(getattr(packet, name)) if packet.family == family else ABSENT

    return Field(f"{family} {name}", (kind,), look)


def _port(protocol: str, name: str) -> Field:
    number = PROTOCOLS.get(protocol)

    def look(packet: Packet, _: View) -> Value:
        bears = packet.protocol in WITH_PORTS if number is None else packet.protocol == number
        return _or(getattr(packet, name), ABSENT) if bears else ABSENT

    return Field(f"{protocol} {name}", ("number",), look)


def _icmp(kind: str) -> Field:
    def look(packet: Packet, _: View) -> Value:
        return _or(packet.icmp_type, UNKNOWN) if packet.protocol == PROTOCOLS[kind] else ABSENT

    return Field(f"{kind} type", (kind,), look)


def _tcp_flags(packet: Packet, _: View) -> Value:
    return packet.tcp_flags if packet.protocol == PROTOCOLS["tcp"] else ABSENT


def _within(family: str, field: Field) -> Field:
    def look(packet: Packet, view: View) -> Value:
        return field.look(packet, view) if packet.family == family else ABSENT

    return Field(field.name, field.kinds, look)


def _borne_by(protocol: str, field: Field) -> Field:
    """A property of a header: absent from packets of other protocols."""

    def look(packet: Packet, view: View) -> Value:
        return field.look(packet, view) if packet.protocol == PROTOCOLS.get(protocol) else ABSENT

    return Field(field.name, field.kinds, look)


L4PROTO = Field("protocol", ("protocol",), lambda packet, _: packet.protocol)

META: dict[str, Field] = {
    "iifname": Field("iif", ("word",), lambda packet, _: packet.iif),
    "iif": Field("iif", ("word",), lambda packet, _: packet.iif),
    "oifname": Field("oif", ("word",), lambda packet, _: packet.oif),
    "oif": Field("oif", ("word",), lambda packet, _: packet.oif),
    "nfproto": Field("nfproto", ("word",), lambda packet, _: f"ipv{packet.daddr.version}"),
    "protocol": Field("ethertype", ("word",), lambda packet, _: packet.family),
    "l4proto": L4PROTO,
    "mark": Field("mark", ("number",), lambda packet, _: _or(packet.mark, UNKNOWN)),
    "skuid": Field("uid", ("number",), lambda packet, _: _or(packet.uid, ABSENT)),
    "pkttype": Field(
        "pkttype", ("word",), lambda packet, _: "host" if packet.link_type == "unicast" else packet.link_type
    ),
}

PAYLOAD: dict[tuple[str, str], Field] = {
    ("ip", "saddr"): _address("saddr", "address4", "ip"),
    ("ip", "daddr"): _address("daddr", "address4", "ip"),
    ("ip6", "saddr"): _address("saddr", "address6", "ip6"),
    ("ip6", "daddr"): _address("daddr", "address6", "ip6"),
    ("ip", "protocol"): _within("ip", L4PROTO),
    ("ip6", "nexthdr"): _within("ip6", L4PROTO),
    ("icmp", "type"): _icmp("icmp"),
    ("icmpv6", "type"): _icmp("icmpv6"),
    ("tcp", "flags"): Field("tcp flags", ("flags",), _tcp_flags),
    **{
        (protocol, name): _port(protocol, name)
        for protocol in ("tcp", "udp", "sctp", "dccp", "udplite", "th")
        for name in ("sport", "dport")
    },
}


def _payload(expression: Mapping[str, Any]) -> Field:
    protocol, name = str(expression.get("protocol")), str(expression.get("field"))
    if (protocol, name) in PAYLOAD:
        return PAYLOAD[protocol, name]
    if expression.get("base") == "th" and expression.get("len") == 16 and expression.get("offset") in (0, 16):
        return PAYLOAD["th", "dport" if expression["offset"] else "sport"]
    field = unknown(f"{protocol} {name}")
    if protocol in ("ip", "ip6"):
        return _within(protocol, field)
    if protocol in PROTOCOLS:
        return _borne_by(protocol, field)
    return field


def _state(packet: Packet, view: View) -> Value:
    if packet.state == "untracked" or view.tracked:
        return frozenset({packet.state})
    return frozenset({"invalid"})  # what the kernel says of a packet that has no connection yet


def _of_connection(look: Look) -> Look:
    """A property of the connection: absent where there is none, known for a first packet only."""

    def guarded(packet: Packet, view: View) -> Value:
        if not view.tracked or packet.state in ("untracked", "invalid"):
            return ABSENT
        return look(packet, view) if packet.state == "new" else UNKNOWN

    return guarded


def _asked_address(version: int) -> Look:
    def look(packet: Packet, _: View) -> Value:
        address = packet.originally[0]
        return int(address) if address.version == version else ABSENT

    return look


def _sender(version: int) -> Look:
    return lambda packet, _: int(packet.saddr) if packet.saddr.version == version else ABSENT


_ORIGINAL: dict[str, tuple[str, str, Look]] = {
    "ip daddr": ("ip daddr", "address4", _asked_address(4)),
    "ip6 daddr": ("ip6 daddr", "address6", _asked_address(6)),
    "ip saddr": ("ip saddr", "address4", _sender(4)),
    "ip6 saddr": ("ip6 saddr", "address6", _sender(6)),
    "proto-dst": ("th dport", "number", lambda packet, _: _or(packet.originally[1], ABSENT)),
    "proto-src": ("th sport", "number", lambda packet, _: _or(packet.sport, ABSENT)),
    "protocol": ("protocol", "protocol", lambda packet, _: packet.protocol),
}


def _conntrack(expression: Mapping[str, Any]) -> Field:
    key, direction = str(expression.get("key")), expression.get("dir")
    if key == "state":
        return Field("ct state", ("flags",), _state)
    if key == "status":
        return Field("ct status", ("flags",), _of_connection(lambda packet, _: packet.status))
    if key == "direction":
        return Field("ct direction", ("word",), _of_connection(_always("original")))
    if key == "mark":
        return Field("ct mark", ("number",), _of_connection(lambda packet, _: _or(packet.connection_mark, UNKNOWN)))
    if key in _ORIGINAL and direction in (None, "original"):
        name, kind, look = _ORIGINAL[key]
        return Field(name, (kind,), _of_connection(look))
    return Field(f"ct {key}", ("opaque",), _of_connection(_always(UNKNOWN)))


def _fib(expression: Mapping[str, Any]) -> Field:
    flags = flag_names(expression.get("flags") or [])
    if expression.get("result") != "type" or flags is None or "mark" in flags:
        return unknown("fib")

    def look(packet: Packet, view: View) -> Value:
        address = packet.saddr if "saddr" in flags else packet.daddr
        interface = packet.iif if "iif" in flags else packet.oif if "oif" in flags else None
        return view.around.kind(address, interface)

    return Field("fib type", ("word",), look)


def _masked(operator: str, operands: list[Any]) -> Field:
    inner = read_field(operands[0])
    names = flag_names(operands[1])
    if inner.kinds == ("flags",) and operator == "&" and names is not None:

        def kept(packet: Packet, view: View) -> Value:
            value = inner.look(packet, view)
            return value & names if isinstance(value, frozenset) else value

        return Field(inner.name, inner.kinds, kept)
    operand = operands[1]
    if inner.kinds != ("number",) or not isinstance(operand, int) or operator not in _ARITHMETIC:
        return Field(inner.name, ("opaque",), lambda packet, view: _unless_absent(inner.look(packet, view)))

    def calculated(packet: Packet, view: View) -> Value:
        value = inner.look(packet, view)
        return _ARITHMETIC[operator](value, operand) if isinstance(value, int) else value

    return Field(f"{inner.name} {operator}", ("number",), calculated)


def _unless_absent(value: Value) -> Value:
    return value if value is ABSENT else UNKNOWN


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "&": lambda value, operand: value & operand,
    "|": lambda value, operand: value | operand,
    "^": lambda value, operand: value ^ operand,
    "<<": lambda value, operand: value << operand & 0xFFFFFFFF,
    ">>": lambda value, operand: value >> operand,
}


def _concatenated(parts: list[Any]) -> Field:
    fields = tuple(read_field(part) for part in parts)

    def look(packet: Packet, view: View) -> Value:
        values = tuple(field.look(packet, view) for field in fields)
        return ABSENT if any(value is ABSENT for value in values) else values

    kinds = tuple(kind for field in fields for kind in field.kinds)
    return Field(" . ".join(field.name for field in fields), kinds, look, fields)


def read_field(expression: Any) -> Field:
    """The property that an nft JSON expression looks at; what is not known here gives an `unknown` one."""
    if not isinstance(expression, Mapping) or len(expression) != 1:
        return unknown(str(expression))
    (key, inner), *_ = expression.items()
    match key:
        case "meta":
            name = str(inner.get("key"))
            return META.get(name, unknown(f"meta {name}"))
        case "payload":
            return _payload(inner)
        case "ct":
            return _conntrack(inner)
        case "fib":
            return _fib(inner)
        case "concat":
            return _concatenated(inner)
        case "&" | "|" | "^" | "<<" | ">>" if len(inner) == 2:
            return _masked(key, inner)
    return unknown(key)
