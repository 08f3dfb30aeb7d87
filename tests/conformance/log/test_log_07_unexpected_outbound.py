"""LOG-07: Unexpected outbound traffic raises an alert."""

import pytest

from clawkeep.subjects.logs.log_store import LogStore

pytestmark = [pytest.mark.control("LOG-07"), pytest.mark.vantage("siem")]


def test_a_refused_request_a_refused_name_and_a_drop_are_alerted(log_store: LogStore) -> None:
    assert log_store.unalerted("unexpected_outbound", ["proxy", "resolver", "firewall"]) == []


def test_everyday_records_raise_none(log_store: LogStore) -> None:
    assert log_store.false_alarms(["journal", "auth", "openclaw"]) == []
