"""Many TCP connects at once from one thread, each told apart by how it ended. Standard library only.

Outcomes: `open` (handshake done), `refused` (a reset or ICMP port unreachable came back), `unreachable` (a router or
the neighbour table said no after the packet was under way), `timeout` (nothing came back), `noroute` (this namespace
sent nothing: no route, no such family), `unresolved` (a name or spelling without an address), `error` (anything else).
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import time
from typing import Any, Dict, List, Optional, Sequence

PATIENCE = 2.5  # seconds: the first SYN and its first repetition, with a margin before the second at 3 s

LOCAL_REFUSALS = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM, errno.EINVAL}
LATE = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
}
TOTAL_RETRANSMISSIONS = 100  # offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h): 8 bytes, then 23 u32


class Connect:
    """One connect to make: `host` as a program would spell it; `request` is an HTTP request to send once it is open."""

    def __init__(self, group: str, host: str, port: int, request: str = "", label: str = "") -> None:
        """Say where to; `group` names what the target stands for, `label` whom it belongs to."""
        self.group = group
        self.host = host
        self.port = port
        self.request = request
        self.label = label

    @property
    def target(self) -> str:
        """`host:port`, an IPv6 host in brackets."""
        return ("[%s]:%d" if ":" in self.host else "%s:%d") % (self.host, self.port)


class _Attempt:
    """A connect under way: what was asked, its socket, and how it ended so far."""

    def __init__(self, wish: Connect) -> None:
        self.wish = wish
        self.family = ""
        self.socket: Optional[socket.socket] = None
        self.outcome: Optional[str] = None
        self.detail = ""
        self.sent = 0

    def end(self, outcome: str, detail: str = "") -> None:
        self.outcome = outcome
        self.detail = detail or self.detail
        self.close()

    def close(self) -> None:
        if self.socket is not None:
            self.sent = self.sent or _syns(self.socket)
            self.socket.close()
            self.socket = None

    def record(self) -> Dict[str, Any]:
        found: Dict[str, Any] = {
            "group": self.wish.group,
            "target": self.wish.target,
            "family": self.family,
            "proto": "tcp",
            "outcome": self.outcome or "timeout",
            "sent": self.sent,
        }
        if self.wish.request:
            found["request"] = self.wish.request.split("\r\n", 1)[0]
        if self.wish.label:
            found["label"] = self.wish.label
        if self.detail:
            found["detail"] = self.detail
        return found


def connect_all(wishes: Sequence[Connect], patience: float = PATIENCE) -> List[Dict[str, Any]]:
    """Try every wish at the same time, for at most `patience` seconds; one record per wish, in their order.

    A record has group, target, family (`ipv4`, `ipv6`), proto, outcome and `sent`, the number of SYN packets that left
    this namespace; with a request also that request's first line, and the answer's status in `detail`, never a body.
    """
    attempts = [_Attempt(wish) for wish in wishes]
    with selectors.DefaultSelector() as selector:
        for attempt in attempts:
            _begin(attempt, selector)
        deadline = time.monotonic() + patience
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                selector.unregister(key.fileobj)
                _advance(key.data, selector)
    for attempt in attempts:
        if attempt.outcome == "open" and attempt.wish.request and not attempt.detail:
            attempt.detail = "no HTTP answer"
        attempt.close()
    return [attempt.record() for attempt in attempts]


def _begin(attempt: _Attempt, selector: selectors.BaseSelector) -> None:
    wish = attempt.wish
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            wish.host, wish.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )[0]
    except OSError as problem:
        attempt.end("unresolved", str(problem))
        return
    attempt.family = "ipv4" if family == socket.AF_INET or "::ffff:" in str(address[0]) else "ipv6"
    try:
        attempt.socket = socket.socket(family, kind, proto)
        attempt.socket.setblocking(False)
        number = attempt.socket.connect_ex(address)
    except OSError as problem:
        number = problem.errno or errno.EIO
    if number in (0, errno.EINPROGRESS) and attempt.socket is not None:
        selector.register(attempt.socket, selectors.EVENT_WRITE, attempt)
        return
    if attempt.socket is not None:
        attempt.socket.close()
        attempt.socket = None
    attempt.end("noroute" if number in LOCAL_REFUSALS else LATE.get(number, "error"), os.strerror(number))


def _advance(attempt: _Attempt, selector: selectors.BaseSelector) -> None:
    connection = attempt.socket
    if connection is None:
        return
    if attempt.outcome == "open":
        _read_status(attempt, connection)
        return
    number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        attempt.end(LATE.get(number, "error"), os.strerror(number))
        return
    attempt.outcome = "open"
    attempt.sent = _syns(connection)
    if not attempt.wish.request:
        attempt.close()
        return
    try:
        connection.send(attempt.wish.request.encode("ascii"))
    except OSError as problem:
        attempt.end("open", "no HTTP answer: %s" % problem.strerror)
        return
    selector.register(connection, selectors.EVENT_READ, attempt)


def _read_status(attempt: _Attempt, connection: socket.socket) -> None:
    try:
        head = connection.recv(64)
    except OSError as problem:
        attempt.end("open", "no HTTP answer: %s" % problem.strerror)
        return
    words = head.split(b"\r\n", 1)[0].split(b" ")
    spoke = words[0].startswith(b"HTTP/") and len(words) > 1 and words[1][:3].isdigit()
    attempt.end("open", "HTTP %s" % words[1][:3].decode() if spoke else "no HTTP answer")


def _syns(connection: socket.socket) -> int:
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TOTAL_RETRANSMISSIONS + 4)
    except OSError:
        return 0
    if len(info) < TOTAL_RETRANSMISSIONS + 4:
        return 0
    return 1 + int(struct.unpack_from("=I", info, TOTAL_RETRANSMISSIONS)[0])
