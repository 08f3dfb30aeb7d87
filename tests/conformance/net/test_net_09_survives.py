"""NET-09: The network policy survives restarts, reloads and reboot."""

import pytest

from clawkeep.subjects.network.firewall import Firewall

pytestmark = pytest.mark.control("NET-09")


def test_what_runs_is_what_boot_would_load(firewall: Firewall) -> None:
    assert firewall.drift() == []


def test_nobody_but_root_writes_what_boot_loads(firewall: Firewall) -> None:
    assert firewall.loose_files() == []


def test_units_bring_the_policy_back(firewall: Firewall) -> None:
    assert firewall.after_boot() == []
