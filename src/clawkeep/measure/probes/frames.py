"""Hand-made TCP SYN frames, given to a chosen next hop, and the answers read from the wire.

A kernel refuses to send a packet for 127.0.0.1 out of an interface, and to take an answer that comes from there. Raw
frames need neither routes nor settings, so nothing has to be undone on the machine that probes. Linux, CAP_NET_RAW.
"""

from __future__ import annotations

import ipaddress
import json
import random
import select
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

ETHERTYPE = {4: 0x0800, 6: 0x86DD}
ETH_ALL = 0x0003
TCP = socket.IPPROTO_TCP
SYN, RST, ACK = 0x02, 0x04, 0x10
ROUNDS = 2  # each SYN is sent twice, a second apart
ROUND_SECONDS = 1.2


class LinkError(Exception):
    """The vantage cannot put frames on the segment it needs, in one sentence."""


@dataclass(frozen=True)
class Hop:
    """The way to a next hop: interface, both MAC addresses, and the source address to speak from."""

    interface: str
    own_mac: bytes
    mac: bytes
    source: str
    on_link: bool  # whether the destination itself is the next hop


@dataclass(frozen=True)
class Syn:
    """One SYN to send: to `target` and `port`, over `hop`."""

    target: str
    port: int
    hop: Hop


def _ip(*words: str) -> list[dict[str, object]]:
    done = subprocess.run(["ip", "-j", *words], capture_output=True, text=True, timeout=10)
    found = json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else []
    return [one for one in found if isinstance(one, dict)]


def hop_to(address: str) -> Hop:
    """The next hop by which this vantage reaches `address`; its MAC is learnt by sending it one datagram.

    Raises LinkError when there is no route or the next hop does not answer ARP or neighbour discovery.
    """
    routes = _ip("route", "get", address)
    if not routes or "dev" not in routes[0] or routes[0].get("type") == "local":
        raise LinkError(f"there is no route from here to {address}")
    interface, source = str(routes[0]["dev"]), str(routes[0].get("prefsrc") or "")
    next_hop = str(routes[0].get("gateway") or address)
    version = ipaddress.ip_address(address).version
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.connect((address, 9))
        source = source or str(client.getsockname()[0])
        deadline = time.monotonic() + 3
        while True:
            client.send(b"")
            for entry in _ip("neigh", "show", next_hop, "dev", interface):
                if "lladdr" in entry:
                    mac = bytes.fromhex(str(entry["lladdr"]).replace(":", ""))
                    return Hop(interface, _own_mac(interface), mac, source, next_hop == address)
            if time.monotonic() > deadline:
                raise LinkError(f"{next_hop}, the next hop to {address}, does not answer on {interface}")
            time.sleep(0.2)


def _own_mac(interface: str) -> bytes:
    links = _ip("link", "show", "dev", interface)
    if not links or not links[0].get("address"):
        raise LinkError(f"{interface} has no MAC address")
    return bytes.fromhex(str(links[0]["address"]).replace(":", ""))


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of `data`."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def segment(source: str, target: str, ports: tuple[int, int], sequence: int, flags: int) -> bytes:
    """An IP packet of either family holding one TCP segment without data, checksums included."""
    here, there = ipaddress.ip_address(source).packed, ipaddress.ip_address(target).packed
    options = b"\x02\x04\x05\xb4" if flags == SYN else b""  # maximum segment size 1460
    offset = (5 + len(options) // 4) << 4
    head = struct.pack("!HHIIBBHHH", *ports, sequence, 0, offset, flags, 64240, 0, 0) + options
    if len(here) == 4:
        pseudo = here + there + struct.pack("!BBH", 0, TCP, len(head))
    else:
        pseudo = here + there + struct.pack("!I3xB", len(head), TCP)
    head = head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]
    if len(here) == 16:
        return struct.pack("!IHBB", 6 << 28, len(head), TCP, 64) + here + there + head
    fields = (0x45, 0, 20 + len(head), random.getrandbits(16), 0x4000, 64, TCP, 0)
    outer = struct.pack("!BBHHHBBH", *fields) + here + there
    return outer[:10] + struct.pack("!H", checksum(outer)) + outer[12:] + head


def read_segment(frame: bytes) -> tuple[str, int, int, int, int] | None:
    """Source address, source port, destination port, flags and acknowledgement number of a TCP frame, or None."""
    if len(frame) < 14:
        return None
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == ETHERTYPE[4] and len(frame) >= 34 and frame[23] == TCP:
        source, at = frame[26:30], 14 + (frame[14] & 0x0F) * 4
    elif kind == ETHERTYPE[6] and len(frame) >= 54 and frame[20] == TCP:
        source, at = frame[22:38], 54
    else:
        return None
    if len(frame) < at + 14:
        return None
    sport, dport, _, acknowledged, _, flags = struct.unpack_from("!HHIIBB", frame, at)
    return str(ipaddress.ip_address(source)), sport, dport, flags, acknowledged


def send_syns(syns: Sequence[Syn]) -> list[str]:
    """What came back to each SYN: `answered` (SYN and ACK), `reset` or `silent`; all at once, in the given order.

    Answers are matched by address, both ports and the acknowledged sequence number; an opened connection is reset.
    Raises OSError when raw sockets are not permitted.
    """
    outcomes = ["silent"] * len(syns)
    first = random.randrange(20000, 50000)  # noqa: S311 - source ports
    numbers = [random.getrandbits(31) for _ in syns]
    interfaces = sorted({syn.hop.interface for syn in syns})
    wires = {name: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_ALL)) for name in interfaces}
    try:
        for name, wire in wires.items():
            wire.bind((name, ETH_ALL))

        def send(index: int, sequence: int, flags: int) -> None:
            syn = syns[index]
            packet = segment(syn.hop.source, syn.target, (first + index, syn.port), sequence, flags)
            kind = ETHERTYPE[ipaddress.ip_address(syn.target).version]
            wires[syn.hop.interface].send(syn.hop.mac + syn.hop.own_mac + struct.pack("!H", kind) + packet)

        for _ in range(ROUNDS):
            for index in range(len(syns)):
                if outcomes[index] == "silent":
                    send(index, numbers[index], SYN)
            deadline = time.monotonic() + ROUND_SECONDS
            while time.monotonic() < deadline:
                ready, _, _ = select.select(list(wires.values()), [], [], max(0.0, deadline - time.monotonic()))
                for wire in ready:
                    index, outcome = _match(wire.recv(2048), syns, first, numbers)
                    if outcome:
                        outcomes[index] = outcome
                        if outcome == "answered":
                            send(index, numbers[index] + 1, RST)
    finally:
        for wire in wires.values():
            wire.close()
    return outcomes


def _match(frame: bytes, syns: Sequence[Syn], first: int, numbers: Sequence[int]) -> tuple[int, str]:
    seen = read_segment(frame)
    if seen is None:
        return 0, ""
    source, sport, dport, flags, acknowledged = seen
    index = dport - first
    if not 0 <= index < len(syns) or (source, sport) != (syns[index].target, syns[index].port):
        return 0, ""
    if acknowledged != numbers[index] + 1:
        return 0, ""
    if flags & RST:
        return index, "reset"
    return (index, "answered") if flags & (SYN | ACK) == SYN | ACK else (0, "")
