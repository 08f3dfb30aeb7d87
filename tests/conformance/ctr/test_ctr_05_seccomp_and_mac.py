"""CTR-05: Seccomp and mandatory access control confine the container."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.containers.confinement import Confinement
from clawkeep.subjects.containers.containers import Containers
from clawkeep.subjects.containers.processes import Processes

pytestmark = pytest.mark.control("CTR-05")


def test_a_seccomp_filter_sees_every_system_call(processes: Processes) -> None:
    assert processes.without_seccomp() == []


def test_the_declared_profile_is_enforced_on_every_process(processes: Processes, tier: Tier) -> None:
    assert processes.not_confined_by(tier["openclaw_apparmor_profile"]) == []


def test_no_option_replaces_the_declared_profiles(containers: Containers, tier: Tier) -> None:
    apparmor, seccomp = tier["openclaw_apparmor_profile"], tier["openclaw_seccomp_profile"]
    assert containers.with_other_security_options(apparmor, seccomp) == []


def test_dangerous_system_calls_are_refused_where_ordinary_ones_work(confinement: Confinement) -> None:
    assert confinement.allowed(["keyctl", "unshare", "bpf"], control="getpid") == []
