"""MNT-02: No sensitive host path enters a container."""

import pytest

from clawkeep.subjects.containers.confinement import Confinement
from clawkeep.subjects.containers.mounts import Mounts

pytestmark = pytest.mark.control("MNT-02")


def test_no_mount_of_any_container_has_a_sensitive_path_behind_it(mounts: Mounts) -> None:
    assert mounts.sensitive() == []


def test_no_file_from_a_sensitive_directory_is_seen_inside(confinement: Confinement) -> None:
    assert confinement.canaries_seen() == []
