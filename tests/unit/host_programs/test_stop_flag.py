"""The flag of a stopped agent: durable, private, read for what is legible of it, and missed by nobody."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from clawkeep_host import files, stop_flag
from clawkeep_host.stop_flag import FLAGS, Memory, is_set, read, remove, write

FULL = Memory("2026-12-01T00:00:00+00:00", ["clawkeep0"], {"a" * 64: {"Name": "always"}}, ["gateway.service"])


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    return tmp_path / "clawkeep/kill/active"


def test_the_two_places_of_the_flag_are_what_units_are_told() -> None:
    assert [str(path) for path in FLAGS] == ["/var/lib/clawkeep/kill/active", "/run/clawkeep/kill/active"]


def test_what_is_written_is_read_back(flag: Path) -> None:
    write(flag, FULL)
    assert read(flag) == FULL
    assert json.loads(flag.read_text()) == {
        "since": "2026-12-01T00:00:00+00:00",
        "bridges": ["clawkeep0"],
        "restart": {"a" * 64: {"Name": "always"}},
        "units": ["gateway.service"],
    }
    assert len(flag.read_text().splitlines()) > 5  # a person reads it, too


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_only_root_reads_it_whatever_the_umask(flag: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write(flag, FULL)
    finally:
        os.umask(before)
    assert flag.stat().st_mode & 0o7777 == 0o600
    assert flag.parent.stat().st_mode & 0o7777 == 0o700
    assert flag.parent.parent.stat().st_mode & 0o7777 == 0o755  # others have folders there, too


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(0o750)
    files.make_folder(tmp_path / "a", 0o700)
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o750
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        files.make_folder(tmp_path / "file")


def test_a_folder_that_two_make_at_once_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really, asked = Path.is_dir, []

    def is_dir(path: Path) -> bool:
        asked.append(path)
        if len(asked) == 1:
            path.mkdir()  # the other one, between the look and the making
            return False
        return really(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    files.make_folder(tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", '"word"', "{", "{}", '{"restart": 3}', '{"since": null}', "\xff"],
    ids=["empty", "null", "list", "string", "cut off", "object", "odd policies", "no time", "no text"],
)
def test_a_flag_that_says_nothing_is_empty_and_still_one(flag: Path, text: str) -> None:
    flag.parent.mkdir(parents=True)
    flag.write_bytes(text.encode("latin-1"))
    assert read(flag) == Memory()
    assert read(flag).is_empty
    assert is_set([flag])


def test_of_an_odd_flag_the_legible_is_read(flag: Path) -> None:
    flag.parent.mkdir(parents=True)
    odd = {"since": 5, "bridges": ["a", 1, None], "units": "word", "restart": {"x": {"Name": "always"}, "y": 3}}
    flag.write_text(json.dumps(odd))
    assert read(flag) == Memory("", ["a"], {"x": {"Name": "always"}}, [])
    assert not read(flag).is_empty


def test_a_flag_that_is_not_there_is_empty(flag: Path) -> None:
    assert read(flag).is_empty
    assert not is_set([flag])
    (flag.parent.parent.parent / "clawkeep").touch()  # a file where the folder would be
    assert not is_set([flag])


def test_one_flag_of_several_is_enough(flag: Path, tmp_path: Path) -> None:
    write(flag, Memory())
    assert is_set([tmp_path / "none", flag])
    assert is_set([flag, tmp_path / "none"])
    assert not is_set([])


def test_a_flag_that_leads_nowhere_is_one(tmp_path: Path) -> None:
    """systemd follows it and sees none; whoever put it there did not mean to start the agent."""
    (tmp_path / "active").symlink_to("/nowhere")
    assert is_set([tmp_path / "active"])


def test_a_flag_that_cannot_be_looked_at_counts_as_one(flag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "lstat", broken)
    assert is_set([flag])


def test_two_memories_are_joined_without_a_loss() -> None:
    one = Memory("1", ["b", "a"], {"x": {"Name": "always"}}, ["u"])
    two = Memory("2", ["c", "a"], {"x": {"Name": "no"}, "y": {"Name": "on-failure"}}, ["t", "u"])
    both = one.joined(two)
    assert both == Memory("1", ["a", "b", "c"], {"x": {"Name": "always"}, "y": {"Name": "on-failure"}}, ["t", "u"])
    assert Memory().joined(two).since == "2"
    assert one.restart == {"x": {"Name": "always"}}


def test_a_flag_is_removed_for_good(flag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[Path] = []
    monkeypatch.setattr(files, "settle", settled.append)
    write(flag, FULL)
    settled.clear()
    remove(flag)
    assert not flag.exists()
    assert settled == [flag.parent]
    remove(flag)  # there is none
    flag.parent.rmdir()
    remove(flag)
    assert settled == [flag.parent, flag.parent]


def test_a_flag_that_stays_is_told(flag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    write(flag, FULL)
    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(OSError, match="Read-only"):
        remove(flag)
    assert stop_flag.read(flag) == FULL
