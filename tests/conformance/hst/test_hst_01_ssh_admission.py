"""HST-01: SSH admits named administrators by key alone."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.subjects.host.account import Accounts
from clawkeep.subjects.host.sshd import Sshd

pytestmark = pytest.mark.control("HST-01")


def test_nothing_but_a_key_opens_and_root_stays_out(sshd: Sshd) -> None:
    assert sshd.more_than_keys() == []


def test_only_listed_administrators_are_admitted(sshd: Sshd, accounts: Accounts, tier: Tier) -> None:
    agents = [account.name for account in accounts.everyone if account.uid == tier["openclaw_uid"]]
    roots = [account.name for account in accounts.everyone if account.uid == 0]
    assert sshd.unnamed_users([*roots, *agents]) == []


def test_guessing_is_limited(sshd: Sshd) -> None:
    assert sshd.guessing_room() == []


def test_the_running_daemon_has_read_its_settings_and_offers_keys_alone(sshd: Sshd) -> None:
    assert sshd.not_in_force() == []


def test_a_second_factor_is_asked_where_the_tier_wants_one(sshd: Sshd, tier: Tier) -> None:
    assert (sshd.missing_factor() if tier["host_ssh_second_factor"] else []) == []
