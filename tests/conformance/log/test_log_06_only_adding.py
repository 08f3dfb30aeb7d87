"""LOG-06: Stored records cannot be altered from the host."""

import pytest

from clawkeep.subjects.logs.log_store import LogStore

pytestmark = [pytest.mark.control("LOG-06"), pytest.mark.vantage("siem")]


def test_the_hosts_credential_adds_and_does_nothing_else(log_store: LogStore) -> None:
    assert log_store.alterable() == []
