"""A time server: this machine's own clock, told by SNTP (RFC 4330) to anybody who asks.

Its arguments are the journal, for form's sake, and the addresses on which it answers.
"""

from __future__ import annotations

import selectors
import socket
import struct
import sys
import time

PORT = 123
EPOCH = 2_208_988_800  # seconds from 1900, where NTP counts from, to 1970
CLIENT, SERVER, VERSION = 3, 4, 4
PRECISION = -20  # a microsecond, as a power of two


def stamp(seconds: float) -> bytes:
    """An NTP time stamp: whole seconds since 1900 and their 32-bit fraction."""
    whole = int(seconds)
    return struct.pack("!II", (whole + EPOCH) % 2**32, int((seconds - whole) * 2**32))


def reply(question: bytes, received: float, sent: float) -> bytes | None:
    """The answer of a stratum 1 server to a client's packet; None for anything else."""
    if len(question) < 48 or question[0] & 7 != CLIENT:
        return None
    version = min(question[0] >> 3 & 7, VERSION)
    head = struct.pack("!BBbb II4s", version << 3 | SERVER, 1, question[2], PRECISION, 0, 1 << 6, b"LAB\0")
    return head + stamp(received) + question[40:48] + stamp(received) + stamp(sent)


def serve(addresses: list[str], port: int = PORT) -> None:
    """Answer on every address until the process ends."""
    chooser = selectors.DefaultSelector()
    for address in addresses:
        server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((address, port))
        chooser.register(server, selectors.EVENT_READ)
    while True:
        for ready, _ in chooser.select():
            server = ready.fileobj  # type: ignore[assignment]
            question, client = server.recvfrom(512)
            answer = reply(question, time.time(), time.time())
            if answer is not None:
                server.sendto(answer, client)


if __name__ == "__main__":
    serve(sys.argv[2:])
