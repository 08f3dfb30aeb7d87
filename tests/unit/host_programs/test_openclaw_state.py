"""`clawkeep_host.openclaw_state` reads what OpenClaw wrote, and no database that an agent made keeps it from ending."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clawkeep_host import openclaw_state
from clawkeep_host.openclaw_state import Busy, Database, StateError

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
VIEW = f"{ENDLESS} SELECT x AS a FROM c"  # noqa: S608 - what is planted


def made(path: Path, *statements: str) -> Path:
    """A database in which these were executed."""
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return path


def read(path: Path, columns: str = "*", rest: str = "", table: str = "t") -> list[dict[str, Any]]:
    with Database(str(path)) as database:
        return database.rows(table, columns, rest)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return made(tmp_path / "x.sqlite", "CREATE TABLE t (a INTEGER, b TEXT)", "INSERT INTO t VALUES (1, 'x'), (2, NULL)")


def test_rows_are_read_by_their_columns(plain: Path) -> None:
    assert read(plain) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    assert read(plain, "rowid AS n, max(a, 7) AS m", "WHERE a > 1") == [{"n": 2, "m": 7}]
    assert read(plain, table="nothing") == []
    with Database(str(plain)) as database:
        assert database.rows("t", "a", "WHERE a = ?", (2,)) == [{"a": 2}]
        assert not database.overdue()


def test_a_database_that_is_being_written_is_read_as_it_was_committed(tmp_path: Path) -> None:
    """As the gateway has it open: its journal holds what the file does not hold yet."""
    path = tmp_path / "x.sqlite"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("PRAGMA wal_autocheckpoint=0")
    writer.execute("CREATE TABLE t (a)")
    writer.execute("INSERT INTO t VALUES (1)")
    assert (tmp_path / "x.sqlite-wal").stat().st_size > 0
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO t VALUES (2)")
    with Database(str(path)) as database:
        assert database.rows("t", "a", "") == [{"a": 1}]
        writer.execute("COMMIT")
        assert database.rows("t", "a", "") == [{"a": 1}]  # one moment
    assert read(path) == [{"a": 1}, {"a": 2}]
    writer.close()


@pytest.mark.parametrize("name", ["a?b.sqlite", "a#b.sqlite", "a%62.sqlite", "a b&mode=rwc.sqlite", "\u00e9.sqlite"])
def test_a_name_is_no_part_of_the_address(tmp_path: Path, name: str) -> None:
    path = made(tmp_path / name, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    assert read(path) == [{"a": 1}]
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_nothing_is_written(plain: Path) -> None:
    before = plain.read_bytes()
    with Database(str(plain)) as database:
        for statement in (
            "INSERT INTO t VALUES (3, 'y')",
            "DELETE FROM t",
            "DROP TABLE t",
            "ATTACH 'x' AS y",
            "VACUUM",
        ):
            with pytest.raises(StateError):
                database._read(statement)
    assert plain.read_bytes() == before
    assert [one.name for one in plain.parent.iterdir()] == ["x.sqlite"]


# --- what is no database ----------------------------------------------------------------------------------------------


def descriptors() -> int:
    """How many this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def a_link(path: Path) -> None:
    path.symlink_to(made(path.with_name("real"), "CREATE TABLE t (a)"))


def a_dangling_link(path: Path) -> None:
    path.symlink_to("/nonexistent")


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def test_why_a_file_cannot_be_opened_is_told(tmp_path: Path) -> None:
    a_link(tmp_path / "x.sqlite")
    with pytest.raises(StateError, match=r"^it cannot be opened: Too many levels of symbolic links$"):
        read(tmp_path / "x.sqlite")


