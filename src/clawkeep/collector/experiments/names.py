"""Ask given DNS servers for the addresses of names, from whatever namespace the calling thread is in.

The standard resolver would read the collector's own resolv.conf; a container has another one.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from typing import Dict, List, Sequence, Tuple

A, AAAA, IN = 1, 28, 1
RECURSION_DESIRED = 0x0100


def servers_in(resolv_conf: str) -> List[str]:
    """The `nameserver` addresses in the text of a resolv.conf."""
    words = [line.split() for line in resolv_conf.splitlines()]
    return [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]


def resolve(names: Sequence[str], servers: Sequence[str], patience: float = 1.5) -> Dict[str, List[str]]:
    """The IPv4 and IPv6 addresses of each name as any server gives them within `patience` seconds; [] means none."""
    questions: List[Tuple[str, int]] = [(name, kind) for name in names for kind in (A, AAAA)]
    found: Dict[str, List[str]] = {name: [] for name in names}
    waiting = {(server, number) for server in servers for number in range(len(questions))}
    with selectors.DefaultSelector() as selector:
        for server in servers:
            _ask(server, questions, selector)
        deadline = time.monotonic() + patience
        while waiting and selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                try:
                    answer = key.fileobj.recv(4096)  # type: ignore[union-attr]
                except OSError:
                    continue
                number, addresses = _addresses(answer)
                waiting.discard((key.data, number))
                if number < len(questions):
                    known = found[questions[number][0]]
                    known.extend(address for address in addresses if address not in known)
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    return found


def _ask(server: str, questions: Sequence[Tuple[str, int]], selector: selectors.BaseSelector) -> None:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            server, 53, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0]
        client = socket.socket(family, kind, proto)
        client.setblocking(False)
        client.connect(address)
        for number, (name, record) in enumerate(questions):
            labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
            head = struct.pack("!6H", number, RECURSION_DESIRED, 1, 0, 0, 0)
            client.send(head + labels + b"\0" + struct.pack("!2H", record, IN))
    except OSError:
        return
    selector.register(client, selectors.EVENT_READ, server)


def _addresses(message: bytes) -> Tuple[int, List[str]]:
    """The id of a DNS answer and the addresses in its answer section; nothing of a message that is cut short."""
    addresses: List[str] = []
    try:
        number, _, asked, answered = struct.unpack_from("!4H", message)
        at = 12
        for _ in range(asked):
            at = _past_name(message, at) + 4
        for _ in range(answered):
            at = _past_name(message, at)
            record, _, _, size = struct.unpack_from("!2HIH", message, at)
            data = message[at + 10 : at + 10 + size]
            at += 10 + size
            if record == A and size == 4:
                addresses.append(socket.inet_ntop(socket.AF_INET, data))
            elif record == AAAA and size == 16:
                addresses.append(socket.inet_ntop(socket.AF_INET6, data))
    except (struct.error, IndexError, ValueError):
        return (struct.unpack_from("!H", message)[0] if len(message) > 1 else 0xFFFF), []
    return number, addresses


def _past_name(message: bytes, at: int) -> int:
    while message[at]:
        if message[at] & 0xC0:
            return at + 2
        at += message[at] + 1
    return at + 1
