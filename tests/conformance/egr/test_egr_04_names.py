"""EGR-04: DNS answers approved names through the host resolver only."""

import pytest

from clawkeep.subjects.network.bypass import Bypass

pytestmark = pytest.mark.control("EGR-04")


def test_no_other_name_and_no_other_server_answers(bypass: Bypass) -> None:
    assert bypass.passed("EGR-04") == []
