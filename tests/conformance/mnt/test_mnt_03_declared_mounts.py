"""MNT-03: Mounts equal the declared list with private propagation."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.containers.mounts import Mounts

pytestmark = pytest.mark.control("MNT-03")


def test_mounts_are_the_declared_ones(mounts: Mounts, tier: Tier) -> None:
    assert mounts.unlike_declared(tier["mounts_allowed"]) == []


def test_every_volume_belongs_to_one_container(mounts: Mounts) -> None:
    assert mounts.volumes_of_several() == []


def test_mount_events_stay_inside(mounts: Mounts) -> None:
    assert mounts.propagating() == []


def test_volumes_hold_no_setuid_program_and_no_device(mounts: Mounts, tier: Tier) -> None:
    assert mounts.volumes_without_flags(tier["mounts_allowed"]) == []
