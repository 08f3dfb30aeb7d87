"""LOG-09: Silence raises an alarm: lost logs or overdue verification."""

from collections.abc import Callable

import pytest

from clawkeep.base.verdict import NotApplicable
from clawkeep.evidence.document import HostEvidence
from clawkeep.register.tiers import Tier
from clawkeep.subjects.governance.schedule import Schedule
from clawkeep.subjects.logs.log_store import LogStore

pytestmark = pytest.mark.control("LOG-09")

SILENCE_SECONDS = 900


def test_a_control_node_verifies_by_itself(schedule: Schedule) -> None:
    assert schedule.absent() == []


def test_it_verifies_as_often_as_the_tier_wants(schedule: Schedule, tier: Tier) -> None:
    assert schedule.rare(tier["verify_period"]) == []


def test_a_complete_run_is_not_overdue(schedule: Schedule, tier: Tier, caveat: Callable[[str], None]) -> None:
    assert schedule.overdue(tier["verify_period"]) == []
    for sentence in schedule.rests_on(tier["verify_period"]):
        caveat(sentence)


def test_the_staleness_watch_lives_and_is_content(schedule: Schedule, tier: Tier) -> None:
    assert schedule.unwatched(tier["verify_period"]) == []


@pytest.mark.vantage("siem")
def test_a_silent_log_is_told(tier: Tier, evidence: HostEvidence) -> None:
    if tier["log_agent_remote"] == "none":
        raise NotApplicable("the tier sends its logs nowhere, so none can fall silent")
    assert evidence.subject(LogStore).unwatched(SILENCE_SECONDS) == []
