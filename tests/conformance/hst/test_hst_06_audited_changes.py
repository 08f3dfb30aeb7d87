"""HST-06: Security-relevant host changes are audited and tamper-evident."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.host.audit import Audit

pytestmark = pytest.mark.control("HST-06")


def test_audit_is_awake_and_locked_where_the_tier_wants_it(audit: Audit, tier: Tier) -> None:
    assert audit.asleep(locked=tier["tier"]["rank"] >= 3) == []


def test_no_record_was_lost(audit: Audit) -> None:
    assert audit.lost() == []


def test_no_rule_leaves_anything_out(audit: Audit) -> None:
    assert audit.silenced() == []


def test_what_protects_the_host_is_watched(audit: Audit) -> None:
    assert audit.unguarded() == []


def test_programs_of_the_agents_account_are_recorded(audit: Audit, tier: Tier) -> None:
    assert audit.unrecorded_runs(tier["openclaw_uid"]) == []


def test_a_change_is_recorded_at_once(audit: Audit) -> None:
    assert audit.unrecorded_changes() == []
