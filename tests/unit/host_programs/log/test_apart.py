"""`clawkeep_host.log.apart`: work that hangs, crashes or grows costs itself, and the rest is done."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from typing import Any

import pytest

from clawkeep_host.log import apart

MEMORY = 512 << 20


def outcome(tasks: list[Any], work: Any, seconds: float = 20.0, memory: int = MEMORY) -> list[tuple[Any, Any]]:
    """Results; of what was lost, the sentence."""
    found = []
    for task, result in apart.each(tasks, work, seconds, memory):
        found.append((task, f"lost: {result}" if isinstance(result, apart.Lost) else result))
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    """No child, no descriptor."""
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    yield
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_each_task_has_its_result_in_turn() -> None:
    assert outcome([], lambda n: n) == []
    assert outcome([1, 2, 3], lambda n: {"n": n, "pid": os.getpid() != parent}) == [
        (n, {"n": n, "pid": True}) for n in (1, 2, 3)
    ]


parent = os.getpid()


def test_all_share_a_process_as_long_as_it_lives() -> None:
    pids = [pid for _, pid in outcome([1, 2, 3], lambda _: os.getpid())]
    assert len(set(pids)) == 1


def test_a_result_may_be_long_and_hold_lines() -> None:
    text = "\u00e9\n" * 300_000
    assert outcome([1, 2], lambda _: text) == [(1, text), (2, text)]


def hangs_at_two(task: int) -> int:
    while task == 2:
        time.sleep(60)
    return task


def test_what_hangs_is_killed_and_the_rest_is_done() -> None:
    assert outcome([1, 2, 3], hangs_at_two, seconds=1.0) == [(1, 1), (2, "lost: it did not end within 1 s"), (3, 3)]


def test_the_last_one_may_hang_too() -> None:
    assert outcome([2], hangs_at_two, seconds=0.2) == [(2, "lost: it did not end within 0.2 s")]


def test_a_task_has_its_own_time() -> None:
    """Three of them take longer together than one may."""
    assert [result for _, result in outcome([1, 2, 3], lambda n: time.sleep(0.5) or n, seconds=1.2)] == [1, 2, 3]


def crashes_at_two(task: int) -> int:
    if task == 2:
        faulthandler.disable()  # pytest's would tell of it at length
        os.kill(os.getpid(), signal.SIGSEGV)
    return task


def test_what_crashes_is_told_and_the_rest_is_done() -> None:
    said = "lost: its process was ended by signal 11"
    assert outcome([1, 2, 3], crashes_at_two) == [(1, 1), (2, said), (3, 3)]
    assert outcome([1], lambda _: os._exit(3)) == [(1, "lost: its process ended without a word")]


def raises_at_two(task: int) -> int:
    if task == 2:
        raise LookupError("no " + "x" * 500)
    return task


def test_what_is_raised_is_told_and_the_rest_is_done() -> None:
    one, two, three = outcome([1, 2, 3], raises_at_two)
    assert (one, three) == ((1, 1), (3, 3))
    assert two[1].startswith("lost: LookupError: no xxx")
    assert len(two[1]) < 320
    assert outcome([1], lambda _: {1, 2})[0][1].startswith("lost: TypeError")


def test_memory_is_bounded() -> None:
    ((_, said), (_, after)) = outcome([1 << 30, 1], lambda size: len(bytearray(size)), memory=256 << 20)
    assert said.startswith("lost: MemoryError")
    assert after == 1


def test_whoever_stops_early_leaves_nothing() -> None:
    for task, _ in apart.each([1, 2, 3], hangs_at_two, 5.0, MEMORY):
        assert task == 1
        break
