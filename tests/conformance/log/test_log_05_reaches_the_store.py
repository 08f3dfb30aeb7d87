"""LOG-05: Records reach the central store over authenticated TLS."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.logs.log_agent import LogAgent
from clawkeep.subjects.logs.log_store import LogStore

pytestmark = pytest.mark.control("LOG-05")


def test_the_log_agent_runs(log_agent: LogAgent) -> None:
    assert log_agent.not_running() == []


def test_records_leave_on_one_way_with_both_certificates(log_agent: LogAgent, site: Site) -> None:
    assert log_agent.loose_transport(site.log_collector, site.log_collector_name) == []


def test_an_absent_store_loses_nothing_and_fills_no_disk(log_agent: LogAgent) -> None:
    assert log_agent.lossy_queue() == []
    assert log_agent.full() == []


def test_every_source_is_read_and_redacted(log_agent: LogAgent) -> None:
    assert log_agent.unread() == []
    assert log_agent.unredacted() == []


def test_the_spool_is_roots_alone(log_agent: LogAgent) -> None:
    assert log_agent.open_files() == []


SOURCES = ("journal", "auth", "audit", "kernel", "openclaw")


@pytest.mark.vantage("siem")
def test_a_mark_of_every_source_arrives_in_time(log_store: LogStore, tier: Tier) -> None:
    assert log_store.missing(SOURCES, tier["log_agent_delivery_seconds"]) == []


@pytest.mark.vantage("siem")
def test_the_store_speaks_to_nobody_without_a_certificate(log_store: LogStore) -> None:
    assert log_store.strangers() == []
