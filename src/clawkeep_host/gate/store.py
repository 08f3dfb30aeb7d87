"""Users, sessions and failed attempts in one SQLite file, and the settings that limit them.

Of sessions the file has digests alone: whoever steals it has no session.

Attempts are counted by who makes them and by whom they are for. Each limit is twice the one before, and a lock lasts at
least as long as attempts are counted together; so whoever has one address, a /64 or a /56 is refused for that long
before the attempts (fewer than two limits' worth within any such time) add up to the limit of something shared:

    an address                   `attempts`, and nothing wider for IPv4 and inside the VPN
    its /64, outside the VPN     twice as many: whoever has one address of a /64 can usually take any other
    its /56, outside the VPN     four times as many
    a name, over all addresses   eight times as many, but not from addresses from which its owner came in lately
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import json
import os
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Union

TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 random bytes
WIDER = ((64, 2), (56, 4))  # the length of an IPv6 network, and its attempts as a multiple of one address's
NAME_TIMES = 8
KNOWN_SECONDS = 30 * 86400
KEPT_ROWS = 20_000  # of attempts; beyond them those that are nearest to being forgotten go

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, hash TEXT NOT NULL, locked INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS sessions (
  digest TEXT PRIMARY KEY, user TEXT NOT NULL, created REAL NOT NULL, used REAL NOT NULL, ends REAL NOT NULL);
CREATE TABLE IF NOT EXISTS attempts (
  key TEXT PRIMARY KEY, since REAL NOT NULL, count INTEGER NOT NULL, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS known (user TEXT NOT NULL, net TEXT NOT NULL, seen REAL NOT NULL, PRIMARY KEY (user, net));
"""


