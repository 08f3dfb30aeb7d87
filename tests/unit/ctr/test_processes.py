"""Which processes the collector counts as a container's, and what it says of them: no process can opt out of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clawkeep.collector import proc, processes

CONTAINER = "/system.slice/docker-c1.scope"
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nsenter") is None, reason="only root makes namespaces, with util-linux"
)
# A process whose first thread ends while another goes on: its own status calls it a zombie from then on.
HEADLESS = """
import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""
# One thread of it gives up root, as the first one of a program does that wants to look harmless.
TWO_FACED = """
import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall({"x86_64": 117, "aarch64": 147}[platform.machine()], 1000, 1000, 1000)  # setresuid
time.sleep(60)
"""
NAMED = """
import pathlib, sys, time
pathlib.Path("/proc/self/comm").write_bytes(sys.argv[1].encode())
time.sleep(60)
"""


def awaited(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


@contextlib.contextmanager
def running(*words: str) -> Iterator[int]:
    """A process's number, while it runs."""
    process = subprocess.Popen(words)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def child_of(pid: int) -> int:
    awaited(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text())
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@pytest.fixture
def container() -> Iterator[int]:
    """The first process of what stands for a container: it has process numbers and mounts of its own."""
    words = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sleep", "60")
    with running(*words) as outer:
        first = child_of(outer)
        awaited(lambda: proc.argv(first)[:1] == ["sleep"])
        yield first


@as_root
@pytest.mark.parametrize("place", ["/", "/elsewhere", None])
def test_whoever_joined_the_namespaces_is_inside_whatever_its_cgroup(
    container: int, place: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {container: CONTAINER}
    monkeypatch.setattr(processes, "cgroup_of", lambda pid: places.get(int(pid), place))
    with running("nsenter", "-t", str(container), "-m", "-p", "sleep", "60") as joining:
        guest = child_of(joining)
        awaited(lambda: proc.argv(guest)[:1] == ["sleep"])
        seen = [one["pid"] for one in processes.members(container, CONTAINER, processes.namespaces(1))]
    assert container in seen
    assert guest in seen


@as_root
def test_what_the_kernel_runs_by_itself_is_not_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a container has no cgroup but the root, the kernel's own threads are beside it."""
    threads = [pid for pid in proc.pids() if proc.is_kernel_thread(pid)]
    if not threads:
        pytest.skip("this machine shows no kernel threads")
    monkeypatch.setattr(processes, "cgroup_of", lambda _pid: "/")
    seen = {one["pid"] for one in processes.members(os.getpid(), "/", processes.namespaces(1))}
    assert os.getpid() in seen
    assert not seen & set(threads)


def test_a_process_goes_on_when_its_first_thread_has_ended() -> None:
    with running(sys.executable, "-c", HEADLESS) as pid:
        awaited(lambda: proc.status(pid).get("State", "").startswith("Z"))
        (found,) = processes.identities(pid)
        assert found["uids"] == [os.getuid()] * 4
        assert found["executable"] == os.path.realpath(sys.executable)
        assert set(found["namespaces"]) == set(processes.NAMESPACES)
        assert processes.process(pid) == found


@as_root
def test_a_thread_that_is_somebody_else_is_told_beside_its_process() -> None:
    with running(sys.executable, "-c", TWO_FACED) as pid:
        awaited(lambda: proc.status(pid).get("Uid", "").split()[:1] == ["1000"])
        assert sorted(one["uids"][0] for one in processes.identities(pid)) == [0, 1000]


def test_threads_that_are_alike_are_one_identity() -> None:
    code = "import threading, time\nfor _ in range(3): threading.Thread(target=time.sleep, args=(60,)).start()"
    with running(sys.executable, "-c", code) as pid:
        awaited(lambda: len(processes.threads(pid)) == 4)
        assert [one["pid"] for one in processes.identities(pid)] == [pid]


def test_a_process_that_has_gone_has_no_identity() -> None:
    with running("true") as pid:
        awaited(lambda: proc.status(pid).get("State", "").startswith("Z"))
        assert processes.identities(pid) == []
    assert processes.identities(2**22 + 1) == []


@pytest.mark.parametrize("name", [") S 4242 (x", "a b)\n1 (c) S 1", "(((", "x) S 1 1 1 1"])
def test_a_process_does_not_choose_its_parent_by_its_name(name: str) -> None:
    with running(sys.executable, "-c", NAMED, name) as pid:
        awaited(lambda: (proc.read(f"/proc/{pid}/comm") or "").startswith(name[:15]))
        assert next(proc.ancestry(pid)) == os.getpid()
        assert not proc.is_kernel_thread(pid)


def test_the_ancestry_ends_at_the_first_process() -> None:
    parents = list(proc.ancestry(os.getpid()))
    assert parents[0] == os.getppid()
    assert parents[-1] in (0, 1)
    assert list(proc.ancestry(1)) == []


@pytest.mark.parametrize(
    "name", ["x\vExtra:\t1", "x\x0cUid:\t0", "x\fSeccomp:\t2", "x\x1eState:\tZ", "x\x85CapEff:\t0", "x\nUid:\t0"]
)
def test_a_name_adds_no_field_to_the_status(name: str) -> None:
    with running(sys.executable, "-c", NAMED, name) as pid:
        awaited(lambda: (proc.read(f"/proc/{pid}/comm") or "")[:2] == name[:2])
        assert processes.status_of(pid)["Uid"].split() == [str(os.getuid())] * 4
        plain = set(processes.status_of(os.getpid()))
        assert set(processes.status_of(pid)) == plain
