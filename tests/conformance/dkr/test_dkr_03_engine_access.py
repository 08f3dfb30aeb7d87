"""DKR-03: Engine files, socket and group belong to root alone."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.containers.engine import Engine

pytestmark = pytest.mark.control("DKR-03")


def test_files_and_sockets_can_be_changed_and_used_by_root_alone(engine: Engine) -> None:
    assert engine.loose_files() == []


def test_the_group_has_declared_members_only(engine: Engine, tier: Tier) -> None:
    assert engine.undeclared_members(tier["docker_group_members"]) == []


def test_the_agent_cannot_open_the_socket(engine: Engine) -> None:
    assert engine.opened_by_agent() == []
