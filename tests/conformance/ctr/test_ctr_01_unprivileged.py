"""CTR-01: Every process in the agent container is unprivileged."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.containers.confinement import Confinement
from clawkeep.subjects.containers.containers import Containers
from clawkeep.subjects.containers.processes import Processes

pytestmark = pytest.mark.control("CTR-01")


def test_no_process_has_a_root_identity(processes: Processes) -> None:
    assert processes.with_root_identity() == []


def test_every_process_is_the_service_account_alone(processes: Processes, tier: Tier) -> None:
    assert processes.identities_other_than(tier["openclaw_uid"]) == []


def test_the_next_process_will_be_the_service_account(containers: Containers, tier: Tier) -> None:
    assert containers.users_other_than(tier["openclaw_uid"]) == []


def test_a_program_inside_finds_itself_unprivileged(confinement: Confinement, tier: Tier) -> None:
    assert confinement.identities_other_than(tier["openclaw_uid"]) == []
