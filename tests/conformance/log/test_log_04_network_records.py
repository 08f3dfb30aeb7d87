"""LOG-04: API and network interactions are recorded."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.logs.log_store import NETWORK, LogStore

pytestmark = [pytest.mark.control("LOG-04"), pytest.mark.vantage("siem")]


def test_requests_names_and_drops_are_at_the_store(log_store: LogStore, tier: Tier) -> None:
    assert log_store.missing(NETWORK, tier["log_agent_delivery_seconds"]) == []


def test_each_tells_which_container_it_was(log_store: LogStore) -> None:
    assert log_store.nameless() == []
