"""What is awaited of a host that was just raised in place, before it is verified as what it now is."""

from __future__ import annotations

import pytest

from .conftest import Lab

pytestmark = pytest.mark.lab


def test_a_raised_host_tells_its_earlier_days(raised: Lab) -> None:
    """LOG-05: what was recorded before there was a log agent reaches the store; new records wait behind it."""
    print(f"the raised host had told its earlier days after {raised.caught_up():.0f} s")
