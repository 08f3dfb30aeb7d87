"""BGL-01: A firewall change that locks administrators out undoes itself."""

import pytest

from clawkeep.subjects.network.changes import FirewallChanges

pytestmark = pytest.mark.control("BGL-01")


def test_every_armed_change_was_confirmed_or_rolled_back(firewall_changes: FirewallChanges) -> None:
    assert firewall_changes.unconfirmed() == []


def test_changes_are_confirmed_over_another_connection(firewall_changes: FirewallChanges) -> None:
    assert firewall_changes.self_confirmed() == []


def test_changes_are_saved_after_their_confirmation(firewall_changes: FirewallChanges) -> None:
    assert firewall_changes.saved_early() == []


def test_the_saved_ruleset_is_the_confirmed_one(firewall_changes: FirewallChanges) -> None:
    assert firewall_changes.changed_by_hand() == []


def test_no_rollback_is_left_armed(firewall_changes: FirewallChanges) -> None:
    assert firewall_changes.stale_timers() == []
