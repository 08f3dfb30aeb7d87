"""LOG-03: File changes by the agent are recorded."""

import pytest

from clawkeep.subjects.host.audit import Audit

pytestmark = pytest.mark.control("LOG-03")


def test_audit_is_awake_and_has_lost_nothing(audit: Audit) -> None:
    assert audit.asleep(locked=False) == []
    assert audit.lost() == []


def test_the_folder_of_all_volumes_is_watched(audit: Audit) -> None:
    assert audit.unwatched_volumes() == []


def test_no_rule_leaves_anything_out(audit: Audit) -> None:
    assert audit.silenced() == []


def test_each_step_of_a_file_is_recorded_with_its_account(audit: Audit) -> None:
    assert audit.unrecorded_changes() == []
