"""Hand records to the log store, and tell rsyslog only then that they are gone when the store has said so.

    clawkeep-log-send HOST PORT NAME TLS       as rsyslog's omprog starts it (confirmMessages, useTransactions)

rsyslog writes BEGIN TRANSACTION, records and COMMIT TRANSACTION, one a line, and reads one answer to each. Records go
out by RELP over TLS 1.2 or later with the certificate TLS/host.pem; the store's has to be signed by TLS/ca.pem and to
bear NAME. A commit is answered OK when the store has acknowledged every record; otherwise rsyslog keeps the batch and
gives it again, so a record may arrive twice, with one id. rsyslog's own omrelp counts a record as gone once it is in
the socket, and forgets it when it is stopped before the store is back.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time
from pathlib import Path
from typing import NoReturn

from clawkeep_host.command import Parser, conclude

PROGRAM = "clawkeep-log-send"
OFFER = b"relp_version=0\nrelp_software=clawkeep-log-send\ncommands=syslog"
SECONDS = 30.0
PAUSES = (0.5, 4.0)  # seconds between attempts at a store that is away, at first and at most
LAST = 999_999_998  # transaction numbers begin anew beyond it


class Refused(Exception):
    """The store, or the way to it, does not do what it should; the words are one sentence."""


class Store:
    """One connection to the store, made when it is needed and dropped at the first trouble."""

    def __init__(self, host: str, port: int, name: str, tls: Path) -> None:
        """Remember where the store is and who it has to be."""
        self.place, self.name = (host, port), name
        self.context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(tls / "ca.pem"))
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.load_cert_chain(tls / "host.pem", tls / "host.key")
        self.wire: ssl.SSLSocket | None = None
        self.number, self.rest = 0, b""

    def deliver(self, records: list[bytes]) -> None:
        """Send records and wait for every acknowledgement; raises OSError or Refused, and then nothing is certain."""
        try:
            if self.wire is None:
                self._open()
            first = self.number + 1
            frames = [self._frame(b"syslog", record) for record in records]
            waiting = set(range(first, self.number + 1))
            assert self.wire is not None  # noqa: S101 - opened above
            for at in range(0, len(frames), 64):  # no more on the way than both sides' buffers take
                self.wire.sendall(b"".join(frames[at : at + 64]))
                until = first + min(at + 64, len(frames))
                while any(number < until for number in waiting):
                    waiting.discard(self._acknowledged())
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Close the connection, whatever state it is in."""
        if self.wire is not None:
            self.wire.close()
        self.wire, self.number, self.rest = None, 0, b""

    def _open(self) -> None:
        raw = socket.create_connection(self.place, timeout=SECONDS)
        try:
            self.wire = self.context.wrap_socket(raw, server_hostname=self.name)
        except BaseException:
            raw.close()
            raise
        self.number, self.rest = 0, b""
        self.wire.sendall(self._frame(b"open", OFFER))
        self._acknowledged()

    def _frame(self, command: bytes, data: bytes) -> bytes:
        if self.number >= LAST:
            raise Refused("the connection's numbers are used up")
        self.number += 1
        return b"%d %s %d %s\n" % (self.number, command, len(data), data)

    def _acknowledged(self) -> int:
        """The number of the next record that the store has taken."""
        number, command = self._word(), self._word()
        data = self._data()
        if command == b"serverclose":
            raise Refused("the store closes the connection")
        if command != b"rsp" or not data.startswith(b"200"):
            raise Refused(f"the store refuses: {data[:80].decode('ascii', 'replace')}")
        return int(number)

    def _word(self) -> bytes:
        return self._until(b" ")

    def _data(self) -> bytes:
        length = b""
        while True:
            byte = self._take(1)
            if byte == b"\n":
                return b""
            if byte == b" ":
                break
            length += byte
        if not length.isdigit() or len(length) > 9:
            raise Refused("the store does not speak RELP")
        data = self._take(int(length))
        self._take(1)
        return data

    def _until(self, end: bytes) -> bytes:
        word = b""
        while len(word) < 40:
            byte = self._take(1)
            if byte == end:
                return word
            word += byte
        raise Refused("the store does not speak RELP")

    def _take(self, count: int) -> bytes:
        while len(self.rest) < count:
            assert self.wire is not None  # noqa: S101 - whoever reads has it open
            more = self.wire.recv(65536)
            if not more:
                raise Refused("the store has closed the connection")
            self.rest += more
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken


def answer(words: str) -> None:
    """One answer to rsyslog."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def serve(store: Store) -> None:
    """Serve rsyslog until it closes the pipe."""
    batch: list[bytes] = []
    pause = PAUSES[0]
    answer("OK")
    for line in sys.stdin.buffer:
        line = line.rstrip(b"\n")
        if line == b"BEGIN TRANSACTION":
            batch = []
            answer("OK")
        elif line == b"COMMIT TRANSACTION":
            try:
                store.deliver(batch)
                answer("OK")
                pause = PAUSES[0]
            except (OSError, Refused, ValueError) as problem:  # ssl.SSLError is an OSError
                time.sleep(pause)  # rsyslog asks again at once
                pause = min(2 * pause, PAUSES[1])
                answer(f"Error: {problem}".replace("\n", " ")[:300])
        else:
            batch.append(line)
            answer("DEFER_COMMIT")


def main() -> NoReturn:
    """Start as rsyslog does."""
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("port", metavar="PORT", type=int)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("tls", metavar="TLS", type=Path)
    wish = parser.parse_args()
    conclude(PROGRAM, lambda: serve(Store(wish.host, wish.port, wish.name, wish.tls)))
