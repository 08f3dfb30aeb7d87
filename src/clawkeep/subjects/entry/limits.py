"""How nginx limits requests: what counts them where, by which key, and how many it lets through.

A location with a `limit_req` of its own inherits none, a zone does not count a request whose key is empty, and a key
may hang on what the client writes. So keys are worked out for requests that differ in method and address, through the
maps and geo blocks of the settings; a key that hangs on anything else is told. Source: `nginx -T`, as a tree.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from clawkeep.subjects.entry.nginx import Block

ROOM = {4: 24, 6: 64}  # the length of a network of the VPN around one of its addresses

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
RATE = re.compile(r"rate=([0-9]{1,9})r/([sm])")
# Patterns without a choice or an open repetition: whatever a host has written there, they are matched in no time.
PLAIN = re.compile(r"~\*?(?:\(\?s\))?\^?(?:[A-Za-z]|\.(?:\{[0-9]{1,2}\})?|\((?:\?<[A-Za-z]\w*>)?|\))*\$?", re.ASCII)
UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")  # RFC 4193: nobody outside has addresses there
METHODS = ("GET", "HEAD", "POST", "PUT", "OTHER")
STRANGERS: tuple[Address, ...] = (
    *(ipaddress.IPv4Address(f"198.51.100.{last}") for last in (7, 8)),
    *(ipaddress.IPv6Address(f"2001:db8:7::{last}") for last in (7, 8)),
)


class Unclear(Exception):
    """What a key hangs on cannot be worked out, or the client chooses it; the sentence begins with `it`."""


@dataclass(frozen=True)
class Limit:
    """A limit where it holds: its zone's name and key, how much it lets through, and at once beyond that.

    `unit` says of what `most` are let through: requests a minute, or connections, for which `burst` is 0.
    """

    zone: str
    key: str
    most: int
    burst: int
    unit: str


@dataclass(frozen=True)
class Place:
    """A server or a location, and the limits that hold there, its own or inherited."""

    name: str
    block: Block
    requests: tuple[Limit, ...]
    connections: tuple[Limit, ...]

    @property
    def passes_to(self) -> list[str]:
        """Where requests are passed to, conditions included."""
        blocks = [self.block, *(child for child in self.block.children if child.name != "location")]
        return [words[0] for block in blocks for words in block.all("proxy_pass") if words]


@dataclass(frozen=True)
class Limits:
    """nginx's limits; `own` are the entry's addresses in the VPN, whose neighbours there are its peers."""

    settings: Block
    own: tuple[Address, ...]

    @cached_property
    def places(self) -> list[Place]:
        """Every place that a client can ask for; internal ones are reached through others, which have counted."""
        found: list[Place] = []
        for http in self.settings.blocks("http"):
            zones = _zones(http)
            for server in http.blocks("server"):
                name = " ".join((server.last("server_name") or ("without a name",))[:1])
                found += _places(server, f"the server {name}", (http,), zones)
        return found

    def loose(
        self, limits: Sequence[Limit], *, most: int, burst: int = 0, methods: Sequence[str] = METHODS
    ) -> list[str]:
        """Why none of a place's limits counts all of these requests and lets no more through; empty when one does."""
        why = [self._faults(limit, methods, most, burst) for limit in limits]
        if any(not faults for faults in why):
            return []
        return min(why, key=len) if why else ["it has no limit"]

    def _faults(self, limit: Limit, methods: Sequence[str], most: int, burst: int) -> list[str]:
        zone = f"the zone {limit.zone}"
        found = []
        if limit.most > most:
            found.append(f"{zone} lets {limit.most} {limit.unit} through, not {most} at most")
        if limit.burst > burst:
            found.append(f"{zone} lets {limit.burst} more through at once, not {burst} at most")
        try:
            return found + [f"{zone} {fault}" for fault in self._miscounted(limit.key, methods)]
        except Unclear as doubt:
            return [*found, f"{zone} {doubt}"]

    def _miscounted(self, key: str, methods: Sequence[str]) -> Iterator[str]:
        keys = _Keys(self.settings)
        apart = [
            pair for one in self.own if (pair := neighbours(ipaddress.ip_network((one, ROOM[one.version]), False)))
        ]
        together = [STRANGERS[2:]]
        for network in keys.networks():
            if network.version == 6 and not is_peers(network, self.own) and (pair := neighbours(network)):
                together.append(pair)
        everybody = [*STRANGERS, *(one for pair in (*apart, *together) for one in pair)]
        every = {*methods, *(keys.methods() if len(methods) > 1 else ())}
        empty = {method for method in every for one in everybody if not keys.of(key, method, one)}
        if empty:
            yield f"does not count {', '.join(sorted(empty))}"
            return
        for method in sorted(every):
            for one, other in (*apart, STRANGERS[:2]):
                if keys.of(key, method, one) == keys.of(key, method, other):
                    yield f"counts {one} and {other} as one, so that one client locks out others"
                    return
            for one, other in together:
                if keys.of(key, method, one) != keys.of(key, method, other):
                    yield f"counts {one} and {other} apart, which one client outside the VPN may both have"
                    return


