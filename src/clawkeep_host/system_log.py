"""Tell the system's log what a program did, and know whether it was told.

The C library's `syslog` drops what nobody takes, and waits without end when the log has stopped reading. An emergency
tool can afford neither.
"""

from __future__ import annotations

import os
import socket
import syslog
import time

from clawkeep_host.command import printable

SOCKET = "/dev/log"
LIMIT = 8192  # bytes of one message


def tell(identifier: str, severity: int, message: str, seconds: float = 0.0) -> None:
    """Log one line under facility authpriv; `severity` is one of `syslog`'s.

    A busy log is waited for `seconds`. Raises OSError when it did not take the line.
    """
    stamp = time.strftime("%b %e %H:%M:%S")
    head = f"<{syslog.LOG_AUTHPRIV | severity}>{stamp} {identifier}[{os.getpid()}]: "
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.settimeout(seconds)
        log.connect(SOCKET)
        log.send((head + printable(message, LIMIT)).encode()[:LIMIT])


def operator() -> str:
    """Who runs this program: the login behind sudo, or else the user or uid; and the terminal."""
    try:
        terminal = os.ttyname(0)
    except OSError:
        terminal = "no terminal"
    return f"{os.environ.get('SUDO_USER') or os.environ.get('USER') or os.geteuid()} on {terminal}"
