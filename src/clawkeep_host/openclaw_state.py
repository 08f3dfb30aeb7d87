"""Read OpenClaw's state: SQLite databases that belong to the agent, who may have made them to harm whoever reads them.

What is opened is a regular file, not a link or a pipe. Of a database only what was written into plain tables is read:
no view, no virtual table, no generated column, nothing that computes. Each has a time and a number of bytes, a value
that cannot be read costs its own row, and text in no encoding is text all the same. What hangs all the same (a file
that was swapped for a pipe, a function that takes for ever) hangs its process: whoever uses this gives it one of its
own.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sqlite3
import stat
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

EVENT_LIMIT = 4_194_304  # bytes of one event, above which OpenClaw does not compress either
SECONDS = 5.0  # that one database may take
BUSY_SECONDS = 2.0  # that a lock is waited for
STEPS = 20_000  # of SQLite's machine between two looks at the clock
LIMITS = {"SQLITE_LIMIT_LENGTH": 16 << 20, "SQLITE_LIMIT_ATTACHED": 0}  # of SQLite's own; Python sets them since 3.11
FUNCTIONS = frozenset({"max", "min", "typeof", "like"})
PRAGMAS = ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON", "mmap_size=0")
READ, FUNCTION, PRAGMA = sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_PRAGMA
SCHEMA = ("sqlite_master", "sqlite_schema")
_FAILURES = (sqlite3.Error, OverflowError, MemoryError, ValueError)


class StateError(Exception):
    """A database, or what takes its place, cannot be read; the words are a sentence without its end."""


class Busy(StateError):
    """Somebody writes and lets nobody read, or the file is about to be made: later it may be readable."""


class Database:
    """One database of OpenClaw's as it is at one moment, open for reading until the end of a `with`."""

    def __init__(self, path: str, seconds: float = SECONDS) -> None:
        """Open it; raises StateError when it is no regular file or no database, Busy when it may be one later."""
        self.path = path
        self.deadline = time.monotonic() + seconds
        self._plain: dict[str, tuple[str, ...]] = {}  # by table, its columns that hold what was written
        self._file = regular(path)
        try:
            self._connection = self._open()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Database:
        """The database itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._connection.close()
        os.close(self._file)

    def overdue(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() > self.deadline

    def rows(self, table: str, columns: str, rest: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """SELECT `columns` FROM `table` `rest`; `*` is every column that computes nothing. None without such a table.

        Raises StateError when the table is not plain, and when reading it fails or takes too long.
        """
        if not self._is_plain(table):
            return []
        wanted = ", ".join(f'"{name}"' for name in self._plain[table]) if columns == "*" else columns
        return self._read(f"SELECT {wanted} FROM {table} {rest}", values)  # noqa: S608 - the caller's own words

    def _open(self) -> sqlite3.Connection:
        # The link of /proc leads to the file that was looked at, and SQLite finds the journal beside it through it.
        link = f"/proc/self/fd/{self._file}"
        path = link if os.path.lexists(link) else self.path
        try:
            return self._connected(f"file:{quote(path)}?mode=ro")
        except Busy as problem:
            # Where no lock can be made, nobody has it open; then without a journal the file is all there is.
            if "unable to open" not in str(problem) or _size(f"{self.path}-wal"):
                raise
        return self._connected(f"file:{quote(path)}?immutable=1")

    def _connected(self, address: str) -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            if hasattr(connection, "setlimit"):
                for name, most in LIMITS.items():
                    connection.setlimit(getattr(sqlite3, name), most)
            connection.set_progress_handler(lambda: int(self.overdue()), STEPS)
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()  # reads the schema
            connection.set_authorizer(self._authorized)
        except _FAILURES as problem:
            connection.close()
            raise self._refused(problem) from None
        return connection

    def _is_plain(self, table: str) -> bool:
        """Whether there is such a table; raises StateError when it is one that computes."""
        if table in self._plain:
            return True
        statement = "SELECT type, sql FROM sqlite_master WHERE name = ? COLLATE NOCASE"
        found = self._read(statement, (table,))
        if not found:
            return False
        columns = self._read(f'PRAGMA table_xinfo("{table}")')
        names = tuple(str(column["name"]) for column in columns if not column["hidden"])
        plain = len(found) == 1 and found[0]["type"] == "table" and str(found[0]["sql"]).startswith("CREATE TABLE ")
        if not plain or any(name.lower() == "rowid" or '"' in name for name in names):
            raise StateError(f"{table} is no plain table")
        self._plain[table] = names
        return True

    def _read(self, statement: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        try:
            return [dict(zip(row.keys(), row)) for row in self._connection.execute(statement, values)]
        except _FAILURES as problem:
            raise self._refused(problem) from None

    def _authorized(self, action: int, first: str | None, second: str | None, _: str | None, view: str | None) -> int:
        """What a statement may do, and the schema that it meets: read plain tables, and call a few functions."""
        allowed = action == sqlite3.SQLITE_SELECT
        if action == READ:
            written = self._plain.get(first or "", ())
            allowed = first in SCHEMA or second in written or (first in self._plain and second in ("", "ROWID"))
        elif action == FUNCTION:
            allowed = second in FUNCTIONS
        elif action == PRAGMA:
            allowed = first == "table_xinfo"
        return sqlite3.SQLITE_OK if allowed and view is None else sqlite3.SQLITE_DENY

    def _refused(self, problem: BaseException) -> StateError:
        words = str(problem)[:200] or type(problem).__name__
        if self.overdue():
            return StateError("reading it takes too long")
        if "locked" in words or "unable to open" in words:
            return Busy(words)
        return StateError(words)


def regular(path: str) -> int:
    """A descriptor of a regular file, opened without following or waiting; raises StateError for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        raise Busy("it is not there") from None
    except OSError as problem:
        raise StateError(f"it cannot be opened: {problem.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StateError("it is no regular file")
    return descriptor


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def unpacked(packed: bytes) -> str | None:
    """What OpenClaw compressed, as it does with most events from a kilobyte on; None where libzstd cannot.

    The room is fixed: what unpacks to more than an event may have is not unpacked.
    """
    library = _zstd()
    if library is None:
        return None
    plain = _room()
    size = library.ZSTD_decompress(plain, ctypes.c_size_t(EVENT_LIMIT), packed, ctypes.c_size_t(len(packed)))
    if library.ZSTD_isError(ctypes.c_size_t(size)):
        return None
    return ctypes.string_at(plain, size).decode("utf-8", "replace")


@functools.cache
def _zstd() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libzstd.so.1")  # dpkg and systemd need it: every Debian has it
        library.ZSTD_decompress.restype = ctypes.c_size_t
        return library
    except (OSError, AttributeError):
        return None


@functools.cache
def _room() -> Any:
    return ctypes.create_string_buffer(EVENT_LIMIT)


def event_text(row: dict[str, Any]) -> str | None:
    """The JSON of a transcript's row, unpacked where it was compressed; None when there is none that can be read."""
    text, packed = row.get("event_json"), row.get("event_zstd")
    if isinstance(text, str):
        return text
    return unpacked(packed) if isinstance(packed, bytes) else None
