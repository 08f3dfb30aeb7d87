"""LOG-10: Logs are private, redacted and retained."""

import pytest

from clawkeep.base.verdict import NotApplicable
from clawkeep.evidence.document import HostEvidence
from clawkeep.register.tiers import Tier
from clawkeep.subjects.entry.web import Gateways
from clawkeep.subjects.logs.log_store import LogStore
from clawkeep.subjects.logs.logs import Logs

pytestmark = pytest.mark.control("LOG-10")


def test_no_other_account_reads_a_log(logs: Logs) -> None:
    assert logs.readable() == []


def test_records_are_kept_for_the_tiers_days_and_not_longer(logs: Logs, tier: Tier) -> None:
    assert logs.kept_otherwise(tier["log_agent_retention_days"]) == []


def test_openclaw_redacts_and_keeps_its_log_within_bounds(gateways: Gateways) -> None:
    assert gateways.loose_logs() == []


def test_a_secret_in_an_address_is_not_written_down(logs: Logs, tier: Tier) -> None:
    if tier["egress_mode"] != "proxy_allowlist":
        raise NotApplicable("the tier has no proxy that could write addresses down")
    assert logs.leaked() == []


@pytest.mark.vantage("siem")
def test_nobody_else_reads_the_store(evidence: HostEvidence, tier: Tier) -> None:
    if tier["log_agent_remote"] == "none":
        raise NotApplicable("the tier sends its records nowhere")
    assert evidence.subject(LogStore).open_files() == []


@pytest.mark.vantage("siem")
def test_a_secret_reaches_the_store_as_a_mark_of_redaction(evidence: HostEvidence, tier: Tier) -> None:
    if tier["log_agent_remote"] == "none":
        raise NotApplicable("the tier sends its records nowhere")
    log_store = evidence.subject(LogStore)
    assert log_store.missing(["journal"], tier["log_agent_delivery_seconds"]) == []
    assert log_store.unredacted() == []
