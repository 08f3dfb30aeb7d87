"""CTR-10: Docker Desktop hosts meet the same container limits."""

import pytest

from clawkeep.subjects.containers.desktop import Desktop

pytestmark = pytest.mark.control("CTR-10")


PROJECTS = {"openclaw"}  # the folder that may be shared into the VM


def test_containers_are_hardened_as_on_linux(desktop: Desktop) -> None:
    assert desktop.missing_options() == []


def test_only_the_project_folder_is_shared_into_the_vm(desktop: Desktop) -> None:
    assert desktop.shared_beyond(PROJECTS) == []


def test_containers_mount_only_the_project_folder(desktop: Desktop) -> None:
    assert desktop.mounted_beyond(PROJECTS) == []
