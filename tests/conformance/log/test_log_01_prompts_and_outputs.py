"""LOG-01: Prompts and model outputs are recorded."""

import pytest

from clawkeep.base.verdict import NotApplicable
from clawkeep.evidence.document import HostEvidence
from clawkeep.register.tiers import Tier
from clawkeep.subjects.logs.agent_records import AgentRecords
from clawkeep.subjects.logs.log_store import LogStore

pytestmark = pytest.mark.control("LOG-01")


@pytest.mark.vantage("model")
def test_what_is_said_to_each_agent_and_answered_is_in_its_transcript(agent_records: AgentRecords) -> None:
    assert agent_records.unrecorded_words() == []


@pytest.mark.vantage("model")
def test_transcripts_are_kept_for_the_tiers_days_where_nothing_else_keeps_them(
    agent_records: AgentRecords, tier: Tier
) -> None:
    if tier["log_agent_remote"] != "none":
        raise NotApplicable("the tier keeps its records at the log store")
    assert agent_records.short_lived(tier["log_agent_retention_days"]) == []


@pytest.mark.vantage("model")
def test_prompt_and_answer_reach_the_store_with_agent_and_session(evidence: HostEvidence, tier: Tier) -> None:
    if tier["log_agent_remote"] == "none":
        raise NotApplicable("the tier sends its records nowhere")
    log_store = evidence.subject(LogStore)
    assert log_store.untold(["prompt", "answer"], tier["log_agent_delivery_seconds"]) == []
