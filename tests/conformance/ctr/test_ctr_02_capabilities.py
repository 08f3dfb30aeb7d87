"""CTR-02: No Linux capability remains."""

import pytest

from clawkeep.subjects.containers.confinement import Confinement
from clawkeep.subjects.containers.processes import Processes

pytestmark = pytest.mark.control("CTR-02")


def test_all_five_capability_sets_of_every_process_are_empty(processes: Processes) -> None:
    assert processes.with_capabilities() == []


@pytest.mark.parametrize("capability", ["SYS_ADMIN", "NET_RAW"])
def test_the_worst_capabilities_are_gone(processes: Processes, capability: str) -> None:
    assert processes.holding(capability) == []


def test_raw_packets_and_mounts_fail_where_ordinary_tcp_works(confinement: Confinement) -> None:
    assert confinement.allowed(["raw-socket", "mount"], control="tcp") == []