@dataclass(frozen=True)
class Settings:
    """What the role wrote into gate.json. Times are seconds; `origin` is `https://name`.

    In `peer_networks`, the VPN's, nobody has more than the addresses that were given to him.
    """

    origin: str
    idle: int
    absolute: int
    attempts: int
    window: int
    lockout: int
    peer_networks: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read gate.json; raises OSError, or ValueError naming what is wrong."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as problem:
            raise ValueError(f"{path}: it is not JSON: {problem}") from None
        if not isinstance(raw, dict):
            raise ValueError(f"{path}: it must be an object")
        numbers = {}
        for name in ("idle", "absolute", "attempts", "window", "lockout"):
            value = raw.get(name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{path}: {name} must be a whole number above 0")
            numbers[name] = value
        origin, networks = raw.get("origin"), raw.get("peer_networks", [])
        if not isinstance(origin, str) or not re.fullmatch(r"https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?", origin):
            raise ValueError(f"{path}: origin must be https:// and a lower-case name")
        if not isinstance(networks, list) or not all(isinstance(one, str) for one in networks):
            raise ValueError(f"{path}: peer_networks must be a list of networks")
        settings = cls(origin, **numbers, peer_networks=tuple(networks))
        if settings.idle > settings.absolute:
            raise ValueError(f"{path}: idle is longer than absolute")
        if settings.lockout < settings.window:
            raise ValueError(f"{path}: lockout is shorter than window, so one address could lock out its neighbours")
        try:
            settings.networks()
        except ValueError as problem:
            raise ValueError(f"{path}: peer_networks: {problem}") from None
        return settings

    def networks(self) -> tuple[Network, ...]:
        """The networks of `peer_networks`; raises ValueError for what is none."""
        return tuple(ipaddress.ip_network(one) for one in self.peer_networks)


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
    """The narrowest network that attempts are counted by: the address itself in one spelling, `?` for what is none."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "?"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(parsed)


class Store:
    """Users, sessions and attempts in one SQLite file; safe to use from several threads and processes.

    Everywhere `address` is as `network_of` spells it. Raises sqlite3.Error when the file cannot be used. The clock is
    read within a change: of two at the same time, the one that comes second would else look as if the clock had gone
    back, which ends a session and begins a count anew.
    """

    def __init__(self, path: Path, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """Open or make the file, for its owner alone; raises OSError when that is not possible, links included."""
        self._settings = settings
        self._peers = settings.networks()
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
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite ends it by itself when, say, the disk is full
                    self._db.execute("ROLLBACK")
                raise

    # users

    def users(self) -> list[tuple[str, str, bool]]:
        """Name, hash and whether locked, of everybody."""
        with self._lock:
            rows = self._db.execute("SELECT name, hash, locked FROM users ORDER BY name").fetchall()
        return [(name, stored, bool(locked)) for name, stored, locked in rows]

    def set_password(self, user: str, stored: str, *, new: bool) -> None:
        """Add a user, or give one another password; raises KeyError when that is not possible.

        A new password ends the sessions, and no address counts as the owner's any more: the old one may have been
        somebody else's, too.
        """
        with self._change() as db:
            exists = db.execute("SELECT 1 FROM users WHERE name = ?", (user,)).fetchone() is not None
            if exists == new:
                raise KeyError(user)
            db.execute(
                "INSERT INTO users (name, hash) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET hash = excluded.hash",
                (user, stored),
            )
            db.execute("DELETE FROM sessions WHERE user = ?", (user,))
            db.execute("DELETE FROM known WHERE user = ?", (user,))

    def set_locked(self, user: str, locked: bool) -> None:
        """Lock or unlock a user; raises KeyError for nobody.

        Both end the sessions and forget the name's attempts and addresses.
        """
        with self._change() as db:
            if not db.execute("UPDATE users SET locked = ? WHERE name = ?", (int(locked), user)).rowcount:
                raise KeyError(user)
            db.execute("DELETE FROM sessions WHERE user = ?", (user,))
            db.execute("DELETE FROM known WHERE user = ?", (user,))
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

    def reserve(self, user: str, address: str) -> float:
        """Count an attempt before it is judged, so that many at once are no way around; seconds to wait, 0 for none.

        What has to wait is not counted. Give back with `withdraw` what is not judged after all.
        """
        window, lockout = self._settings.window, self._settings.lockout
        with self._change() as db:
            now = self._clock()
            # No lock outlasts the settings of today, nor a clock that went back.
            db.execute("UPDATE attempts SET until = ? WHERE until > ?", (now + lockout, now + lockout))
            limits = self._limits(db, user, address, now)
            rows = {
                key: db.execute("SELECT since, count, until FROM attempts WHERE key = ?", (key,)).fetchone()
                for key in limits
            }
            wait: float = max(row[2] - now if row else 0.0 for row in rows.values())
            if wait > 0:
                return wait
            for key, most in limits.items():
                since, count, _ = rows[key] or (now, 0, 0.0)
                if not 0 <= now - since < window:
                    since, count = now, 0
                until = now + lockout if count + 1 >= most else 0.0
                db.execute("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?)", (key, since, count + 1, until))
            self._sweep(db, now)
        return 0.0

    def withdraw(self, user: str, address: str) -> None:
        """Take back an attempt that was counted and then not judged."""
        with self._change() as db:
            self._take_back(db, user, address)

    def admit(self, user: str, stored: str, address: str) -> str | None:
        """A session's token for an attempt that was right for the hash `stored`, unless that is no longer the user's.

        It may have changed, and the user been locked, while the password was hashed. The attempt is taken back, and
        this address counts as the owner's from now on. Wrong ones stay counted: who has an account of his own does not
        earn guesses at another by logging in.
        """
        with self._change() as db:
            row = db.execute("SELECT hash FROM users WHERE name = ? AND locked = 0", (user,)).fetchone()
            if row is None or row[0] != stored:
                return None
            self._take_back(db, user, address)
            db.execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", (user, address, self._clock()))
            return self._open(db, user, self._settings.absolute)

    def _take_back(self, db: sqlite3.Connection, user: str, address: str) -> None:
        for key in self._limits(db, user, address, self._clock()):
            db.execute("UPDATE attempts SET count = count - 1, until = 0 WHERE key = ? AND count > 0", (key,))

    def _limits(self, db: sqlite3.Connection, user: str, address: str, now: float) -> dict[str, int]:
        """What an attempt counts for, and how many attempts each has."""
        attempts = self._settings.attempts
        limits = {f"net {address}": attempts}
        limits.update({f"net {network}": attempts * times for network, times in self._wider(address)})
        known = db.execute("SELECT seen FROM known WHERE user = ? AND net = ?", (user, address)).fetchone()
        if not known or not 0 <= now - known[0] <= KNOWN_SECONDS:
            limits[f"user {user}"] = attempts * NAME_TIMES
        return limits

    def _wider(self, address: str) -> Iterator[tuple[ipaddress.IPv6Network, int]]:
        """The networks that an address is counted with, and how often the attempts of one address they have."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return
        if parsed.version == 6 and not any(parsed in network for network in self._peers):
            for length, times in WIDER:
                yield ipaddress.IPv6Network((int(parsed), length), strict=False), times

    def _sweep(self, db: sqlite3.Connection, now: float) -> None:
        db.execute("DELETE FROM attempts WHERE until <= ? AND since <= ?", (now, now - self._settings.window))
        db.execute("DELETE FROM sessions WHERE ends <= ? OR used <= ?", (now, now - self._settings.idle))
        db.execute("DELETE FROM known WHERE seen < ?", (now - KNOWN_SECONDS,))
        surplus = "SELECT key FROM attempts ORDER BY until DESC, since DESC LIMIT -1 OFFSET ?"
        db.execute(f"DELETE FROM attempts WHERE key IN ({surplus})", (KEPT_ROWS,))  # noqa: S608 - a constant

    # sessions

    def open(self, user: str, seconds: float) -> str:
        """The token of a new session that nobody logged in for; it ends after `seconds`, or the absolute limit."""
        with self._change() as db:
            return self._open(db, user, min(seconds, self._settings.absolute))

    def _open(self, db: sqlite3.Connection, user: str, seconds: float) -> str:
        token, now = secrets.token_urlsafe(32), self._clock()
        self._sweep(db, now)
        db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", (digest_of(token), user, now, now, now + seconds))
        return token

    def session(self, token: str) -> Session | None:
        """The live session of a token, which counts as used now. A clock that went back ends sessions, too."""
        if not TOKEN.fullmatch(token):
            return None
        digest = digest_of(token)
        with self._change() as db:
            now = self._clock()
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
        """User, created, used and end of every live session; those that have ended may be kept for a while."""
        idle, absolute = self._settings.idle, self._settings.absolute
        with self._lock:
            rows = self._db.execute("SELECT user, created, used, ends FROM sessions ORDER BY created").fetchall()
            now = self._clock()
        found = [(user, created, used, min(ends, created + absolute)) for user, created, used, ends in rows]
        return [row for row in found if row[1] <= now < row[3] and row[2] <= now < row[2] + idle]
