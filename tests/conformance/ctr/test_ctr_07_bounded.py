"""CTR-07: Memory, CPU, processes and restarts are bounded and health is watched."""

import pytest

from clawkeep.evidence.parsing import size
from clawkeep.register.tiers import Tier
from clawkeep.subjects.containers.containers import Containers
from clawkeep.subjects.containers.processes import Processes

pytestmark = pytest.mark.control("CTR-07")


def test_the_kernel_bounds_memory_swap_processors_and_processes(processes: Processes, tier: Tier) -> None:
    memory = size(tier["openclaw_memory"], "openclaw_memory")
    cpus, pids = float(tier["openclaw_cpus"]), tier["openclaw_pids_limit"]
    assert processes.limits_looser_than(memory=memory, swap=0, cpus=cpus, pids=pids) == []


def test_restarts_end(containers: Containers) -> None:
    assert containers.restarting_without_end() == []


def test_the_gateway_is_watched_and_healthy(containers: Containers) -> None:
    assert containers.not_healthy() == []