def neighbours(network: Network) -> tuple[Address, Address] | None:
    """Two addresses of a network that stand side by side; None when it is too small."""
    if network.num_addresses < 4:
        return None
    return network[2], network[3]


def is_peers(network: Network, own: Sequence[Address]) -> bool:
    """Whether nobody but the VPN's peers can have addresses in an IPv6 network, so that each has those given to it.

    True of unique local addresses, and of the /64 of an address of the entry's own, or less of it.
    """
    if isinstance(network, ipaddress.IPv4Network):
        return True
    if network.subnet_of(UNIQUE_LOCAL):
        return True
    return any(
        network.subnet_of(ipaddress.IPv6Network((int(one), 64), strict=False)) for one in own if one.version == 6
    )


def _zones(http: Block) -> dict[str, tuple[str, int]]:
    """By name the key and the requests a minute (0 of connections) of each zone."""
    found = {}
    for kind in ("limit_req_zone", "limit_conn_zone"):
        for key, *rest in http.all(kind):
            name = next((word.removeprefix("zone=").partition(":")[0] for word in rest if word.startswith("zone=")), "")
            rate = next((match for word in rest if (match := RATE.fullmatch(word))), None)
            a_minute = int(rate.group(1)) * (60 if rate.group(2) == "s" else 1) if rate else 0
            found[f"{kind} {name}"] = (key, a_minute)
    return found


def _places(block: Block, name: str, above: tuple[Block, ...], zones: dict[str, tuple[str, int]]) -> list[Place]:
    levels = (block, *above)
    locations = [child for child in block.children if child.name == "location"]
    internal = block.last("internal") is not None or any(word.startswith("@") for word in block.words[:1])
    found = []
    if not internal and not (block.name == "server" and any(one.words == ("/",) for one in locations)):
        found.append(Place(name, block, _requests(levels, zones), _connections(levels, zones)))
    for child in locations:
        found += _places(child, f"the location {' '.join(child.words)}", levels, zones)
    return found


def _nearest(levels: Sequence[Block], directive: str) -> list[tuple[str, ...]]:
    """The directive's lines at the nearest level that has any: what a place has of it, the others are lost."""
    return next((found for level in levels if (found := level.all(directive))), [])


def _requests(levels: Sequence[Block], zones: dict[str, tuple[str, int]]) -> tuple[Limit, ...]:
    if _nearest(levels, "limit_req_dry_run")[-1:] == [("on",)]:
        return ()
    found = []
    for words in _nearest(levels, "limit_req"):
        given = dict(word.split("=", 1) for word in words if "=" in word)
        name, burst = given.get("zone", ""), given.get("burst", "0")
        if f"limit_req_zone {name}" in zones and burst.isdecimal():
            key, most = zones[f"limit_req_zone {name}"]
            found.append(Limit(name, key, most, int(burst), "requests a minute"))
    return tuple(found)


def _connections(levels: Sequence[Block], zones: dict[str, tuple[str, int]]) -> tuple[Limit, ...]:
    if _nearest(levels, "limit_conn_dry_run")[-1:] == [("on",)]:
        return ()
    return tuple(
        Limit(words[0], zones[f"limit_conn_zone {words[0]}"][0], int(words[1]), 0, "connections")
        for words in _nearest(levels, "limit_conn")
        if len(words) == 2 and f"limit_conn_zone {words[0]}" in zones and words[1].isdecimal()
    )


