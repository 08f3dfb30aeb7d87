"""The system's log gets one harmless line, or the program knows that it did not; it never waits for the log."""

from __future__ import annotations

import os
import pty
import re
import socket
import syslog
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from clawkeep_host import system_log
from clawkeep_host.system_log import operator, tell


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The log's end of its socket."""
    with TemporaryDirectory() as folder, closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as end:
        path = str(Path(folder) / "log")
        end.bind(path)
        end.settimeout(10)
        monkeypatch.setattr(system_log, "SOCKET", path)
        yield end


def test_a_message_is_one_datagram_as_the_c_library_writes_it(log: socket.socket) -> None:
    tell("clawkeep-kill", syslog.LOG_ALERT, "kill started")
    priority = (10 << 3) | 1  # authpriv, alert
    form = rf"<{priority}>[A-Z][a-z][a-z] [ 123]\d \d\d:\d\d:\d\d clawkeep-kill\[{os.getpid()}\]: kill started"
    assert re.fullmatch(form, log.recv(65_536).decode())
    tell("clawkeep-kill", syslog.LOG_NOTICE, "over")
    assert log.recv(65_536).startswith(b"<85>")


def test_a_message_is_one_line_of_a_bounded_length(log: socket.socket) -> None:
    tell("x", syslog.LOG_ALERT, "a\nb\x1b[2J" + "c" * 20_000)
    message = log.recv(65_536)
    assert b"]: a b\\x1b[2Jccc" in message
    assert len(message) == system_log.LIMIT == 8192


def test_a_log_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert system_log.SOCKET == "/dev/log"
    monkeypatch.setattr(system_log, "SOCKET", "/nowhere/log")
    with pytest.raises(FileNotFoundError):
        tell("x", syslog.LOG_ALERT, "y")


def test_a_log_that_nobody_reads_any_more_is_told(log: socket.socket) -> None:
    """The C library would say nothing."""
    log.close()
    with pytest.raises(ConnectionRefusedError):
        tell("x", syslog.LOG_ALERT, "y")


def fill() -> None:
    """Write until the log's queue is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        other.connect(system_log.SOCKET)
        with suppress(BlockingIOError):
            while other.send(b"noise" * 1000):
                pass


@pytest.mark.usefixtures("log")
def test_a_log_that_has_stopped_reading_is_not_waited_for() -> None:
    """The C library would wait without end, and so would whoever wants to stop an agent."""
    fill()
    began = time.monotonic()
    with pytest.raises(BlockingIOError):
        tell("x", syslog.LOG_ALERT, "y")
    assert time.monotonic() - began < 1


@pytest.mark.usefixtures("log")
def test_a_busy_log_is_waited_for_as_long_as_is_wished() -> None:
    fill()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        tell("x", syslog.LOG_ALERT, "y", 0.2)
    assert 0.2 <= time.monotonic() - began < 5


def test_an_operator_is_the_login_behind_sudo_then_the_user_then_the_uid(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    monkeypatch.setattr(os, "ttyname", _ttyname_of(read))
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setenv("USER", "root")
    assert operator() == "ada on no terminal"
    monkeypatch.delenv("SUDO_USER")
    assert operator() == "root on no terminal"
    monkeypatch.setenv("USER", "")
    assert operator() == f"{os.geteuid()} on no terminal"
    os.close(read)
    os.close(write)
    assert operator() == f"{os.geteuid()} on no terminal"


def test_an_operators_terminal_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    main, other = pty.openpty()
    name = os.ttyname(other)
    monkeypatch.setattr(os, "ttyname", _ttyname_of(other))
    monkeypatch.setenv("SUDO_USER", "ada")
    assert operator() == f"ada on {name}"
    os.close(main)
    os.close(other)


def _ttyname_of(descriptor: int) -> object:
    """`os.ttyname` for a process whose standard input is another descriptor than this one's."""
    really = os.ttyname

    def ttyname(asked: int) -> str:
        assert asked == 0
        return really(descriptor)

    return ttyname
