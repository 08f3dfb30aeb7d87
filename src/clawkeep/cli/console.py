"""Standard output for people: colours and the window's width on a terminal, plain wide lines in a log."""

from __future__ import annotations

import sys

from rich.console import Console

LOG_WIDTH = 200  # columns where there is no terminal to ask


def stdout() -> Console:
    """A console on standard output as it is now."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
