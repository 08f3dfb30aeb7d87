"""Whatever a detour would lead to: ports that accept, and datagrams that come back. Every peer is in the journal.

It stands for ssh and mail servers elsewhere, for DNS over TLS, HTTPS and QUIC, for time servers and QUIC sites: a probe
of them needs somebody who answers, or silence would prove nothing.
"""

from __future__ import annotations

import argparse
import socket
import threading
from pathlib import Path

from clawkeep.lab.world.http import Journal


def serve(kind: socket.SocketKind, address: str, port: int, journal: Journal) -> socket.socket:
    """Listen in a thread; the socket tells the port where `port` was 0."""
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    if kind == socket.SOCK_STREAM:
        server.listen(64)
    work = _accept if kind == socket.SOCK_STREAM else _echo
    threading.Thread(target=work, args=(server, journal), daemon=True).start()
    return server


def _accept(server: socket.socket, journal: Journal) -> None:
    while True:
        try:
            client, peer = server.accept()
        except OSError:
            return
        client.close()
        journal.write(proto="tcp", peer=peer[0], local=server.getsockname()[:2])


def _echo(server: socket.socket, journal: Journal) -> None:
    while True:
        try:
            data, peer = server.recvfrom(4096)
            server.sendto(data, peer)
        except OSError:
            return
        journal.write(proto="udp", peer=peer[0], local=server.getsockname()[:2])


def main() -> None:
    """Run it: `--journal FILE [--tcp PORT]... [--udp PORT]... ADDRESS...`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--tcp", type=int, action="append", default=[])
    parser.add_argument("--udp", type=int, action="append", default=[])
    parser.add_argument("addresses", nargs="+")
    arguments = parser.parse_args()
    journal = Journal(arguments.journal)
    for address in arguments.addresses:
        for port in arguments.tcp:
            serve(socket.SOCK_STREAM, address, port, journal)
        for port in arguments.udp:
            serve(socket.SOCK_DGRAM, address, port, journal)
    threading.Event().wait()


if __name__ == "__main__":
    main()
