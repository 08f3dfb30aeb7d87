"""What every test of a host program may rely on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The usual umask, whatever the program of another test has set in this process."""
    before = os.umask(0o022)
    yield
    os.umask(before)
