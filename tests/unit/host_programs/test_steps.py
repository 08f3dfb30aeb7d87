"""Steps: all are tried, within their time, and each that failed is told to the operator and to the log."""

from __future__ import annotations

import syslog
import threading
import time
from typing import Any

import pytest

from clawkeep_host import system_log
from clawkeep_host.command import Refusal
from clawkeep_host.steps import Budget, Disk, Steps


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the system's log was told."""
    heard: list[tuple[Any, ...]] = []
    monkeypatch.setattr(system_log, "tell", lambda *words: heard.append(words))
    return heard


def failing(trouble: BaseException) -> Any:
    def action(*_: object, **__: object) -> None:
        raise trouble

    return action


def test_a_step_gives_its_result(log: list[tuple[Any, ...]]) -> None:
    all_ = Steps("clawkeep-try")
    assert all_.attempt("no sum", lambda *numbers, start: sum(numbers, start), 1, 2, start=4) == 7
    assert all_.attempt("no", lambda: False) is False
    assert all_.failures == []
    assert log == []


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        (Refusal("nft says no"), "the cut failed: nft says no"),
        (OSError(28, "No space left on device"), "the cut failed: [Errno 28] No space left on device"),
        (KeyError("Id"), "the cut failed: KeyError: 'Id'"),
        (TypeError("odd"), "the cut failed: TypeError: odd"),
        (RecursionError("deep"), "the cut failed: RecursionError: deep"),
        (Refusal("two\n  lines\x1b[2J"), "the cut failed: two lines\\x1b[2J"),
        (Refusal("API_TOKEN=abcdefgh1234"), "the cut failed: API_TOKEN=[redacted]"),
    ],
)
def test_a_step_that_fails_is_told_and_the_next_is_tried(
    log: list[tuple[Any, ...]], trouble: Exception, sentence: str
) -> None:
    all_ = Steps("clawkeep-try")
    assert all_.attempt("the cut failed", failing(trouble)) is None
    assert all_.failures == [sentence]
    assert log == [("clawkeep-try", syslog.LOG_ALERT, "failed: the cut failed")]  # and nothing of what was said
    assert all_.attempt("no", lambda: 3) == 3


def test_an_interrupt_is_no_failed_step(log: list[tuple[Any, ...]]) -> None:
    with pytest.raises(KeyboardInterrupt):
        Steps("clawkeep-try").attempt("the cut failed", failing(KeyboardInterrupt()))
    assert log == []


def test_the_end_is_told_with_a_count(log: list[tuple[Any, ...]]) -> None:
    all_ = Steps("clawkeep-try")
    all_.failed("one", "why")
    all_.tell("half-way")
    assert all_.conclude("kill") == ["one: why"]
    assert [words[2] for words in log] == ["failed: one", "half-way", "kill ended, failed steps: 1"]


def test_a_log_that_does_not_hear_is_told_once_and_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_log, "tell", failing(OSError(111, "Connection refused")))
    all_ = Steps("clawkeep-try")
    all_.failed("one", "why")
    assert all_.conclude("kill") == ["one: why", "the system's log was not told: [Errno 111] Connection refused"]
    assert all_.failures == ["one: why"]


def test_without_a_program_nothing_is_logged(log: list[tuple[Any, ...]]) -> None:
    all_ = Steps()
    all_.failed("one", "why")
    all_.tell("half-way")
    assert all_.conclude("kill") == ["one: why"]
    assert log == []


# --- a disk -----------------------------------------------------------------------------------------------------


def test_a_disk_that_answers_is_used_as_it_is() -> None:
    disk = Disk()
    assert disk.do(lambda a, b: a + b, 1, 2) == 3
    assert disk.do(lambda: None) is None
    with pytest.raises(OSError, match="Read-only"):
        disk.do(failing(OSError(30, "Read-only file system")))
    assert disk.do(lambda: 4) == 4  # a failure is an answer


def test_a_disk_that_hangs_is_left_alone_from_then_on() -> None:
    over, tried = threading.Event(), list[int]()
    disk = Disk(0.1)
    with pytest.raises(Refusal, match=r"^the disk did not answer within 0\.1 s$"):
        disk.do(over.wait, 30)
    began = time.monotonic()
    with pytest.raises(Refusal, match=r"^not tried, for the disk hangs$"):
        disk.do(tried.append, 1)
    assert time.monotonic() - began < 0.1
    assert tried == []
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())
    over.set()


def test_a_disk_gets_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    really = threading.Thread.join

    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        limits.append(timeout)
        really(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", join)
    Disk().do(lambda: None)
    assert limits == [10.0]


# --- time -------------------------------------------------------------------------------------------------------


def test_questions_share_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    left = Budget(60, 20)
    assert left() == 20
    now[0] += 45
    assert left() == 15
    now[0] += 14
    assert left() == 2  # enough for a quick answer, however late it is
    now[0] += 1000
    assert left() == 2