def test_where_there_is_no_proc_the_path_is_opened(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the collector's child, whose root is the agent's state."""
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    assert len(read(plain)) == 2


def text(path: Path) -> None:
    path.write_text("no database at all " * 100, encoding="utf-8")


def a_header(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + os.urandom(4080))


@pytest.mark.parametrize("make", [a_link, a_dangling_link, a_device, os.mkfifo, Path.mkdir, text, a_header])
def test_what_is_no_database_is_told(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "x.sqlite"
    make(path)
    before = descriptors()
    with pytest.raises(StateError) as told:
        read(path)
    assert not isinstance(told.value, Busy)
    assert descriptors() == before


def test_what_is_not_there_may_come(tmp_path: Path) -> None:
    with pytest.raises(Busy, match=r"^it is not there$"):
        read(tmp_path / "x.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").touch()
    assert read(tmp_path / "x.sqlite") == []


def test_a_device_is_no_file() -> None:
    with pytest.raises(StateError, match="no regular file"):
        openclaw_state.regular("/dev/null")


def test_who_locks_everybody_out_is_told_as_busy(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openclaw_state, "BUSY_SECONDS", 0.1)
    writer = sqlite3.connect(plain, isolation_level=None)
    writer.execute("PRAGMA locking_mode=EXCLUSIVE")
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Busy, match="locked"):
        read(plain)
    writer.close()
    assert len(read(plain)) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a folder read-only")
def test_a_database_that_nobody_has_open_is_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    """As the exporter sees the state of a gateway that was stopped: in WAL mode, without the journal's files."""
    path = made(tmp_path / "x.sqlite", "PRAGMA journal_mode=WAL", "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    program = (
        "import sys; from clawkeep_host.openclaw_state import Database\n"
        "with Database(sys.argv[1]) as database: print(database.rows('t', 'a', ''))"
    )
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c "$3" "$1/x.sqlite"'
    argv = ["unshare", "-m", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, program]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert (done.stdout, done.stderr) == ("[{'a': 1}]\n", "")
    assert [one.name for one in tmp_path.iterdir()] == ["x.sqlite"]
    # With a journal that nobody replays, the file alone would be half of the truth.
    (tmp_path / "x.sqlite-wal").write_bytes(b"x" * 100)
    assert "Busy" in subprocess.run(argv, capture_output=True, text=True, check=False).stderr
    assert path.exists()


# --- what computes ----------------------------------------------------------------------------------------------------


def forged(path: Path, *rows: tuple[str, str, str]) -> Path:
    """A database whose schema says (type, name, sql) whatever its maker likes."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE z (a)")
        connection.execute("PRAGMA writable_schema=ON")
        for kind, name, sql in rows:
            connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, 0, ?)", (kind, name, name, sql))
    connection.close()
    return path


@pytest.mark.parametrize(
    "statements",
    [
        [f"CREATE VIEW t AS {VIEW}"],
        [f"CREATE VIEW T AS {VIEW}"],
        ["CREATE TABLE u (a)", "CREATE VIEW t AS SELECT a FROM u"],
        ["CREATE TABLE t (rowid TEXT, a)", "INSERT INTO t VALUES ('x', 1)"],
        ["CREATE TABLE t (ROWID TEXT, a)"],
        ['CREATE TABLE t (a, "b""c")'],
        ["CREATE TABLE t (a)", "CREATE TRIGGER t AFTER INSERT ON t BEGIN SELECT 1; END"],
        ["CREATE VIRTUAL TABLE t USING fts5(a)"],
    ],
)
def test_what_is_no_plain_table_is_refused(tmp_path: Path, statements: list[str]) -> None:
    try:
        path = made(tmp_path / "x.sqlite", *statements)
    except sqlite3.OperationalError as problem:
        pytest.skip(str(problem))
    began = time.monotonic()
    with pytest.raises(StateError, match=r"t is no plain table|vtable constructor failed"):
        read(path, "a")
    assert time.monotonic() - began < openclaw_state.SECONDS


@pytest.mark.parametrize(
    "rows",
    [
        [("table", "t", f"CREATE VIEW t AS {VIEW}")],
        [("table", "t", f"CREATE /**/ VIEW t AS {VIEW}")],
        [("table", "t", "CREATE TABLE u (a)"), ("table", "u", f"CREATE VIEW t AS {VIEW}")],
        [("table", "t", "CREATE TABLE t (a)"), ("view", "v", f"CREATE VIEW t AS {VIEW}")],
        [("table", "t", None), ("view", "v", f"CREATE VIEW t AS {VIEW}")],
        [("view", "t", "CREATE TABLE t (a)")],
    ],
)
def test_a_schema_that_lies_is_refused(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    path = forged(tmp_path / "x.sqlite", *rows)
    began = time.monotonic()
    with pytest.raises(StateError) as told:
        read(path, "a")
    assert time.monotonic() - began < openclaw_state.SECONDS
    assert "takes too long" not in str(told.value)


def test_a_column_that_computes_is_not_read(tmp_path: Path) -> None:
    """Not even where it would only fail; others go on for ever."""
    statements = [
        "CREATE TABLE t (a, g AS (1), s AS (a || 'x') STORED, b)",
        "INSERT INTO t (a, b) VALUES (1, 2)",
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET sql = replace(sql, '(1)', '(abs(-9223372036854775807 - a))')",
    ]
    path = made(tmp_path / "x.sqlite", *statements)
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.Error, match="overflow"):
        connection.execute("SELECT * FROM t").fetchall()
    assert read(path) == [{"a": 1, "b": 2}]
    for columns, rest in (("g", ""), ("a", "WHERE g = 1"), ("a", "ORDER BY g"), ("s", ""), ("max(a, g)", "")):
        with pytest.raises(StateError, match="prohibited"):
            read(path, columns, rest)


def test_no_other_table_is_read_and_no_function_called(plain: Path) -> None:
    made(plain, "CREATE TABLE u (a)", "INSERT INTO u VALUES (5)")
    for columns, rest in (
        *(
            ("(SELECT a FROM u) AS a", ""),
            ("a", "WHERE a IN (SELECT a FROM u)"),
            ("a", f"UNION {VIEW}"),
        ),
        *(("hex(a)", ""), ("zeroblob(9)", ""), ("load_extension('x')", ""), ("a", "WHERE b GLOB 'x'")),
    ):
        with pytest.raises(StateError):
            read(plain, columns, rest)
    assert read(plain, "a", "WHERE b LIKE 'X%'") == [{"a": 1}]


def test_reading_ends_when_its_time_is_over(tmp_path: Path) -> None:
    path = made(tmp_path / "x.sqlite", "CREATE TABLE t (a)", f"INSERT INTO t {VIEW} LIMIT 300000")
    with Database(str(path), seconds=-1.0) as database:
        assert database.overdue()
        for _ in range(2):
            with pytest.raises(StateError, match=r"^reading it takes too long$") as told:
                database.rows("t", "a", "WHERE a < 0")
            assert not isinstance(told.value, Busy)
    assert len(read(path, "a", "LIMIT 3")) == 3


# --- what cannot be shown ---------------------------------------------------------------------------------------------


def test_text_in_no_encoding_is_text(tmp_path: Path) -> None:
    path = made(tmp_path / "x.sqlite", "CREATE TABLE t (a)", "INSERT INTO t VALUES (CAST(x'68ff69' AS TEXT))")
    assert read(path) == [{"a": "h\ufffdi"}]


def test_a_number_that_is_too_large_is_told(plain: Path) -> None:
    with Database(str(plain)) as database, pytest.raises(StateError, match="too large"):
        database.rows("t", "a", "WHERE a > ?", (1 << 70,))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python sets no limits of SQLite's yet")
def test_a_value_that_is_too_large_is_told(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(plain, "INSERT INTO t VALUES (3, zeroblob(5000))")
    monkeypatch.setitem(openclaw_state.LIMITS, "SQLITE_LIMIT_LENGTH", 4000)
    with pytest.raises(StateError, match="too big"):
        read(plain)
    assert read(plain, "*", "WHERE a < 3") == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]


def test_a_damaged_file_is_told(plain: Path) -> None:
    made(plain, "CREATE TABLE u (a)", *["INSERT INTO u VALUES (zeroblob(3000))"] * 40)
    data = bytearray(plain.read_bytes())
    data[8192:] = b"\x05" * (len(data) - 8192)
    plain.write_bytes(data)
    with pytest.raises(StateError, match=r"malformed|not a database"):
        read(plain, table="u")


def packed(data: bytes) -> bytes:
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_compress.restype = ctypes.c_size_t
    room = ctypes.create_string_buffer(len(data) + 1024)
    size = library.ZSTD_compress(room, ctypes.c_size_t(len(room)), data, ctypes.c_size_t(len(data)), 3)
    return room.raw[:size]


@pytest.mark.skipif(ctypes.util.find_library("zstd") is None, reason="this machine has no libzstd")
def test_what_was_packed_is_unpacked_up_to_the_length_of_an_event() -> None:
    text = '{"a": "\u00e9"}' * 200
    assert openclaw_state.unpacked(packed(text.encode())) == text
    assert openclaw_state.unpacked(packed(b"\xff")) == "\ufffd"
    most = openclaw_state.EVENT_LIMIT
    assert openclaw_state.unpacked(packed(b"a" * most)) == "a" * most
    assert openclaw_state.unpacked(packed(b"a" * (most + 1))) is None
    assert openclaw_state.unpacked(packed(bytes(64 << 20))) is None  # some 2 KiB that unpack to 64 MiB
    for junk in (b"", b"no zstd", packed(text.encode())[:-4]):
        assert openclaw_state.unpacked(junk) in (None, "")
    assert openclaw_state.event_text({"event_json": None, "event_zstd": packed(b"{}")}) == "{}"
    assert openclaw_state.event_text({"event_json": "[]", "event_zstd": packed(b"{}")}) == "[]"
    assert openclaw_state.event_text({"event_json": b"x", "event_zstd": "x"}) is None


def test_without_its_library_nothing_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: (_ for _ in ()).throw(OSError("no")))
    openclaw_state._zstd.cache_clear()
    assert openclaw_state.unpacked(b"x") is None
    monkeypatch.undo()
    openclaw_state._zstd.cache_clear()


def test_the_functions_that_may_be_called_are_those_that_are_needed() -> None:
    root = Path(openclaw_state.__file__).parents[1]
    readers = [root / "clawkeep_host/log/openclaw_tables.py", root / "clawkeep/collector/experiments/turns.py"]
    asked = " ".join(path.read_text(encoding="utf-8") for path in readers)
    for function in openclaw_state.FUNCTIONS:
        assert re.search(rf"\b{function}\b", asked, re.I), f"{function} is called by nobody"
