"""LOG-05: Records reach the central store over authenticated TLS."""

import pytest

from clawkeep.evidence.log_store import LogStore
from clawkeep.tiers import Tier

pytestmark = [pytest.mark.control("LOG-05"), pytest.mark.vantage("siem")]


SOURCES = ("journal", "auth", "audit", "kernel", "openclaw")


def test_a_mark_of_every_source_arrives_in_time(log_store: LogStore, tier: Tier) -> None:
    assert log_store.missing(SOURCES, tier["log_agent_delivery_seconds"]) == []


def test_the_store_speaks_to_nobody_without_a_certificate(log_store: LogStore) -> None:
    assert log_store.strangers() == []
