"""Who is verified: each way in which an inventory can be wrong is one sentence, never a smaller run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.repo import Repo
from clawkeep.measure.transport import connections
from clawkeep.site import inventory

SITE = "site_name: here\nsite_admin_networks: [192.0.2.0/24]\nopenclaw_port: 1\n"


@pytest.fixture
def repository(tmp_path: Path) -> Repo:
    """A checkout with two tiers."""
    root = tmp_path / "repository"
    tiers = root / "playbooks" / "group_vars"
    tiers.mkdir(parents=True)
    for rank, name in ((1, "tier1_personal"), (2, "tier2_team")):
        (tiers / f"{name}.yml").write_text(f"tier: {{name: x, rank: {rank}}}\nopenclaw_port: 18789\n")
    return Repo(root)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "site"
    (path / "group_vars").mkdir(parents=True)
    (path / "group_vars" / "all.yml").write_text(SITE)
    return path


def load(folder: Path, repository: Repo, hosts: str, limit: str | None = None) -> inventory.Inventory:
    (folder / "hosts.yml").write_text(hosts)
    return inventory.load(folder, repository, limit=limit)


GOOD = """
all:
  children:
    tier1_personal:
      children:
        laptops:
          hosts:
            alpha: {ansible_host: 192.0.2.1, ansible_port: 2222, ansible_user: ops, ansible_become: true,
                    ansible_become_password: "{{ vaulted }}", vaulted: secret, openclaw_port: 3000,
                    ansible_ssh_private_key_file: /keys/a b, ansible_ssh_common_args: -o UserKnownHostsFile=/k,
                    clawkeep_addresses: [192.0.2.1, "2001:DB8::1"]}
    tier2_team: {hosts: {beta: {ansible_connection: local}}}
