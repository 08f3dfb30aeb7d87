"""DKR-01: The engine stack is above the security floor with a known firewall backend."""

from collections.abc import Callable

import pytest

from clawkeep.evidence.document import HostEvidence
from clawkeep.register.tiers import Tier
from clawkeep.subjects.containers.engine import Engine
from clawkeep.subjects.network.ruleset import Ruleset

pytestmark = pytest.mark.control("DKR-01")

# The first releases without a publicly known escape into the host: CVE-2023-25173 and CVE-2024-21626.
FLOORS = {"containerd": "1.6.18", "runc": "1.1.12"}


def test_the_engine_is_above_the_floor_or_the_guard_stands_in_for_it(
    engine: Engine, evidence: HostEvidence, tier: Tier, caveat: Callable[[str], None]
) -> None:
    below = engine.below({"Engine": tier["docker_engine_floor"]})
    gaps = evidence.subject(Ruleset).guard_gaps() if below else []
    assert [f"{old}, and the guard that stands in for it has a gap: {gap}" for old in below for gap in gaps] == []
    for old in below:
        caveat(f"{old}: this holds only because the guard of NET-05 is measured in force")


def test_containerd_and_runc_are_above_their_floors(engine: Engine) -> None:
    assert engine.below(FLOORS) == []


def test_no_process_runs_a_program_that_was_replaced(engine: Engine) -> None:
    assert engine.replaced_while_running() == []


def test_the_firewall_backend_is_the_declared_one(engine: Engine, tier: Tier) -> None:
    backend = engine.firewall_backend()
    assert backend == tier["docker_firewall_backend"], f"the engine programs {backend}"
