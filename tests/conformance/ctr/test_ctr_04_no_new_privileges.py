"""CTR-04: No process can gain privileges."""

import pytest

from clawkeep.subjects.containers.mounts import Mounts
from clawkeep.subjects.containers.processes import Processes

pytestmark = pytest.mark.control("CTR-04")


def test_every_process_is_bound_to_its_privileges(processes: Processes) -> None:
    assert processes.able_to_gain_privileges() == []


def test_no_file_changes_who_runs_it(mounts: Mounts) -> None:
    assert mounts.lifting_files() == []
