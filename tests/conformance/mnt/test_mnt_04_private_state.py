"""MNT-04: Agent state is readable by its service account alone."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.containers.agent_state import AgentState
from clawkeep.subjects.containers.confinement import Confinement

pytestmark = pytest.mark.control("MNT-04")


CONFIGURATION = "/etc/openclaw/openclaw.json"


def test_volumes_are_closed_at_their_root(agent_state: AgentState, tier: Tier) -> None:
    assert agent_state.open_volumes(tier["openclaw_uid"]) == []


def test_secrets_are_closed_wherever_they_lie(agent_state: AgentState) -> None:
    assert agent_state.open_secrets() == []


def test_the_rendered_configuration_is_closed(agent_state: AgentState, tier: Tier) -> None:
    assert agent_state.open_project(tier["openclaw_uid"]) == []


def test_no_access_list_opens_what_the_mode_closes(agent_state: AgentState) -> None:
    assert agent_state.with_access_lists() == []


def test_no_link_leads_out_of_the_state(agent_state: AgentState) -> None:
    assert agent_state.leading_out() == []


def test_a_stranger_cannot_read_what_the_agent_can(agent_state: AgentState, confinement: Confinement) -> None:
    assert agent_state.readable_by_strangers() == []
    assert confinement.unreadable(CONFIGURATION) == []
