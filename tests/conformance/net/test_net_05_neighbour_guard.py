"""NET-05: Neighbours cannot route to containers or loopback-published ports."""

import pytest

from clawkeep.subjects.network.neighbour import Neighbour
from clawkeep.subjects.network.ruleset import Ruleset

pytestmark = pytest.mark.control("NET-05")


def test_the_guard_drops_before_any_address_translation(ruleset: Ruleset) -> None:
    assert ruleset.guard_gaps() == []


@pytest.mark.vantage("neighbour")
def test_no_loopback_published_port_answers_a_neighbour(neighbour: Neighbour) -> None:
    assert neighbour.reached_loopback() == []


@pytest.mark.vantage("neighbour")
def test_no_container_answers_a_neighbour(neighbour: Neighbour) -> None:
    assert neighbour.reached_containers() == []
