"""NET-07: Traffic forwarded to containers is dropped unless declared."""

import pytest

from clawkeep.subjects.network.docker_user import DockerUser
from clawkeep.subjects.network.ruleset import Ruleset

pytestmark = pytest.mark.control("NET-07")


def test_new_flows_to_containers_are_dropped(ruleset: Ruleset) -> None:
    assert ruleset.forwarded_to_containers() == []


def test_docker_accepts_published_ports_only(docker_user: DockerUser) -> None:
    assert docker_user.unexplained_accepts() == []
