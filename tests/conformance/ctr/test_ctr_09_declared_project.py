"""CTR-09: Containers on the host equal the declared project."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.containers.processes import Processes
from clawkeep.subjects.containers.project import Project

pytestmark = pytest.mark.control("CTR-09")


def test_there_is_no_container_beside_the_declared_ones(project: Project) -> None:
    assert project.extra_containers() == []


def test_the_gateway_was_made_from_the_rendered_file_alone(project: Project) -> None:
    assert project.foreign_origins() == []


def test_every_setting_is_what_the_tier_says(project: Project, tier: Tier) -> None:
    assert project.other_settings(tier) == []


def test_every_mount_is_what_the_tier_says(project: Project, tier: Tier) -> None:
    assert project.other_mounts(tier) == []


def test_the_gateway_is_on_its_own_network_alone(project: Project) -> None:
    assert project.other_networks() == []


def test_nobody_can_log_in_to_the_container(processes: Processes) -> None:
    assert processes.remote_shells() == []
