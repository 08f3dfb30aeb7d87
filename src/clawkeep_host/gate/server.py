#!/usr/bin/python3
"""Who is behind a browser's request: the session gate that nginx asks before it passes anything on.

`clawkeep-gate serve` answers nginx on a unix socket. Everything else is for root on the host: users, sessions, the
effective settings. Passwords come from the terminal or standard input, never from an argument. Only the standard
library is used. One file holds users, sessions and failed attempts; of sessions it has digests alone.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import grp
import hashlib
import hmac
import html
import http.server
import ipaddress
import json
import os
import pwd
import re
import secrets
import socket
import socketserver
import sqlite3
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any

ACCOUNT = "clawkeep-gate"
CONFIG = Path("/etc/clawkeep/gate/gate.json")
STATE = Path("/var/lib/clawkeep-gate/gate.sqlite")
SOCKET = Path("/run/clawkeep-gate/gate.sock")
WEB_GROUP = "www-data"  # nginx's workers; nobody else may connect

SESSION_COOKIE = "__Host-clawkeep"
FORM_COOKIE = "__Host-clawkeep-form"
COOKIE = "Path=/; Secure; HttpOnly; SameSite=Strict"
PROBE = "clawkeep.probe"  # the owner of test sessions: no such user can be made, so nobody logs in as it
PROBE_SECONDS = 300

USER = re.compile(r"[a-z][a-z0-9_-]{0,31}")
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
BODY_LIMIT = 4096  # bytes of a form
PASSWORD_LIMIT = 1024
PASSWORD_LEAST = 14
FORM_SECONDS = 3600
AT_ONCE = 64  # requests
HASHES_AT_ONCE = 2  # each takes 32 MB
REQUEST_SECONDS = 15
USER_FACTOR = 4  # a name is locked for strange addresses after this many times the attempts of one address
KNOWN_SECONDS = 30 * 86400
KEPT_ROWS = 20_000

SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P = 15, 8, 3  # 32 MB, three times over: what OWASP calls enough
WORDS = tuple(
    word
    for line in (
        "password passwort passwd letmein welcome changeme secret admin administrator root qwertyuiop qwerty ",
        "asdfgh zxcvbn iloveyou monkey dragon football baseball sunshine princess master superman batman trustno ",
        "openclaw clawkeep clawdbot moltbot correct horse battery staple correcthorsebatterystaple default ",
        "example test user login access company team summer winter spring autumn january february march april ",
        "june july august september october november december ",
    )
    for word in line.split()
)
RUNS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm")
LEET = str.maketrans("@4310$5!7", "aaeioss" + "it")


@dataclass(frozen=True)
class Settings:
    """What the role wrote into gate.json. Times are seconds; `origin` is `https://name`."""

    origin: str
    idle: int
    absolute: int
    attempts: int
    window: int
    lockout: int

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read gate.json; raises ValueError naming what is wrong."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        numbers = {name: raw[name] for name in ("idle", "absolute", "attempts", "window", "lockout")}
        for name, value in numbers.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{path}: {name} must be a whole number above 0")
        if not re.fullmatch(r"https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?", raw["origin"]):
            raise ValueError(f"{path}: origin must be https:// and a lower-case name")
        if numbers["idle"] > numbers["absolute"]:
            raise ValueError(f"{path}: idle is longer than absolute")
        return cls(raw["origin"], **numbers)


# --- passwords -------------------------------------------------------------------------------------------------------


def scrypt(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    """The 32 bytes of scrypt."""
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=1 << log_n, r=r, p=p, maxmem=1 << 27, dklen=32
    )


def hashed(password: str) -> str:
    """`scrypt$log N$r$p$salt$hash`, the last two in hex."""
    salt = secrets.token_bytes(16)
    digest = scrypt(password, salt, SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P)
    return f"scrypt${SCRYPT_LOG_N}${SCRYPT_R}${SCRYPT_P}${salt.hex()}${digest.hex()}"


DUMMY = f"scrypt${SCRYPT_LOG_N}${SCRYPT_R}${SCRYPT_P}${'00' * 16}${'00' * 32}"  # the work for a name that is nobody's


def matches(password: str, stored: str) -> bool:
    """Whether `password` has this hash; anything but scrypt with at least today's cost matches nothing."""
    with contextlib.suppress(ValueError):
        scheme, log_n, r, p, salt, digest = stored.split("$")
        cost = (int(log_n), int(r), int(p))
        if scheme == "scrypt" and SCRYPT_LOG_N <= cost[0] <= 20 and cost[1] == SCRYPT_R and 1 <= cost[2] <= 8:
            return hmac.compare_digest(scrypt(password, bytes.fromhex(salt), *cost), bytes.fromhex(digest))
    return False


