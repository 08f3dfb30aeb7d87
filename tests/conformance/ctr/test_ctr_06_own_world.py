"""CTR-06: The container is not privileged, holds no device and shares no host namespace."""

import pytest

from clawkeep.subjects.containers.containers import Containers
from clawkeep.subjects.containers.mounts import Mounts
from clawkeep.subjects.containers.processes import Processes

pytestmark = pytest.mark.control("CTR-06")


def test_no_privilege_device_or_namespace_is_configured(containers: Containers) -> None:
    assert containers.with_host_powers() == []


def test_no_privileged_session_is_open(containers: Containers) -> None:
    assert containers.with_privileged_sessions() == []


def test_every_namespace_belongs_to_one_container_alone(processes: Processes) -> None:
    assert processes.shared_namespaces() == []


def test_no_device_is_there_beyond_the_usual_ones(mounts: Mounts) -> None:
    assert mounts.unexpected_devices() == []
