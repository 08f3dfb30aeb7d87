"""Who listens: every listening TCP and bound UDP socket of the host and of each container, as `ss` shows it.

Written because the usual shortcuts fail open: a check of `tcp://3000` is false while 0.0.0.0:3000 listens on IPv4
alone, and a check of `tcp://127.0.0.1:3000` is true while only the wildcard listens. Here a socket has one address,
and a wildcard is never a loopback address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence

GATEWAY = "openclaw-gatewa"  # the gateway's process name as the kernel keeps it: 15 characters
ENGINE_PROXY = "docker-proxy"
PLACEHOLDERS = (ENGINE_PROXY, "dockerd")  # without its proxy the engine itself holds a published port's place
RELAYS = ("socat", "nc", "ncat", "redir", "rinetd", "haproxy", "ngrok", "frpc", "cloudflared", "chisel")

OWNER = re.compile(r'\("((?:[^"\\]|\\.)*)",pid=(\d+),fd=\d+\)')


@dataclass(frozen=True)
class Owner:
    """A process that holds a socket open, and its cgroup (v2) path when the collector saw it."""

    name: str
    pid: int
    cgroup: str = ""


@dataclass(frozen=True)
class Listener:
    """One listening socket; `address` is a bare IP address, `::` when it takes both families (`ss` prints `*`)."""

    proto: str  # tcp, udp
    address: str
    port: int
    zone: str = ""  # the interface it is bound to, if any
    owners: tuple[Owner, ...] = ()
    container: str = ""  # whose network namespace; empty for the host's

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it: 127.0.0.0/8, ::1, and 127.0.0.0/8 written as IPv6."""
        return is_loopback(self.address)

    @property
    def where(self) -> str:
        """`address:port/proto`, IPv6 in brackets."""
        return f"{joined(self.address, self.port)}/{self.proto}"

    @property
    def whose(self) -> str:
        """The names of its processes for a sentence."""
        return ", ".join(sorted({owner.name for owner in self.owners})) or "no process that could be seen"


def is_loopback(address: str) -> bool:
    """Whether `address` is a loopback address of either family; the empty address is every address, hence not."""
    if not address:
        return False
    ip = ipaddress.ip_address(address.split("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def joined(address: str, port: int) -> str:
    """`address:port` with an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def split_endpoint(text: str) -> tuple[str, str, str]:
    """Address, zone and port of an endpoint as `ss` or `docker` write it; the address is bare, `*` becomes `::`.

    Takes `127.0.0.1:80`, `[::]:80`, `:::80`, `*:80`, `[fe80::1]%eth0:546`, `127.0.0.53%lo:53`. Raises ValueError for
    anything else: a misread address is worse than none.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} is not an endpoint")
    if host.startswith("["):
        host, closing, rest = host[1:].partition("]")
        host += rest if closing else "["
    host, _, zone = host.partition("%")
    address = "::" if host == "*" else str(ipaddress.ip_address(host))
    return address, zone, port


def parse(lines: Iterable[str], container: str = "", cgroups: dict[str, str] | None = None) -> list[Listener]:
    """The sockets in the lines of `ss -Hltnup`; raises ValueError for a line that it cannot read."""
    found = []
    for line in lines:
        words = line.split(None, 6)
        if not words:
            continue
        if len(words) < 6 or words[0] not in ("tcp", "udp"):
            raise ValueError(f"`ss` printed a line that is not a socket: {line.strip()!r}")
        address, zone, port = split_endpoint(words[4])
        owners = tuple(
            Owner(name, int(pid), (cgroups or {}).get(pid, ""))
            for name, pid in OWNER.findall(words[6] if words[6:] else "")
        )
        found.append(Listener(words[0], address, int(port), zone, owners, container))
    return found


@dataclass(frozen=True)
class Listeners:
    """Every listener of the host (`host`) and of each agent container (`agents`, by container name).

    `bridges` are the host's addresses on the agent containers' bridges: private ground, like loopback.
    """

    host: tuple[Listener, ...]
    agents: dict[str, tuple[Listener, ...]]
    bridges: frozenset[str]

    @classmethod
    def read(cls, host: HostEvidence) -> Listeners:
        """From the collector's `ss` of every namespace."""
        inside = host.inside
        cgroups = inside.fact("listener-owners")
        reach = inside.fact("reach")
        agents = [one for one in reach["containers"] if one["agent"]]
        try:
            own = parse(inside.lines("ss"), "", cgroups)
            theirs = {
                one["name"]: tuple(parse(inside.lines(f"ss@{one['name']}"), one["name"], cgroups))
                for one in agents
                if not one["host_network"]
            }
        except ValueError as problem:
            raise Unmeasured(str(problem)) from problem
        if not own:
            raise Unmeasured("`ss` names no listening socket at all on the host, not even sshd's")
        bridges = frozenset(str(end["gateway"]) for one in agents for end in one["addresses"] if end["gateway"])
        return cls(tuple(own), theirs, bridges)

    def _private(self, listener: Listener) -> bool:
        return listener.loopback or listener.address in self.bridges

    def exposed(self, ports: Collection[int]) -> list[str]:
        """Host sockets on one of `ports`, or held by the gateway, that are neither on loopback nor on its bridge."""
        return [
            f"{one.where} on the host is held by {one.whose} and is neither loopback nor the agent's bridge"
            for one in self.host
            if (one.port in ports or any(owner.name == GATEWAY for owner in one.owners)) and not self._private(one)
        ]

    def relays(self, ports: Collection[int]) -> list[str]:
        """Host sockets that pass connections on: whatever else holds one of `ports`, or a known relay off loopback."""
        return [
            f"{one.where} on the host is held by {one.whose}, which is neither the gateway nor the container engine"
            for one in self.host
            if one.proto == "tcp" and (_is_relay(one) if one.port not in ports else not _is_legitimate(one))
        ]

    def misowned_gateways(self, port: int) -> list[str]:
        """Sockets on the gateway's port, where the gateway runs, that something else holds.

        Raises Unmeasured when nothing listens on `port` there: then no gateway runs whose exposure could be judged.
        """
        candidates = [one for sockets in self.agents.values() for one in sockets if one.port == port]
        candidates += [one for one in self.host if one.port == port and any(o.name == GATEWAY for o in one.owners)]
        tcp = [one for one in candidates if one.proto == "tcp"]
        if not tcp:
            raise Unmeasured(f"no gateway listens on port {port}, in no agent container and not on the host")
        return [
            f"{one.where} in {'container ' + one.container if one.container else 'the host'} is held by {one.whose}, "
            f"not by {GATEWAY}"
            for one in tcp
            if not one.owners or any(owner.name != GATEWAY for owner in one.owners)
        ]


def _is_legitimate(listener: Listener) -> bool:
    owners = {owner.name for owner in listener.owners}
    return bool(owners) and owners <= {GATEWAY, *PLACEHOLDERS}


def _is_relay(listener: Listener) -> bool:
    return not listener.loopback and any(owner.name in RELAYS for owner in listener.owners)
