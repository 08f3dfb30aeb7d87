"""WEB-02: No request reaches the gateway before proxy authentication."""

import pytest

from clawkeep.subjects.entry.web import Web

pytestmark = pytest.mark.control("WEB-02")


@pytest.mark.vantage("web")
def test_nothing_passes_without_a_session(web: Web) -> None:
    assert web.passed_without_session() == []


@pytest.mark.vantage("web")
def test_the_gate_is_asked_everywhere_but_at_the_login(web: Web) -> None:
    assert web.unguarded() == []
