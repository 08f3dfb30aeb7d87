"""The system's log, by its socket: Python's own `syslog` loses a message that cannot be delivered without a word."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from clawkeep.base.errors import ClawkeepError
from clawkeep.schedule.notice import Notice

SOCKET = Path("/dev/log")
FACILITY = 3  # system daemons
LINE = 1000  # bytes of one message: RFC 5424 asks for 2048 at most in all


def send(notice: Notice, to: Path = SOCKET) -> None:
    """Write the subject and each line as a message of its own; raises ClawkeepError when nobody takes them."""
    priority = FACILITY * 8 + int(notice.level)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(str(to))
            for line in (notice.subject, *notice.lines):
                text = line.encode("utf-8", "backslashreplace")[:LINE]
                client.send(b"<%d>clawkeep[%d]: %s" % (priority, os.getpid(), text))
    except OSError as problem:
        raise ClawkeepError(f"the system's log at {to} takes no message: {problem.strerror}") from None
