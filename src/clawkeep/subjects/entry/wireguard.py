"""WireGuard as the kernel has it, against the declared peers. Source: `wg show all dump`, its secrets left out."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import boolean, integer, legible, mapping, rows, text, texts
from clawkeep.site.inventory import Peer
from clawkeep.subjects.host.clock import host_time
from clawkeep.subjects.measurement import Measurement

ROOM = {4: 32, 6: 128}  # the length of a network that holds one device
PRIVATE = 0o077
DAY = 86400
APART = 60.0  # seconds by which the clocks of the host and of the machine that verifies may differ


@dataclass(frozen=True)
class Running:
    """A peer as it runs: its networks, whether it has a preshared key, its last handshake (epoch seconds, 0 never)."""

    interface: str
    public: str
    preshared: bool
    allowed: tuple[str, ...]
    handshake: int


@dataclass(frozen=True)
class Wireguard:
    """The interfaces by name with their public keys and ports, the peers, and when each peer was last heard of.

    `seen` remembers over reboots what the kernel forgets. Last days count by the `measurement`, not the host's clock.
    """

    interfaces: Mapping[str, tuple[str, int]]
    keyless: tuple[str, ...]
    peers: tuple[Running, ...]
    seen: Mapping[str, int]
    files: tuple[Mapping[str, Any], ...]
    host: HostEvidence = field(repr=False)

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when `wg` did not list what runs."""
        what = "the running VPN"
        listed = mapping(host.inside.json("wireguard"), what)
        boolean(listed.get("present"), f"whether {what} is installed")
        links = rows(listed.get("interfaces"), f"the interfaces of {what}")
        seen = host.inside.fact("vpn-seen")
        with legible(what):
            return cls(
                interfaces={
                    text(i.get("name"), what): (text(i.get("public"), what), integer(i.get("port"), what))
                    for i in links
                },
                keyless=tuple(text(i.get("name"), what) for i in links if not boolean(i.get("has-key"), what)),
                peers=tuple(_peer(row) for row in rows(listed.get("peers"), f"the peers of {what}")),
                seen={
                    text(key, what): integer(at, f"when a peer of {what} was heard of")
                    for key, at in mapping(seen if seen is not None else {}, f"the memory of {what}").items()
                },
                files=rows(host.inside.fact("vpn-files"), f"the files of {what}"),
                host=host,
            )

    @property
    def measurement(self) -> Measurement:
        """When the host was measured; not known yet to whoever only plans the probes."""
        return self.host.subject(Measurement)

    @property
    def apart(self) -> float:
        """Seconds by which the host's clock is ahead of the measurement's."""
        return self.measurement.ahead(host_time(self.host))

    def missing(self, interface: str, port: int) -> list[str]:
        """Sentences about an interface that is not there, has no key, or listens at another port; and about others."""
        found = [
            f"{name} is a WireGuard interface that nobody declared" for name in self.interfaces if name != interface
        ]
        if interface not in self.interfaces:
            return [*found, f"there is no WireGuard interface {interface}"]
        if interface in self.keyless:
            found.append(f"{interface} has no private key, so nobody comes in")
        if self.interfaces[interface][1] != port:
            found.append(f"{interface} listens on UDP {self.interfaces[interface][1]}, not on {port}")
        return found

    def other_peers(self, declared: Sequence[Peer]) -> list[str]:
        """Sentences about peers that run and are not declared, and declared ones in date that do not run."""
        known = {peer.public_key: peer for peer in declared}
        running = [peer.public for peer in self.peers]
        found = [f"a peer with the key {key} runs and is not declared" for key in running if key not in known]
        found += [
            f"the key {key} runs on two interfaces" for key in sorted({k for k in running if running.count(k) > 1})
        ]
        return found + [
            f"{peer.name} is declared until {peer.expires} and does not run"
            for peer in declared
            if peer.public_key not in running and not self._past(peer)
        ]

    def other_networks(self, declared: Sequence[Peer]) -> list[str]:
        """Sentences about running peers that may speak for more, or for another, than their own two addresses."""
        own = {peer.public_key: peer for peer in declared}
        found, owners = [], dict[str, str]()
        for peer in self.peers:
            name = own[peer.public].name if peer.public in own else f"the peer {peer.public}"
            for written in peer.allowed:
                network = _network(written)
                if network.prefixlen != ROOM[network.version]:
                    found.append(f"{name} may speak for all of {network}")
                clash = owners.setdefault(str(network), name)
                if clash != name:
                    found.append(f"{name} and {clash} both have {network}")
            if peer.public in own:
                wanted = {_network(own[peer.public].address4), _network(own[peer.public].address6)}
                if {_network(written) for written in peer.allowed} != wanted:
                    have = ", ".join(peer.allowed) or "no address"
                    found.append(f"{name} runs with {have}, not with the two addresses that are declared")
        return found

    def without_preshared_key(self) -> list[str]:
        """Sentences about peers that a recorded session of today would betray to the computers of tomorrow."""
        return [f"the peer {peer.public} has no preshared key" for peer in self.peers if not peer.preshared]

    def expired(self, declared: Sequence[Peer]) -> list[str]:
        """Sentences about peers that run past their last day."""
        late = {peer.public_key: peer for peer in declared if self._past(peer)}
        return [
            f"{late[peer.public].name} expired on {late[peer.public].expires} and still comes in"
            for peer in self.peers
            if peer.public in late
        ]

    def idle(self, declared: Sequence[Peer], days: int) -> list[str]:
        """Sentences about running peers not heard of for more than `days`.

        Raises Unmeasured when nobody kept count, or by a wrong clock: it is the host that dates a handshake.
        """
        found = []
        names = {peer.public_key: peer.name for peer in declared}
        for peer in self.peers:
            last = max(peer.handshake, self.seen.get(peer.public, 0))
            name = names.get(peer.public, f"the peer {peer.public}")
            if not last:
                raise Unmeasured(f"{name} has no handshake, and nobody noted since when it is listed")
            if abs(self.apart) > APART or self.measurement.ahead(last) > APART:
                raise Unmeasured(f"the host's clock is or was wrong, so nobody knows when {name} was last heard of")
            idle = int((self.measurement.ended.timestamp() - last) // DAY)
            if idle > days:
                found.append(f"{name} was last heard of {idle} days ago, {days} are allowed: `clawkeep vpn revoke` it")
        return found

    def readable_keys(self) -> list[str]:
        """Sentences about key files, or their folders, that others than root can read; there has to be the key's."""
        found = []
        for file in self.files:
            path, mode = text(file.get("path"), "a file of the VPN"), integer(file.get("mode"), "the mode of a file")
            if integer(file.get("uid"), f"the owner of {path}") != 0 or mode & PRIVATE or file.get("acl"):
                found.append(f"{path} can be read by others than root (mode {mode:04o})")
        if not any(file.get("path") == "/etc/clawkeep/vpn/private.key" for file in self.files):
            raise Unmeasured("there is no /etc/clawkeep/vpn/private.key, so nobody can say where the host's key lies")
        return found

    def _past(self, peer: Peer) -> bool:
        return peer.expires < self.measurement.day


def _peer(row: Mapping[str, Any]) -> Running:
    what = "a peer of the running VPN"
    return Running(
        text(row.get("interface"), what),
        text(row.get("public"), what),
        boolean(row.get("preshared"), what),
        texts(row.get("allowed"), what),
        integer(row.get("handshake"), what),
    )


def _network(written: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(written, strict=False)
    except ValueError as problem:
        raise Unmeasured(f"an address of a VPN peer cannot be read: {problem}") from None
