"""MNT-01: No container or agent account can reach a container engine API."""

import pytest

from clawkeep.subjects.containers.confinement import Confinement
from clawkeep.subjects.containers.containers import Containers
from clawkeep.subjects.containers.engine_access import EngineAccess
from clawkeep.subjects.containers.mounts import Mounts

pytestmark = pytest.mark.control("MNT-01")


def test_no_mount_of_any_container_leads_to_an_engine_socket(mounts: Mounts) -> None:
    assert mounts.engine_sockets() == []


def test_no_engine_answers_the_agent(confinement: Confinement) -> None:
    assert confinement.engines_answering() == []


def test_no_container_is_told_where_an_engine_is(containers: Containers) -> None:
    assert containers.with_engine_variables() == []


def test_the_service_account_cannot_open_an_engine_socket(engine_access: EngineAccess) -> None:
    assert engine_access.open_to_service() == []