def weakness(password: str, user: str) -> str:
    """Why a password is not taken; empty when it is."""
    if len(password) < PASSWORD_LEAST:
        return f"it has {len(password)} characters, and {PASSWORD_LEAST} are the least"
    if len(password.encode("utf-8", "surrogatepass")) > PASSWORD_LIMIT:
        return f"it is longer than {PASSWORD_LIMIT} bytes"
    if len(set(password)) < 6:
        return "it repeats a few characters"
    rest = password.lower()
    for text in (rest, rest.translate(LEET)):
        left = text
        for word in sorted({*WORDS, user, user.replace("_", "")}, key=len, reverse=True):
            left = left.replace(word, "") if word else left
        for run in RUNS:
            for size in range(len(run), 3, -1):
                for start in range(len(run) - size + 1):
                    part = run[start : start + size]
                    left = left.replace(part, "").replace(part[::-1], "")
        if len(set(left)) < 6:
            return "it is made of common words, names or runs of keys"
    return ""


# --- state -----------------------------------------------------------------------------------------------------------

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, hash TEXT NOT NULL, locked INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS sessions (
  digest TEXT PRIMARY KEY, user TEXT NOT NULL, created REAL NOT NULL, used REAL NOT NULL, ends REAL NOT NULL);
CREATE TABLE IF NOT EXISTS attempts (key TEXT PRIMARY KEY, since REAL NOT NULL, count INTEGER NOT NULL, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS known (user TEXT NOT NULL, net TEXT NOT NULL, seen REAL NOT NULL, PRIMARY KEY (user, net));
"""


@dataclass(frozen=True)
class Session:
    """A live session; `csrf` is the token of its forms."""

    user: str
    created: float
    ends: float
    csrf: str


def digest_of(token: str) -> str:
    """What is kept of a session's token."""
    return hashlib.sha256(token.encode()).hexdigest()


def network_of(address: str) -> str:
    """What attempts are counted by: an IPv4 address, the /64 of an IPv6 one, `?` for anything else."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "?"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class Store:
    """Users, sessions and attempts in one SQLite file; safe to use from several threads and processes."""

    def __init__(self, path: Path, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """Open or make the file, for its owner alone."""
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        self._db.executescript("PRAGMA secure_delete=ON;" + SCHEMA)

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    # users

    def users(self) -> list[tuple[str, str, bool]]:
        """Name, hash and whether locked, of everybody."""
        with self._lock:
            return [
                (n, h, bool(x)) for n, h, x in self._db.execute("SELECT name, hash, locked FROM users ORDER BY name")
            ]

    def set_password(self, user: str, stored: str, *, new: bool) -> None:
        """Add a user, or give one another password and end the sessions; raises KeyError when that is not possible."""
        with self._change() as db:
            exists = db.execute("SELECT 1 FROM users WHERE name = ?", (user,)).fetchone() is not None
            if exists == new:
                raise KeyError(user)
            db.execute(
                "INSERT INTO users (name, hash) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET hash = excluded.hash",
                (user, stored),
            )
            db.execute("DELETE FROM sessions WHERE user = ?", (user,))

    def set_locked(self, user: str, locked: bool) -> None:
        """Lock or unlock a user; a lock ends the sessions. Raises KeyError for nobody."""
        with self._change() as db:
            if not db.execute("UPDATE users SET locked = ? WHERE name = ?", (int(locked), user)).rowcount:
                raise KeyError(user)
            db.execute("DELETE FROM sessions WHERE user = ?", (user,))
            db.execute("DELETE FROM attempts WHERE key = ?", (f"user {user}",))

    def remove(self, user: str) -> None:
        """Forget a user, with sessions and addresses. Raises KeyError for nobody."""
        with self._change() as db:
            if not db.execute("DELETE FROM users WHERE name = ?", (user,)).rowcount:
                raise KeyError(user)
            db.execute("DELETE FROM sessions WHERE user = ?", (user,))
            db.execute("DELETE FROM known WHERE user = ?", (user,))

    def stored_hash(self, user: str) -> str | None:
        """The hash of a user who may log in."""
        with self._lock:
            row = self._db.execute("SELECT hash FROM users WHERE name = ? AND locked = 0", (user,)).fetchone()
        return row[0] if row else None

    # attempts

    def reserve(self, user: str, net: str) -> float:
        """Count an attempt before it is judged, so that many at once are no way around; seconds to wait, 0 for none.

        An address has the tier's attempts. A name has some more over all addresses, but those from which its owner
        came in lately are not locked with it: nobody locks a colleague out by guessing.
        """
        now = self._clock()
        window, attempts = self._settings.window, self._settings.attempts
        limits = [(f"net {net}", attempts)]
        with self._change() as db:
            known = db.execute("SELECT seen FROM known WHERE user = ? AND net = ?", (user, net)).fetchone()
            if not known or not 0 <= now - known[0] <= KNOWN_SECONDS:
                limits.append((f"user {user}", attempts * USER_FACTOR))
            rows = {
                key: db.execute("SELECT since, count, until FROM attempts WHERE key = ?", (key,)).fetchone()
                for key, _ in limits
            }
            wait = max((row[2] - now for row in rows.values() if row), default=0.0)
            if wait > 0:
                return wait
            for key, most in limits:
                since, count, _ = rows[key] or (now, 0, 0.0)
                if not 0 <= now - since < window:
                    since, count = now, 0
                until = now + self._settings.lockout if count + 1 >= most else 0.0
                db.execute("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?)", (key, since, count + 1, until))
            self._sweep(db, now)
        return 0.0

    def _sweep(self, db: sqlite3.Connection, now: float) -> None:
        db.execute("DELETE FROM attempts WHERE until < ? AND since < ?", (now, now - self._settings.window))
        db.execute("DELETE FROM sessions WHERE ends <= ? OR used <= ?", (now, now - self._settings.idle))
        db.execute("DELETE FROM known WHERE seen < ?", (now - KNOWN_SECONDS,))
        db.execute(
            "DELETE FROM attempts WHERE key IN (SELECT key FROM attempts ORDER BY until DESC LIMIT -1 OFFSET ?)",
            (KEPT_ROWS,),
        )

    def succeeded(self, user: str, net: str) -> None:
        """Forget the attempts of an address that came in, and remember that it did."""
        with self._change() as db:
            db.execute("DELETE FROM attempts WHERE key = ?", (f"net {net}",))
            db.execute("UPDATE attempts SET count = count - 1 WHERE key = ? AND until = 0", (f"user {user}",))
            db.execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", (user, net, self._clock()))

    # sessions

    def open(self, user: str, seconds: float | None = None) -> str:
        """A new session's token; it ends after `seconds`, or after the absolute limit."""
        token = secrets.token_urlsafe(32)
        now = self._clock()
        ends = now + min(seconds or self._settings.absolute, self._settings.absolute)
        with self._change() as db:
            self._sweep(db, now)
            db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", (digest_of(token), user, now, now, ends))
        return token

    def session(self, token: str) -> Session | None:
        """The live session of a token, which counts as used now. A clock that went back ends sessions, too."""
        if not TOKEN.fullmatch(token):
            return None
        digest, now = digest_of(token), self._clock()
        with self._change() as db:
            row = db.execute("SELECT user, created, used, ends FROM sessions WHERE digest = ?", (digest,)).fetchone()
            if row is None:
                return None
            user, created, used, ends = row
            # The settings of today count, also for a session that began under longer ones.
            ends = min(ends, created + self._settings.absolute)
            if not (created <= now < ends and used <= now < used + self._settings.idle):
                db.execute("DELETE FROM sessions WHERE digest = ?", (digest,))
                return None
            db.execute("UPDATE sessions SET used = ? WHERE digest = ?", (now, digest))
        csrf = hmac.new(token.encode(), b"clawkeep-gate form", "sha256").hexdigest()
        return Session(user, created, ends, csrf)

    def close(self, token: str) -> None:
        """End one session."""
        with self._change() as db:
            db.execute("DELETE FROM sessions WHERE digest = ?", (digest_of(token),))

    def revoke(self, user: str | None = None) -> int:
        """End every session, or those of one user; how many there were."""
        with self._change() as db:
            if user is None:
                return db.execute("DELETE FROM sessions").rowcount
            return db.execute("DELETE FROM sessions WHERE user = ?", (user,)).rowcount

    def rows(self) -> list[tuple[str, float, float, float]]:
        """User, created, used and ends of every session that is kept."""
        with self._lock:
            return list(self._db.execute("SELECT user, created, used, ends FROM sessions ORDER BY created"))


# --- requests --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """One request as nginx hands it over: header names in lower case, `client` the address that nginx saw."""

    method: str
    path: str
    headers: Mapping[str, str]
    client: str
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """Status, headers in order, and an HTML text."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:22rem;margin:12vh auto;padding:0 1rem}}label{{display:block;margin:1rem 0}}
input{{display:block;width:100%;box-sizing:border-box;font:inherit;padding:.5rem}}button{{font:inherit;padding:.5rem 1rem}}
[role=alert]{{border-left:4px solid #b00020;padding-left:.75rem}}</style></head>
<body><main><h1>{title}</h1>{body}</main></body></html>
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
ALIKE = "Name or password is wrong, or this account is locked."


class Gate:
    """The decisions; `store` remembers and `settings` limits. No answer tells whether a name exists."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], float] = time.time) -> None:
        """Begin with a form key of this process's own: forms do not outlive a restart, sessions do."""
        self.settings = settings
        self.store = store
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._hashing = threading.BoundedSemaphore(HASHES_AT_ONCE)

    def answer(self, request: Request) -> Answer:
        """The answer to one request of nginx."""
        routes: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "/auth"): self._auth,
            ("GET", "/login"): self._form,
            ("HEAD", "/login"): self._form,
            ("POST", "/login"): self._login,
            ("GET", "/gate/session"): self._page,
            ("POST", "/gate/logout"): self._logout,
            ("POST", "/gate/revoke"): self._logout,
        }
        route = routes.get((request.method, request.path))
        if route:
            return route(request)
        known = any(path == request.path for _, path in routes)
        return self._say(405 if known else 404, "Not here", "<p>There is nothing here.</p>")

    # what nginx asks about every request

    def _auth(self, request: Request) -> Answer:
        session = self._session(request)
        if session is None:
            return Answer(401)
        method = request.headers.get("x-gate-method", "")
        upgrade = request.headers.get("x-gate-upgrade", "")
        if (method not in ("GET", "HEAD") or upgrade) and not self._same_origin(request):
            return Answer(403)
        return Answer(204, (("X-Gate-User", session.user),))

    def _same_origin(self, request: Request) -> bool:
        """Whether the request comes from the entry's own pages: the exact Origin, and no other word of the browser's."""
        site = request.headers.get("sec-fetch-site", "same-origin")
        return request.headers.get("origin") == self.settings.origin and site == "same-origin"

    def _session(self, request: Request) -> Session | None:
        token = self._cookie(request, SESSION_COOKIE)
        return self.store.session(token) if token else None

    @staticmethod
    def _cookie(request: Request, name: str) -> str:
        """A cookie's value; empty when it is not there exactly once."""
        pairs = [part.strip().partition("=") for part in request.headers.get("cookie", "").split(";")]
        found = [value for key, _, value in pairs if key == name]
        with contextlib.suppress(CookieError):
            if len(found) == 1 and SimpleCookie(f"{name}={found[0]}"):
                return found[0]
        return ""

    # forms

    def _say(self, status: int, title: str, body: str, *headers: tuple[str, str]) -> Answer:
        # What the browser is told about framing, types and referrers, nginx adds to every answer.
        fixed = (("Content-Security-Policy", POLICY), ("Cache-Control", "no-store"))
        return Answer(status, (*fixed, *headers), PAGE.format(title=html.escape(title), body=body))

    def _form_token(self, nonce: str, at: int) -> str:
        return f"{at}.{hmac.new(self._key, f'{nonce} {at}'.encode(), 'sha256').hexdigest()}"

    def _form(self, request: Request, status: int = 200, trouble: str = "", *headers: tuple[str, str]) -> Answer:
        nonce = self._cookie(request, FORM_COOKIE)
        if not TOKEN.fullmatch(nonce):
            nonce = secrets.token_urlsafe(32)
        token = self._form_token(nonce, int(self._clock()))
        alert = f'<p role="alert">{html.escape(trouble)}</p>' if trouble else ""
        body = (
            f'{alert}<form method="post" action="/login" autocomplete="on">'
            f'<input type="hidden" name="csrf" value="{token}">'
            '<label>Name<input name="user" autocomplete="username" autocapitalize="none" required autofocus></label>'
            '<label>Password<input name="password" type="password" autocomplete="current-password" required></label>'
            "<button>Log in</button></form>"
        )
        return self._say(status, "Log in", body, ("Set-Cookie", f"{FORM_COOKIE}={nonce}; {COOKIE}"), *headers)

    @staticmethod
    def _fields(request: Request) -> dict[str, str] | None:
        """The fields of a posted form; None when it is not one, or one of them is there twice."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            return None
        try:
            pairs = urllib.parse.parse_qsl(
                request.body.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict"
            )
        except ValueError:
            return None
        fields = dict(pairs)
        return fields if len(fields) == len(pairs) else None

    def _fresh(self, request: Request, token: str) -> bool:
        """Whether the token is of a form that this gate gave to this browser within the hour."""
        nonce = self._cookie(request, FORM_COOKIE)
        written, _, _ = token.partition(".")
        if not TOKEN.fullmatch(nonce) or not re.fullmatch(r"[0-9]{1,12}", written):
            return False
        expected = self._form_token(nonce, int(written))
        young = 0 <= self._clock() - int(written) < FORM_SECONDS
        return hmac.compare_digest(expected.encode(), token.encode("utf-8", "surrogatepass")) and young

    def _login(self, request: Request) -> Answer:
        if not self._same_origin(request):
            return self._say(403, "Refused", "<p>This form was sent from another site.</p>")
        fields = self._fields(request)
        if fields is None:
            return self._say(400, "Refused", "<p>That is not the form of this page.</p>")
        if not self._fresh(request, fields.get("csrf", "")):
            return self._form(request, 403, "The form is too old. Please try again.")
        user, password = fields.get("user", ""), fields.get("password", "")
        named = user if USER.fullmatch(user) else ""
        net = network_of(request.client)
        wait = self.store.reserve(named, net)
        if wait > 0:
            seconds = int(wait) + 1
            return self._form(request, 429, "Too many attempts. Please wait.", ("Retry-After", str(seconds)))
        stored = self.store.stored_hash(named)
        with self._hashing:
            right = matches(password[:PASSWORD_LIMIT], stored or DUMMY) and stored is not None
        if not right or len(password) > PASSWORD_LIMIT:
            print(f"login refused for {json.dumps(named)} from {net}", flush=True)
            return self._form(request, 401, ALIKE)
        self.store.succeeded(named, net)
        former = self._cookie(request, SESSION_COOKIE)
        if former:
            self.store.close(former)
        token = self.store.open(named)
        print(f"login of {named} from {net}", flush=True)
        # No lifetime: the browser forgets it when it closes, the server when it decides to.
        return self._go("/", f"{SESSION_COOKIE}={token}; {COOKIE}", f"{FORM_COOKIE}=; {COOKIE}; Max-Age=0")

    @staticmethod
    def _go(where: str, *cookies: str) -> Answer:
        kept = tuple(("Set-Cookie", cookie) for cookie in cookies)
        return Answer(303, (("Location", where), ("Cache-Control", "no-store"), *kept))

    def _page(self, request: Request) -> Answer:
        session = self._session(request)
        if session is None:
            return self._go("/login")
        minutes = int((session.ends - self._clock()) // 60)
        buttons = "".join(
            f'<form method="post" action="{path}"><input type="hidden" name="csrf" value="{session.csrf}">'
            f"<p><button>{label}</button></p></form>"
            for path, label in (("/gate/logout", "Log out"), ("/gate/revoke", "Log out everywhere"))
        )
        body = f"<p>{html.escape(session.user)}, for {minutes} more minutes at most.</p>{buttons}"
        return self._say(200, "Your session", body)

    def _logout(self, request: Request) -> Answer:
        session = self._session(request)
        if session is None:
            return self._go("/login", f"{SESSION_COOKIE}=; {COOKIE}; Max-Age=0")
        fields = self._fields(request) or {}
        right = hmac.compare_digest(session.csrf.encode(), fields.get("csrf", "").encode("utf-8", "surrogatepass"))
        if not self._same_origin(request) or not right:
            return self._say(403, "Refused", "<p>This form was sent from another site.</p>")
        if request.path == "/gate/revoke":
            self.store.revoke(session.user)
        else:
            self.store.close(self._cookie(request, SESSION_COOKIE))
        print(f"logout of {session.user}", flush=True)
        return self._go("/login", f"{SESSION_COOKIE}=; {COOKIE}; Max-Age=0")


# --- server ----------------------------------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """One request a connection; nginx is the only client and has read the whole request already."""

    server: Server
    timeout = REQUEST_SECONDS
    protocol_version = "HTTP/1.0"

    def _serve(self) -> None:
        names = [name.lower() for name in self.headers]
        single = ("content-length", "origin", "sec-fetch-site", "cookie", "x-real-ip", "content-type")
        lengths = self.headers.get("Content-Length", "0")
        if (
            any(names.count(name) > 1 for name in single)
            or "transfer-encoding" in names
            or not re.fullmatch(r"[0-9]{1,9}", lengths)
        ):
            answer = Answer(400)
        elif int(lengths) > BODY_LIMIT:
            answer = Answer(413)
        else:
            body = self.rfile.read(int(lengths))
            headers = {name.lower(): value for name, value in self.headers.items()}
            path = self.path.partition("?")[0]
            client = headers.get("x-real-ip", "")
            answer = self.server.gate.answer(Request(self.command, path, headers, client, body))
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

    do_GET = do_HEAD = do_POST = _serve

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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line without what the client sent."""
        problem = sys.exc_info()[1]
        if not isinstance(problem, OSError):
            print(f"a request broke: {type(problem).__name__}", file=sys.stderr, flush=True)


