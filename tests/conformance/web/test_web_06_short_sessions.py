"""WEB-06: Browser sessions are short and revocable on the server."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.entry.web import Web

pytestmark = pytest.mark.control("WEB-06")


@pytest.mark.vantage("web")
def test_sessions_have_the_tiers_limits(web: Web, tier: Tier) -> None:
    limits = tier["web_session"]
    assert web.long_sessions(limits["idle_minutes"], limits["absolute_minutes"]) == []


@pytest.mark.vantage("web")
def test_an_ended_session_is_refused_on_replay(web: Web) -> None:
    assert web.immortal_sessions() == []
