"""The playbooks stop where they must, and tiers set only what somebody reads."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from molecule.interpolation import Interpolator, TemplateWithDefaults

from clawkeep.site import estate

from .conftest import ROLES, ROOT, options, read

SITE = ROOT / "playbooks" / "site.yml"
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
TIERS = sorted((ROOT / "playbooks" / "group_vars").glob("tier*.yml"))
# What people record beside the hosts sets no variable: ansible.cfg has Ansible pass over it.
RECORDS = {"attestations.yml", "estate.yml", "images.lock.yml", "vpn_peers.yml", "waivers.yml"}
INVENTORIES = sorted(path for path in (ROOT / "inventories").rglob("*.yml") if path.name not in RECORDS)

# Promises that no role sets: the suite proves them, or they describe a tier that this release does not serve yet.
SUITE_ONLY = {
    "tier",
    "discovery_census_max_age_days",
    "discovery_owned_subnets",
    "estate_review_days",
    "firewall_zones",
    "vpn_peer_idle_days",
    "web_auth_methods",
    "openclaw_version_floor",
    "openclaw_integrations",
    "openclaw_integrations_max",
    "openclaw_audit_fail_on",
    "sandbox_required",
    "sandbox_task_max_seconds",
    "sandbox_task_concurrency",
    "mounts_allowed",
    "mounts_encrypted",
    "secrets_source",
    "secrets_max_age_days",
    "secrets_unused_days",
    "skills_reviewers",
    "skills_reviewer_may_install",
    "skills_review_days",
    "skills_detonation_required",
    "host_dedicated_vm",
    "host_ssh_second_factor",
    "log_agent_delivery_seconds",
    "log_agent_alerts",
    "patching_security_days",
    "patching_openclaw_days",
    "patching_change_record",
    "patching_lab_evidence_days",
    "breakglass_drill_days",
    "verify_period",
    "verify_attestation_days",
}

EACH_TIER = pytest.mark.parametrize("tier", TIERS, ids=lambda path: path.stem)


def play() -> dict[str, Any]:
    plays: list[dict[str, Any]] = read(SITE)
    assert len(plays) == 1
    return plays[0]


def role_keys() -> set[str]:
    """Every variable that some role reads: its own options, and what the playbook hands to it."""
    own = {name for role in ROLES for name in options(role)}
    return own | set(re.findall(r"\{\{ (\w+) \}\}", SITE.read_text(encoding="utf-8")))


def test_one_host_that_fails_stops_all() -> None:
    assert play()["any_errors_fatal"] is True
    assert play()["max_fail_percentage"] == 0
    assert play()["become"] is True


def test_the_order_of_the_roles_is_fixed() -> None:
    names = [role["role"] for role in play()["roles"]]
    before = ["preflight", "sshd", "kernel", "clock", "docker", "vpn", "egress_proxy", "firewall"]
    assert names == [*before, "openclaw", "reverse_proxy", "audit", "log_agent", "breakglass", "estate"]
    assert set(names) <= set(ROLES)


def test_preflight_always_runs() -> None:
    assert "always" in play()["roles"][0]["tags"]


def test_nothing_but_a_role_does_any_work() -> None:
    assert not {"tasks", "pre_tasks", "post_tasks", "vars", "vars_files"} & set(play())


def test_what_a_role_is_handed_is_its_own_to_take() -> None:
    for role in play()["roles"]:
        assert set(role.get("vars", {})) <= set(options(role["role"])), role["role"]


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_every_playbook_says_what_one_hosts_failure_means(playbook: Path) -> None:
    assert [item.get("name") for item in read(playbook) if "any_errors_fatal" not in item] == []


@EACH_TIER
def test_every_key_of_a_tier_is_read_by_somebody(tier: Path) -> None:
    assert set(read(tier)) - role_keys() - SUITE_ONLY == set()


def test_the_list_of_promises_without_a_role_is_kept_short() -> None:
    assert SUITE_ONLY & {name for role in ROLES for name in options(role)} == set()


@EACH_TIER
def test_a_tier_is_literal(tier: Path) -> None:
    assert not re.search(r"\{\{|\{%|!vault|!unsafe", tier.read_text(encoding="utf-8"))


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_shipped_inventory_sets_a_tiers_key(inventory: Path) -> None:
    keys = {key for tier in TIERS for key in read(tier)}

    def set_here(node: Any) -> set[str]:
        if isinstance(node, dict):
            return {key for key in node if key in keys} | {key for item in node.values() for key in set_here(item)}
        return {key for item in node for key in set_here(item)} if isinstance(node, list) else set()

    assert set_here(yaml.safe_load(inventory.read_text(encoding="utf-8"))) == set()


def test_an_inventory_is_named_each_time() -> None:
    text = (ROOT / "ansible.cfg").read_text(encoding="utf-8")
    assert not re.search(r"^inventory\s*=", text, re.MULTILINE)
    assert not re.search(r"^host_key_checking", text, re.MULTILINE)


def test_the_example_says_of_each_host_why_it_has_its_tier() -> None:
    folder = ROOT / "inventories" / "example"
    hosts = {host: group for group, one in read(folder / "hosts.yml").items() for host in one["hosts"]}
    reasons = estate.load(folder / estate.FILE)
    assert {host: reason.tier for host, reason in reasons.items()} == hosts
    for reason in reasons.values():
        tier = read(ROOT / "playbooks" / "group_vars" / f"{reason.tier}.yml")
        assert set(reason.data) <= set(tier["estate_data_classes"])
        assert reason.credentials == tier["secrets_kind"]


def test_molecule_passes_over_the_same_records_as_ansible() -> None:
    """Molecule reads no ansible.cfg, and reads its own configuration only after having replaced what begins with $."""
    raw = (ROOT / ".config" / "molecule" / "config.yml").read_text(encoding="utf-8")
    filled = Interpolator(TemplateWithDefaults, {}).interpolate(raw, "MOLECULE_")
    shared = yaml.safe_load(filled)["ansible"]["cfg"]["inventory"]["ignore_patterns"]
    own = ConfigParser(interpolation=None)
    own.read(ROOT / "ansible.cfg", encoding="utf-8")
    (patterns,) = {own[part]["ignore_patterns"] for part in own.sections() if "ignore_patterns" in own[part]}
    assert shared == patterns
    assert {name for name in RECORDS if any(re.search(one, name) for one in patterns.split(", "))} == RECORDS
