"""CTR-03: The root filesystem is read-only and scratch space confined."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.containers.confinement import Confinement
from clawkeep.subjects.containers.mounts import Mounts

pytestmark = pytest.mark.control("CTR-03")


# The engine gives every container these two; they are as confined as declared scratch space.
ENGINE_SCRATCH = {"/dev/mqueue", "/dev/shm"}  # noqa: S108
KEPT = {"/home/node/.openclaw", "/home/node/.openclaw/workspace"}


def test_the_root_filesystem_is_read_only(mounts: Mounts) -> None:
    assert mounts.with_writable_root() == []


def test_the_agent_can_write_to_nothing_but_the_declared_list(confinement: Confinement, tier: Tier) -> None:
    assert confinement.writable_beyond({*tier["openclaw_tmpfs"], *KEPT, *ENGINE_SCRATCH}) == []


def test_the_agent_can_write_to_all_of_the_declared_list(confinement: Confinement, tier: Tier) -> None:
    assert confinement.not_writable({*tier["openclaw_tmpfs"], *KEPT}) == []


def test_scratch_space_is_declared_limited_and_inert(mounts: Mounts, tier: Tier) -> None:
    assert mounts.scratch_unlike(tier["openclaw_tmpfs"]) == []


def test_nothing_runs_from_scratch_space(confinement: Confinement) -> None:
    assert confinement.executing_from_scratch() == []
