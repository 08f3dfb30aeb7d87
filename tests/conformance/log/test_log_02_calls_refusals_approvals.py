"""LOG-02: Tool calls, refusals and approvals are recorded."""

import pytest

from clawkeep.base.verdict import NotApplicable
from clawkeep.evidence.document import HostEvidence
from clawkeep.register.tiers import Tier
from clawkeep.subjects.logs.agent_records import AgentRecords
from clawkeep.subjects.logs.log_store import LogStore

pytestmark = pytest.mark.control("LOG-02")


@pytest.mark.vantage("model")
def test_the_audit_log_is_whole_and_the_gateways_log_is_kept(
    agent_records: AgentRecords,
) -> None:
    assert agent_records.switched_off() == []


@pytest.mark.vantage("model")
def test_a_permitted_and_a_refused_call_leave_a_record(agent_records: AgentRecords) -> None:
    assert agent_records.unrecorded_calls() == []


@pytest.mark.vantage("model")
def test_an_approval_and_a_denial_leave_a_record(agent_records: AgentRecords) -> None:
    assert agent_records.unrecorded_decisions() == []


@pytest.mark.vantage("model")
def test_nothing_can_be_called_where_no_record_is_kept(agent_records: AgentRecords) -> None:
    assert agent_records.open_over_http() == []


@pytest.mark.vantage("model")
def test_calls_refusals_and_approvals_reach_the_store(evidence: HostEvidence, tier: Tier) -> None:
    if tier["log_agent_remote"] == "none":
        raise NotApplicable("the tier sends its records nowhere")
    log_store = evidence.subject(LogStore)
    assert log_store.untold(["call", "refusal", "approval"], tier["log_agent_delivery_seconds"]) == []
