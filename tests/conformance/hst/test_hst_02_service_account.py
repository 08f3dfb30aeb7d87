"""HST-02: The agent's service account is unprivileged and its units confined."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.host.account import Accounts

pytestmark = pytest.mark.control("HST-02")


def test_the_account_is_locked_and_in_no_group(accounts: Accounts, tier: Tier) -> None:
    assert accounts.privileges(tier["openclaw_uid"]) == []


def test_sudo_grants_it_nothing(accounts: Accounts, tier: Tier) -> None:
    assert accounts.sudo_rights(tier["openclaw_uid"]) == []


def test_it_cannot_write_outside_its_state(accounts: Accounts) -> None:
    assert accounts.writes() == []


def test_it_cannot_schedule_anything(accounts: Accounts) -> None:
    assert accounts.schedules() == []


def test_it_has_no_user_manager(accounts: Accounts, tier: Tier) -> None:
    assert accounts.lasting_sessions(tier["openclaw_uid"]) == []


def test_its_units_are_confined(accounts: Accounts) -> None:
    assert accounts.loose_units() == []


def test_its_processes_on_the_host_cannot_gain_privileges(accounts: Accounts) -> None:
    assert accounts.loose_processes() == []
