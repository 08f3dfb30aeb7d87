"""HST-04: The clock agrees with a trusted source."""

import pytest

from clawkeep.site.inventory import Site
from clawkeep.subjects.host.clock import Clock

pytestmark = pytest.mark.control("HST-04")

MOST = 1.0  # seconds
VERIFIER = 60.0  # seconds by which the machine that verifies may itself be off


def test_the_clock_follows_a_source_that_answers(clock: Clock) -> None:
    assert clock.not_followed(MOST) == []


def test_the_clock_agrees_with_the_machine_that_verifies(clock: Clock) -> None:
    assert clock.disagrees(VERIFIER) == []


def test_every_source_is_a_listed_one(clock: Clock, site: Site) -> None:
    assert clock.other_sources(site.time_servers) == []


def test_one_program_sets_the_clock(clock: Clock) -> None:
    assert clock.rivals() == []
