"""Who is behind a browser's request: the session gate that nginx asks before it passes anything on.

`clawkeep-gate serve` answers nginx on a unix socket. Everything else is for root on the host: users, sessions, the
effective settings. Passwords come from the terminal or standard input, never from an argument.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import grp
import http.server
import json
import os
import pwd
import re
import socket
import socketserver
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from clawkeep_host.command import Parser, Refusal, conclude
from clawkeep_host.gate.pages import COOKIE, USER, Answer, Gate, Request
from clawkeep_host.gate.passwords import LEAST, LIMIT, hashed, weakness
from clawkeep_host.gate.store import Settings, Store, network_of

PROGRAM = "clawkeep-gate"
ACCOUNT = "clawkeep-gate"
CONFIG = Path("/etc/clawkeep/gate/gate.json")
STATE = Path("/var/lib/clawkeep-gate/gate.sqlite")
SOCKET = Path("/run/clawkeep-gate/gate.sock")
WEB_GROUP = "www-data"  # nginx's workers; nobody else may connect

PROBE = "clawkeep.probe"  # the owner of test sessions: no such user can be made, so nobody logs in as it
PROBE_SECONDS = 300
BODY_LIMIT = 4096  # bytes of a form
AT_ONCE = 64  # requests
REQUEST_SECONDS = 15
# Headers that decide; one that is there twice is nobody's word.
SINGLE = ("content-length", "origin", "sec-fetch-site", "cookie", "x-real-ip", "content-type")


class Handler(http.server.BaseHTTPRequestHandler):
    """One request a connection; nginx is the only client and has read the whole request already."""

    server: Server
    timeout = REQUEST_SECONDS
    protocol_version = "HTTP/1.0"

    def _serve(self) -> None:
        names = [name.lower() for name in self.headers]
        length = self.headers.get("Content-Length", "0")
        if (
            any(names.count(name) > 1 for name in SINGLE)
            or "transfer-encoding" in names
            or not re.fullmatch(r"[0-9]{1,9}", length)
        ):
            self._send(Answer(400))
        elif int(length) > BODY_LIMIT:
            self._send(Answer(413))
        else:
            body = self.rfile.read(int(length))
            headers = {name.lower(): value for name, value in self.headers.items()}
            client = network_of(headers.get("x-real-ip", ""))
            path = self.path.partition("?")[0]
            self._send(self.server.gate.answer(Request(self.command, path, headers, client, body)))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve

    def _send(self, answer: Answer) -> None:
        payload = answer.body.encode()
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    def send_error(self, code: int, *_: Any) -> None:
        """Answer what is no request with a bare status: the base class's page repeats what the client wrote."""
        self._send(Answer(code))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: nginx logs requests, and a line here could hold what a client wrote."""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The gate on its socket, with a bound on how many requests are in work."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: str, gate: Gate) -> None:
        """Listen on `path`, which is removed beforehand."""
        self.gate = gate
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        super().__init__(path, Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection; its address is empty for a unix socket, and the handler's base class wants a pair."""
        connection, _ = super().get_request()
        return connection, ("gate", 0)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the request to a thread once there is room."""
        self._slots.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Work, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, *_: Any) -> None:
        """One line without what the client sent."""
        problem = sys.exc_info()[1]
        if not isinstance(problem, OSError):
            print(f"a request broke: {type(problem).__name__}", file=sys.stderr, flush=True)


def serve(settings: Settings, store: Store, path: Path) -> None:
    """Answer until the process is ended."""
    server = Server(str(path), Gate(settings, store))
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(path, -1, grp.getgrnam(WEB_GROUP).gr_gid)
    path.chmod(0o660)
    print("the gate is ready", flush=True)
    server.serve_forever()


def become_gate() -> None:
    """As root, become the gate's account, so that every file in its folder stays its own."""
    if os.geteuid() != 0:
        return
    try:
        account = pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise Refusal(f"there is no account {ACCOUNT}: roll out role reverse_proxy first") from None
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def ask_password() -> str:
    """A password, twice from a terminal or one line from standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline(LIMIT * 4).rstrip("\n")
    try:
        first = getpass.getpass("New password: ")
        again = getpass.getpass("Again: ")
    except EOFError:
        raise Refusal("no password was given; nothing was changed") from None
    if first != again:
        raise Refusal("the two are not the same; nothing was changed")
    return first


def report(settings: Settings, store: Store, now: float) -> dict[str, Any]:
    """What is in force, for the verifier: no hash, no token, no name of a person."""
    users = store.users()
    costs = [stored.split("$")[:4] for _, stored, _ in users]
    return {
        "settings": vars(settings),
        "users": len(users),
        "locked": sum(locked for _, _, locked in users),
        "schemes": sorted({"$".join(cost) if len(cost) == 4 and cost[0] == "scrypt" else "other" for cost in costs}),
        "password_least": LEAST,
        "sessions": [
            {"age": round(now - created, 1), "unused": round(now - used, 1), "left": round(ends - now, 1)}
            for _, created, used, ends in store.rows()
        ],
        "cookie": COOKIE,
    }


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(PROGRAM, "The session gate of the browser entry.")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--state", type=Path, default=STATE)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=argparse.ArgumentParser)
    commands.add_parser("serve", help="answer nginx").add_argument("--socket", type=Path, default=SOCKET)
    user = commands.add_parser("user", help="people who may log in").add_subparsers(dest="what", required=True)
    for what, text in (
        ("add", "add a person; the password is asked for"),
        ("passwd", "set another password and end the person's sessions"),
        ("lock", "let nobody in under this name, and end its sessions"),
        ("unlock", "undo a lock"),
        ("remove", "forget a person"),
    ):
        user.add_parser(what, help=text).add_argument("name")
    user.add_parser("list", help="names, and whether locked")
    commands.add_parser("revoke", help="end the sessions of one person, or all").add_argument("name", nargs="?")
    commands.add_parser("report", help="what is in force, as JSON, without secrets")
    probe = commands.add_parser("probe-session", help="print the token of a test session that nobody logged in for")
    probe.add_argument("--seconds", type=int, default=60)
    commands.add_parser("probe-end", help="end all test sessions")
    return parser


def people(options: argparse.Namespace, store: Store) -> str:
    """Do what `user ...` asks for and say what was done."""
    if options.what == "list":
        return "\n".join(f"{name}{' (locked)' if locked else ''}" for name, _, locked in store.users())
    if not USER.fullmatch(options.name):
        raise Refusal("a name is a letter and up to 31 of a-z, 0-9, _ and -")
    try:
        if options.what in ("add", "passwd"):
            password = ask_password()
            why = weakness(password, options.name)
            if why:
                raise Refusal(f"this password is not taken: {why}; nothing was changed")
            store.set_password(options.name, hashed(password), new=options.what == "add")
        elif options.what == "remove":
            store.remove(options.name)
        else:
            store.set_locked(options.name, options.what == "lock")
    except KeyError:
        why = "exists already" if options.what == "add" else "is nobody"
        raise Refusal(f"{options.name} {why}; nothing was changed") from None
    return f"{options.name}: {options.what} done"


def run(options: argparse.Namespace) -> None:
    """Run one command; raises Refusal for what is wrong with the settings, the state or the request."""
    become_gate()
    os.umask(0o077)
    try:
        settings = Settings.load(options.config)
        store = Store(options.state, settings)
        if options.command == "serve":
            serve(settings, store, options.socket)
        elif options.command == "user":
            print(people(options, store))
        elif options.command == "revoke":
            print(f"{store.revoke(options.name)} sessions ended")
        elif options.command == "report":
            print(json.dumps(report(settings, store, time.time())))
        elif options.command == "probe-session":
            print(store.open(PROBE, max(1, min(options.seconds, PROBE_SECONDS))))
        else:
            print(f"{store.revoke(PROBE)} sessions ended")
    except ValueError as problem:
        raise Refusal(str(problem)) from None
    except sqlite3.Error as problem:
        raise Refusal(f"{options.state}: {problem}") from None


def main() -> NoReturn:
    """Read the command line, run the command and exit."""
    options = arguments().parse_args()
    conclude(PROGRAM, lambda: run(options))


if __name__ == "__main__":
    main()
