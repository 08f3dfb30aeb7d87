"""HST-03: Kernel parameters contain hostile code without breaking Docker."""

import pytest

from clawkeep.subjects.host.kernel import Kernel

pytestmark = pytest.mark.control("HST-03")


def test_the_parameters_of_the_host_are_in_force(kernel: Kernel) -> None:
    assert kernel.loose_parameters() == []


def test_no_interface_heeds_what_neighbours_tell_it(kernel: Kernel) -> None:
    assert kernel.loose_interfaces() == []


def test_no_memory_of_a_crashed_program_is_kept(kernel: Kernel) -> None:
    assert kernel.memory_images() == []


def test_a_process_cannot_debug_its_sibling(kernel: Kernel) -> None:
    assert kernel.debuggable_siblings() == []


def test_published_ports_still_work(kernel: Kernel) -> None:
    assert kernel.broken_docker() == []
