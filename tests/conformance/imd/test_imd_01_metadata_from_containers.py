"""IMD-01: The metadata address is unreachable from agent containers."""

from ipaddress import ip_network

import pytest

from clawkeep.subjects.network.agent_paths import AgentPaths
from clawkeep.subjects.network.reach import Reach

pytestmark = pytest.mark.control("IMD-01")


def test_no_agent_container_gets_an_answer(reach: Reach) -> None:
    assert reach.metadata_answers() == []


def test_forward_rules_drop_the_metadata_address(agent_paths: AgentPaths) -> None:
    assert agent_paths.forwarded_to([ip_network("169.254.169.254/32")]) == []
