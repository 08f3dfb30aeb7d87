"""BGL-05: One command stops the agent, cuts its network and lists tokens to revoke."""

from collections.abc import Collection

import pytest

from clawkeep.site.inventory import Site
from clawkeep.subjects.host.host_programs import HostPrograms
from clawkeep.subjects.host.killplan import KillPlan

pytestmark = pytest.mark.control("BGL-05")


@pytest.fixture(name="images")
def _images(site: Site) -> Collection[str]:
    """The ids of the site's reviewed images that are OpenClaw's."""
    return {image_id for image in site.images if "openclaw" in image.name for image_id in image.ids}


def test_the_plan_stops_every_agent_container(kill_plan: KillPlan, images: Collection[str]) -> None:
    assert kill_plan.missed_containers(images) == []


def test_the_plan_cuts_every_agent_bridge(kill_plan: KillPlan, images: Collection[str]) -> None:
    assert kill_plan.missed_bridges(images) == []


def test_the_agents_bridge_is_cut_even_while_the_engine_hangs(kill_plan: KillPlan) -> None:
    assert kill_plan.unlisted_bridges() == []


def test_nothing_would_revive_the_agent(kill_plan: KillPlan, images: Collection[str]) -> None:
    assert kill_plan.revivers(images) == []


def test_the_plan_names_the_tokens_to_revoke(kill_plan: KillPlan) -> None:
    assert kill_plan.nothing_to_revoke() == []


def test_the_tools_are_roots_alone(kill_plan: KillPlan) -> None:
    assert kill_plan.tampered_tools() == []


def test_the_programs_are_those_that_were_tested(host_programs: HostPrograms) -> None:
    assert host_programs.others() == []


def test_only_root_can_change_the_programs(host_programs: HostPrograms) -> None:
    assert host_programs.changeable() == []
