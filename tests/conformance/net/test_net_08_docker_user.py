"""NET-08: DOCKER-USER restrictions are first, live and not inert."""

import pytest

from clawkeep.subjects.network.docker_user import DockerUser

pytestmark = pytest.mark.control("NET-08")


def test_docker_user_drops_first_in_both_families(docker_user: DockerUser) -> None:
    assert docker_user.gaps() == []
