"""LOG-08: Access to system files by the agent raises an alert."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.host.audit import Audit
from clawkeep.subjects.logs.log_store import LogStore

pytestmark = pytest.mark.control("LOG-08")


def test_the_kernel_records_attempts_whatever_comes_of_them(audit: Audit, tier: Tier) -> None:
    assert audit.unheard(tier["openclaw_uid"]) == []


@pytest.mark.vantage("siem")
def test_a_refused_attempt_is_alerted(log_store: LogStore) -> None:
    assert log_store.unalerted("system_files", ["system"]) == []


@pytest.mark.vantage("siem")
def test_roots_maintenance_raises_none(log_store: LogStore) -> None:
    assert log_store.false_alarms(["auth", "journal"]) == []