"""


def test_hosts_have_their_tier_and_their_connection(folder: Path, repository: Repo) -> None:
    found = load(folder, repository, GOOD)
    alpha, beta = found.hosts
    assert (alpha.name, alpha.tier.name, alpha.addresses) == ("alpha", "tier1_personal", ("192.0.2.1", "2001:db8::1"))
    assert alpha.tier["openclaw_port"] == 18789, "a host's own variable is never the oracle"
    assert (beta.name, beta.tier.rank) == ("beta", 2)
    ways = connections(found, repository.root / "ansible.cfg")
    login = ways["alpha"].login
    assert login[:2] == ("ssh", "-T")
    assert login[-1] == "192.0.2.1"
    for option in ("User=ops", "Port=2222", "UserKnownHostsFile=/k", "ControlMaster=no", "BatchMode=yes", "/keys/a b"):
        assert option in login
    assert "ControlMaster=auto" not in login
    assert [ways["alpha"].become_password] == ["secret"]
    assert ways["alpha"].command(["true"])[-1] == "sudo -k -S -p '' -- true"
    assert ways["beta"].command(["true"]) == ["true"]


def test_a_limit_narrows_the_run(folder: Path, repository: Repo) -> None:
    assert [host.name for host in load(folder, repository, GOOD, "tier2_team").hosts] == ["beta"]


@pytest.mark.parametrize(
    ("hosts", "limit", "sentence"),
    [
        (GOOD, "tier2_teem", "the limit 'tier2_teem' names something .* does not have"),
        (GOOD, "alpha,betta", "the limit 'alpha,betta' names something .* does not have"),
        (GOOD, "alpha:!alpha", "has no host in the limit"),
        ("", None, "has no host: nothing was verified"),
        ("all: [", None, "cannot be used: "),
    ],
)
def test_a_wrong_inventory_is_one_sentence(
    folder: Path, repository: Repo, hosts: str, limit: str | None, sentence: str
) -> None:
    with pytest.raises(ClawkeepError) as raised:
        load(folder, repository, hosts, limit)
    assert re.search(sentence, str(raised.value))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("groups", "variables", "sentence"),
    [
        ({}, {}, "alpha has no tier: put it into one of the groups tier1_personal, tier2_team"),
        ({"tier1_personal": ["alpha"], "tier2_team": ["alpha"]}, {}, "alpha is in 2 tiers .*exactly one"),
        ({"tier3_enterprize": ["alpha"]}, {}, "alpha is in the group tier3_enterprize, which is no tier"),
        ({"tier1_personal": ["alpha"]}, {"clawkeep_addresses": ["web"]}, "clawkeep_addresses of the host alpha"),
        ({"tier1_personal": ["alpha"]}, {"clawkeep_addresses": "192.0.2.1"}, "it is not a list"),
    ],
)
def test_a_host_without_exactly_one_tier_is_one_sentence(
    folder: Path,
    repository: Repo,
    monkeypatch: pytest.MonkeyPatch,
    groups: dict[str, Any],
    variables: dict[str, Any],
    sentence: str,
) -> None:
    listing = {"_meta": {"hostvars": {"alpha": variables}}, "all": {"hosts": ["alpha"]}}
    listing |= {group: {"hosts": members} for group, members in groups.items()}
    monkeypatch.setattr(inventory, "_list", lambda *_: listing)
    with pytest.raises(ClawkeepError) as raised:
        inventory.load(folder, repository)
    assert re.search(sentence, str(raised.value))


def test_no_inventory(repository: Repo, tmp_path: Path) -> None:
    with pytest.raises(ClawkeepError, match="there is no inventory"):
        inventory.load(tmp_path / "nowhere", repository)


@pytest.mark.parametrize(
    ("site", "sentence"),
    [
        (None, "all.yml is missing"),
        ("site_name: [", "cannot be read as YAML"),
        ("- a", "is not a mapping"),
        ("site_admin_networks: []", "site_name: field required"),
        ("site_name: x\nsite_admin_networks: [192.0.2.1/24]", "site_admin_networks.0: .*host bits set"),
        ("site_name: x\nsite_admin_netwroks: []", "site_admin_netwroks: extra inputs are not permitted"),
        ("site_name: x\nsite_public_endpoint: example.com", 'an endpoint is "ADDRESS:PORT"'),
        ("site_name: x\nsite_vantages: {outside: {kind: ssh}}", "site_vantages.outside.kind"),
    ],
)
def test_a_wrong_site_is_one_sentence(folder: Path, site: str | None, sentence: str) -> None:
    path = folder / "group_vars" / "all.yml"
    if site is None:
        path.unlink()
    else:
        path.write_text(site)
    with pytest.raises(ClawkeepError) as raised:
        inventory.read_site(folder)
    assert re.search(sentence, str(raised.value))


def test_a_site_with_its_images(folder: Path) -> None:
    (folder / "images.lock.yml").write_text("images: [{name: openclaw, ids: ['sha256:aa'], digests: []}]")
    site = inventory.read_site(folder)
    assert site.admin_networks == ("192.0.2.0/24",)
    assert site.images[0].ids == ("sha256:aa",)


def bare(listing: Mapping[str, object]) -> inventory.Inventory:
    host = inventory.Host("alpha", None)  # type: ignore[arg-type]
    whole = {"_meta": {"hostvars": {"alpha": listing}}, "all": {"hosts": ["alpha"]}}
    return inventory.Inventory(Path("/inventory"), (host,), inventory.Site(name="x"), whole)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"ansible_connection": "docker"}, "reaches hosts by ssh or local"),
        ({"ansible_become_method": "su"}, "becomes root by su"),
        ({"ansible_host": "{{ lookup('env', 'X') }}"}, "ansible_host of the host alpha is the template"),
    ],
)
def test_a_connection_that_we_cannot_make(variables: dict[str, str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ClawkeepError, match=re.escape(sentence)):
        connections(bare(variables), tmp_path / "none.cfg")


def test_become_in_an_ini_inventory_is_text(tmp_path: Path) -> None:
    assert not connections(bare({"ansible_become": "false"}), tmp_path / "none.cfg")["alpha"].become
    assert connections(bare({"ansible_become": "yes"}), tmp_path / "none.cfg")["alpha"].become


def test_an_ssh_password_is_in_no_argv(tmp_path: Path) -> None:
    way = connections(bare({"ansible_ssh_pass": "hidden", "ansible_host": "192.0.2.1"}), tmp_path / "none.cfg")["alpha"]
    assert [way.ssh_password] == ["hidden"]
    assert way.login[:3] == ("sshpass", "-e", "ssh")
    assert "hidden" not in " ".join(way.command(["true"]))