def serve(settings: Settings, store: Store, path: Path) -> None:
    """Answer until the process is ended."""
    os.umask(0o077)
    server = Server(str(path), Gate(settings, store))
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(path, -1, grp.getgrnam(WEB_GROUP).gr_gid)
    path.chmod(0o660)
    print("the gate is ready", flush=True)
    server.serve_forever()


# --- command line ----------------------------------------------------------------------------------------------------


def become_gate() -> None:
    """As root, become the gate's account, so that every file in its folder stays its own."""
    if os.geteuid() == 0:
        account = pwd.getpwnam(ACCOUNT)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)


def ask_password() -> str:
    """A password, twice from a terminal or one line from standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline(PASSWORD_LIMIT * 4).rstrip("\n")
    first = getpass.getpass("New password: ")
    if first != getpass.getpass("Again: "):
        raise SystemExit("clawkeep-gate: the two are not the same; nothing was changed")
    return first


def report(settings: Settings, store: Store, now: float) -> dict[str, Any]:
    """What is in force, for the verifier: no hash, no token, no name of a person."""
    costs = [stored.split("$")[:4] for _, stored, _ in store.users()]
    return {
        "settings": vars(settings),
        "users": len(costs),
        "locked": sum(locked for _, _, locked in store.users()),
        "schemes": sorted({"$".join(cost) if len(cost) == 4 and cost[0] == "scrypt" else "other" for cost in costs}),
        "password_least": PASSWORD_LEAST,
        "sessions": [
            {"age": round(now - created, 1), "unused": round(now - used, 1), "left": round(ends - now, 1)}
            for _, created, used, ends in store.rows()
        ],
        "cookie": COOKIE,
    }


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="clawkeep-gate", description="The session gate of the browser entry.")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--state", type=Path, default=STATE)
    commands = parser.add_subparsers(dest="command", required=True)
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
        raise SystemExit("clawkeep-gate: a name is a letter and up to 31 of a-z, 0-9, _ and -")
    try:
        if options.what in ("add", "passwd"):
            password = ask_password()
            why = weakness(password, options.name)
            if why:
                raise SystemExit(f"clawkeep-gate: this password is not taken: {why}; nothing was changed")
            store.set_password(options.name, hashed(password), new=options.what == "add")
        elif options.what == "remove":
            store.remove(options.name)
        else:
            store.set_locked(options.name, options.what == "lock")
    except KeyError:
        known = "exists already" if options.what == "add" else "is nobody"
        raise SystemExit(f"clawkeep-gate: {options.name} {known}; nothing was changed") from None
    return f"{options.name}: {options.what} done"


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command."""
    options = arguments().parse_args(argv)
    become_gate()
    os.umask(0o077)
    try:
        settings = Settings.load(options.config)
        store = Store(options.state, settings)
    except (OSError, ValueError, KeyError, TypeError, sqlite3.Error) as problem:
        raise SystemExit(f"clawkeep-gate: {problem}") from None
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


if __name__ == "__main__":
    main()
