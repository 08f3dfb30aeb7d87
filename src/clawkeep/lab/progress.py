"""Telling the person at the terminal what takes long, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

_console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line, on standard error: standard output belongs to the commands' results."""
    _console.print(text, markup=False)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Show `text` with a running clock on a terminal; leave one line with the elapsed seconds when done."""
    start = time.monotonic()
    if not _console.is_terminal:
        say(f"lab: {text} ...")
    with _console.status(f"{text} ..."):
        yield
    say(f"lab: {text}: {time.monotonic() - start:.1f} s")
