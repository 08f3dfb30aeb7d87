"""The HTTP servers of the world: many addresses, plain and TLS, every request one line in the journal."""

from __future__ import annotations

import argparse
import json
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

_LARGEST_BODY = 1 << 20  # bytes; a stand-in never needs more, and must not be filled up


class Journal:
    """JSON lines in a file; safe to write from many threads."""

    def __init__(self, path: Path) -> None:
        """Open `path` for appending."""
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()

    def write(self, **facts: object) -> None:
        """Append one line with the facts and the time (seconds since the epoch)."""
        with self._lock:
            self._file.write(json.dumps({"time": round(time.time(), 3), **facts}) + "\n")


@dataclass(frozen=True)
class Request:
    """What a stand-in is asked. `query` is the raw text after the question mark."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    peer: str
    local: str


@dataclass(frozen=True)
class Reply:
    """What it answers."""

    status: int = 200
    body: str = ""
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def json(cls, value: object, status: int = 200) -> Reply:
        """A JSON document."""
        return cls(status, json.dumps(value) + "\n", "application/json")


class Application:
    """A stand-in's answers; subclasses say `answer`."""

    def answer(self, request: Request) -> Reply:
        """The reply to one request."""
        raise NotImplementedError


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, app: Application, journal: Journal, tls: ssl.SSLContext | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.app, self.journal, self.tls = app, journal, tls
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without the base class's look-up of our own name, which waits for a resolver that is not there."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet about clients that break off, such as port scanners; anything else is worth its traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Server

    def setup(self) -> None:
        # The handshake belongs to the connection's own thread: a silent client must not stop the others.
        if self.server.tls is not None:
            self.request.settimeout(self.timeout)
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def _serve(self) -> None:
        length = min(int(self.headers.get("Content-Length") or 0), _LARGEST_BODY)
        url = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=url.path,
            query=url.query,
            headers={k.lower(): v for k, v in self.headers.items()},
            body=self.rfile.read(length),
            peer=_plain(self.client_address[0]),
            local=_plain(self.connection.getsockname()[0]),
        )
        reply = self.server.app.answer(request)
        self.server.journal.write(
            peer=request.peer,
            local=request.local,
            tls=self.server.tls is not None,
            method=request.method,
            host=request.headers.get("host", ""),
            path=self.path,
            status=reply.status,
        )
        body = reply.body.encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in reply.headers:
            self.send_header(name, value)
        self.end_headers()
        if request.method != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the journal has it."""


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")


def start(
    app: Application, addresses: Sequence[str], port: int, journal: Journal, tls: ssl.SSLContext | None = None
) -> list[ThreadingHTTPServer]:
    """Listen on every address, each in a thread; the servers tell the port where `port` was 0."""
    servers: list[ThreadingHTTPServer] = [_Server(a, port, app, journal, tls) for a in addresses]
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return servers


def tls_context(certificate: Path) -> ssl.SSLContext:
    """A server's TLS from one PEM file with its key and chain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def main(app: Application) -> None:
    """Run a stand-in: `--journal FILE [--certificate PEM] ADDRESS...`; port 80, with a certificate also 443."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("addresses", nargs="+")
    arguments = parser.parse_args()
    journal = Journal(arguments.journal)
    start(app, arguments.addresses, 80, journal)
    if arguments.certificate is not None:
        start(app, arguments.addresses, 443, journal, tls_context(arguments.certificate))
    threading.Event().wait()