class _Keys:
    """The values of variables for one request, through `map` and `geo`; anything else is Unclear."""

    def __init__(self, settings: Block) -> None:
        self._maps = {block.words[1].lower(): block for block in settings.within("map") if len(block.words) == 2}
        self._geos = {block.words[0].lower(): block for block in settings.within("geo") if len(block.words) == 1}
        self._set = set(_assigned(settings))
        self._real_ip = any(True for _ in _directives(settings, ("set_real_ip_from", "real_ip_header")))

    def networks(self) -> list[Network]:
        """Every network that a geo block tells apart."""
        return [network for block in self._geos.values() for network, _ in _entries(block)]

    def methods(self) -> set[str]:
        """Every method that a map names."""
        named = (one for one in self._maps.values() if one.words[0].lower() == "$request_method")
        return {words[0].upper() for block in named for words in block.directives if words[0].isalpha()} - {"DEFAULT"}

    def of(self, key: str, method: str, address: Address) -> bytes:
        """The key of a request of this method from this address; raises Unclear."""
        return self._expand(key, {}, method, address, 0)

    def _expand(self, text: str, captured: dict[str, bytes], method: str, address: Address, depth: int) -> bytes:
        value, end = b"", 0
        for match in VARIABLE.finditer(text):
            name = (match.group(1) or match.group(2)).lower()
            value += text[end : match.start()].encode("utf-8", "surrogatepass")
            value += captured[name] if name in captured else self._value(f"${name}", method, address, depth)
            end = match.end()
        return value + text[end:].encode("utf-8", "surrogatepass")

    def _value(self, name: str, method: str, address: Address, depth: int) -> bytes:
        if depth > 16:
            raise Unclear("counts by maps that lead to each other")
        if name in self._set:
            raise Unclear(f"counts by {name}, which is set while a request is handled")
        if name in self._maps:
            return self._mapped(self._maps[name], method, address, depth + 1)
        if name in self._geos:
            return self._located(self._geos[name], address)
        known = {"$binary_remote_addr": address.packed, "$remote_addr": str(address).encode()}
        if name in known and self._real_ip:
            raise Unclear("counts by an address that is taken from a header (real_ip)")
        known["$request_method"] = method.encode()
        if name not in known:
            raise Unclear(f"counts by {name}, which is not the client's address")
        return known[name]

    def _mapped(self, block: Block, method: str, address: Address, depth: int) -> bytes:
        source = self._expand(block.words[0], {}, method, address, depth)
        default, patterns = "", []
        for words in block.directives:
            if len(words) != 2 or words[0] in ("include", "hostnames"):
                if words == ("volatile",):
                    continue
                raise Unclear(f"counts by {block.words[1]}, a map with `{' '.join(words)}`")
            pattern, value = words
            if pattern == "default":
                default = value
            elif pattern.startswith("~"):
                patterns.append((pattern, value))
            elif pattern.removeprefix("\\").encode("utf-8", "surrogatepass").lower() == source.lower():
                return self._expand(value, {}, method, address, depth)
        for pattern, value in patterns:
            if match := _regex(pattern).search(source):
                groups = {name.lower(): found or b"" for name, found in match.groupdict().items()}
                groups |= {str(number): found or b"" for number, found in enumerate(match.groups(), 1)}
                return self._expand(value, groups, method, address, depth)
        return self._expand(default, {}, method, address, depth)

    def _located(self, block: Block, address: Address) -> bytes:
        fitting = [(network.prefixlen, value) for network, value in _entries(block) if address in network]
        defaults = [words[1] for words in block.directives if words[0] == "default"]
        return (max(fitting)[1] if fitting else (defaults or [""])[-1]).encode("utf-8", "surrogatepass")


def _entries(block: Block) -> list[tuple[Network, str]]:
    found = []
    for words in block.directives:
        if words[0] == "default" and len(words) == 2:
            continue
        try:
            network, value = words
            found.append((ipaddress.ip_network(network, strict=False), value))
        except ValueError:
            raise Unclear(f"counts by {block.words[0]}, a geo block with `{' '.join(words)}`") from None
    return found


def _regex(pattern: str) -> re.Pattern[bytes]:
    """nginx's regular expression as one of Python's; a case-blind one begins with `~*`."""
    blind = pattern.startswith("~*")
    try:
        if not PLAIN.fullmatch(pattern):
            raise ValueError
        text = pattern[2 if blind else 1 :].replace("(?<", "(?P<")
        return re.compile(text.encode(), re.IGNORECASE if blind else 0)
    except (ValueError, re.error):
        raise Unclear(f"counts by the pattern {pattern}, which cannot be read here") from None


def _directives(block: Block, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    yield from (words for words in block.directives if words[0] in names)
    for child in block.children:
        yield from _directives(child, names)


def _assigned(settings: Block) -> Iterator[str]:
    """Variables that a directive other than a map's or geo's gives a value to."""
    for words in _directives(settings, ("set", "auth_request_set", "js_set", "perl_set", "geoip2", "split_clients")):
        yield from (word.lower() for word in words[1:2])
