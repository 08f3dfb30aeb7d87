"""The ledger: what counts as a run, what is refused, and a file that is never half written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from clawkeep.base import atomic, clock
from clawkeep.base.errors import ClawkeepError
from clawkeep.site import ledger, period
from clawkeep.site.ledger import Attempt, Ledger

BEGIN = "2026-11-01T00:00:00Z"


def attempt(number: int, *, complete: bool = True) -> Attempt:
    time = f"2026-11-{number:02}T00:00:00Z"
    return Attempt(
        name=time.replace("-", "").replace(":", ""),
        started=time,
        finished=time,
        exit_status=0,
        hosts={"alpha": "measured"} if complete else {},
        signed_by="SHA256:x",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ledger.FILE


def test_it_is_begun_once(path: Path) -> None:
    assert ledger.establish(path, "node", "weekly", BEGIN) is True
    assert ledger.establish(path, "other", "daily", "2026-11-02T00:00:00Z") is False
    found = ledger.read(path)
    assert (found.node, found.period, found.established, found.attempts) == ("node", "weekly", BEGIN, ())
    assert json.loads(path.read_text())["schema"] == 1


def test_what_is_written_is_read(path: Path) -> None:
    ledger.establish(path, "n\u00f6de \U0001f980", "6h", BEGIN)
    changed = ledger.change(path, lambda known: known.with_attempt(attempt(2), 5))
    assert ledger.read(path) == changed
    assert changed.last_complete == attempt(2)


def test_a_change_that_breaks_changes_nothing(path: Path) -> None:
    ledger.establish(path, "node", "6h", BEGIN)
    with pytest.raises(ZeroDivisionError):
        ledger.change(path, lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    assert ledger.read(path).node == "node"
    ledger.change(path, lambda known: known)  # and the lock is free


def test_nobody_else_can_hold_the_lock(tmp_path: Path) -> None:
    """Whoever may open a file may lock it, and then neither the run nor the watch would ever go on."""
    before = os.umask(0)
    try:
        ledger.establish(tmp_path / ledger.FILE, "watcher", "daily", BEGIN)
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "schedule.json": 0o600,
        "schedule.lock": 0o600,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no ledger of a schedule"),
        ("[" * 100_000, "is no ledger of a schedule"),
        ("[]", "has schema None; it is no ledger"),
        ('{"schema": 2}', "has schema 2; it was written by a later Clawkeep: update this one"),
        ('{"schema": "1"}', "has schema '1'; it is no ledger"),
        ('{"schema": 1}', "node: field required"),
        ('{"schema": 1, "node": "n", "period": "hourly", "established": "2026-11-01T00:00:00Z"}', "period: "),
        ('{"schema": 1, "node": "n", "period": "daily", "established": "yesterday"}', "established: "),
        ('{"schema": 1, "node": "n", "period": "daily", "established": "2026-11-01T00:00:00+01:00"}', "established: "),
    ],
)
def test_another_file_is_one_sentence(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    with pytest.raises(ClawkeepError) as raised:
        ledger.read(path)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_of_an_attempt_is_no_path() -> None:
    with pytest.raises(ValueError, match="name"):
        Attempt(name="../../etc", started=BEGIN, finished=BEGIN, exit_status=0)


def test_a_file_that_is_too_large_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "CAP", 10)
    path.write_text("x" * 11)
    with pytest.raises(ClawkeepError, match="that is no ledger"):
        ledger.read(path)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, ()),
        ({"expected": 0, "reached": 0, "measured": 0}, ("it verified no host",)),
        ({"reached": 2, "measured": 2}, ("1 of 3 hosts were not reached",)),
        ({"measured": 1}, ("on 2 of 3 hosts nothing could be judged",)),
        ({"left_out": 4}, ("4 controls were left out",)),
        ({"signed": False}, ("its evidence is not signed",)),
    ],
)
def test_what_a_run_lacks(facts: dict[str, int], said: tuple[str, ...]) -> None:
    whole: dict[str, int] = {"expected": 3, "reached": 3, "measured": 3, "left_out": 0, "signed": True, **facts}
    assert ledger.shortcomings(**whole) == said  # type: ignore[arg-type]


def test_old_attempts_go_and_the_last_complete_one_stays() -> None:
    known = Ledger(node="node", period="daily", established=BEGIN)
    for number in range(1, 4):
        known = known.with_attempt(attempt(number), keep=3)
    for number in range(4, 9):
        known = known.with_attempt(attempt(number, complete=False), keep=3)
    assert [one.started[8:10] for one in known.attempts] == ["03", "06", "07", "08"]


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atomic.write(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_reader_has_the_old_file_or_the_new_one(path: Path) -> None:
    atomic.write(path, b"old", mode=0o640)
    with path.open("rb") as reader:
        atomic.write(path, b"new", mode=0o644)
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClawkeepError, match="cannot be locked: No such file"):
        ledger.establish(tmp_path / "gone" / "x.json", "node", "daily", BEGIN)


@pytest.mark.parametrize(("word", "seconds"), [("weekly", 604800), ("daily", 86400), ("6h", 21600)])
def test_periods_have_lengths(word: str, seconds: int) -> None:
    assert period.seconds(word) == seconds


def test_another_word_is_no_period() -> None:
    with pytest.raises(ClawkeepError, match="'hourly' is no period: choose from weekly, daily, 6h"):
        period.seconds("hourly")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (-5, "0 s"), (59.6, "1 min"), (3600, "1 h"), (90061, "1 d 1 h"), (86400 * 30, "30 d")],
)
def test_lengths_of_time_are_spoken(seconds: float, said: str) -> None:
    assert clock.spoken(seconds) == said
