"""How the host is reached: the remote command, and the inventory of a lab."""

import shlex
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml

from clawkeep.lab import inventory, ssh, state
from clawkeep.lab import topology as t
from clawkeep.lab.containers import Image
from clawkeep.lab.topology import SCENARIOS, Lab
from clawkeep.site import inventory as inventories

ID = "sha256:" + "0" * 64
EVERYWHERE = {*t.PLACES, *(place for scenario in SCENARIOS.values() for place in scenario.places)}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    (tmp_path / "id_ed25519").touch()
    return Lab(SCENARIOS["tier1_personal"], tmp_path)


def test_one_word_is_a_shells_text() -> None:
    words = shlex.split(ssh.as_root(["echo $HOME; false"]))
    assert words == ["exec", "sudo", "-n", "--", "bash", "-c", "echo $HOME; false"]


def test_several_words_reach_the_program_as_they_are() -> None:
    remote = shlex.split(ssh.as_root(["printf", "%s\n", "two words", "$HOME"]))[-1]
    assert shlex.split(remote) == ["printf", "%s\n", "two words", "$HOME"]


def test_the_users_own_ssh_settings_take_no_part(lab: Lab) -> None:
    line = ssh.argv(lab, 2222, "true")
    assert line[:3] == ["ssh", "-F", "none"]
    assert f"-oUserKnownHostsFile={lab.state}/known_hosts" in line
    assert line[-2:] == ["ops@127.0.0.1", "true"]


def test_the_sites_facts_are_the_topologys() -> None:
    facts = inventory.site_facts()
    assert facts["site_admin_networks"] == [f"{t.MGMT_GATEWAY}/32"]
    assert facts["site_public_endpoint"] == f"{t.ALLOWED_SITE[0]}:80"
    assert facts["site_public_endpoint6"] == f"[{t.ALLOWED_SITE[1]}]:80"
    assert facts["site_resolvers"] == [str(a) for a in t.RESOLVERS]
    assert facts["site_private_endpoints"] == ["192.168.77.51:80"]
    assert ip_address("192.168.77.51") in t.NEIGHBOUR_ECHO


def test_the_generated_inventory_is_one_that_the_suite_reads(lab: Lab) -> None:
    folder = inventory.write(lab, 2222, (Image("clawkeep/openclaw:1", ID),))
    site = inventories.read_site(folder)
    assert site.vantages["outside"].name == lab.netns(t.OUTSIDER)
    assert site.vantages["neighbour"].name == lab.netns(t.NEIGHBOUR)
    assert [image.ids for image in site.images] == [(ID,)]
    host = yaml.safe_load((folder / "hosts.yml").read_text())["tier1_personal"]["hosts"]["lab-tier1"]
    assert host["ansible_port"] == 2222
    assert host["clawkeep_addresses"] == ["203.0.113.10", "2001:db8:113::10"]
    assert yaml.safe_load((folder / "group_vars/all.yml").read_text())["openclaw_image_id"] == ID


def test_the_log_store_is_reached_and_no_key_stands_in_the_inventory(tmp_path: Path) -> None:
    lab = Lab(SCENARIOS["tier2_team"], tmp_path)
    (tmp_path / "id_ed25519").touch()
    folder = inventory.write(lab, 2222, (Image("clawkeep/openclaw:1", ID),))
    site = inventories.read_site(folder)
    assert (site.log_collector, site.log_collector_name) == ("203.0.113.70:6514", "siem.example")
    assert "BEGIN CERTIFICATE" in site.log_ca
    assert site.vantages["siem"].name == lab.netns(t.SIEM)
    assert site.vantages["siem"].store.startswith(str(tmp_path))
    host = yaml.safe_load((folder / "hosts.yml").read_text())["tier2_team"]["hosts"]["lab-tier2"]
    assert host["log_agent_private_key"] == f"{{{{ lookup('ansible.builtin.file', '{tmp_path}/log/host.key') }}}}"
    written = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert not [text for text in written if "PRIVATE KEY" in text]


def test_a_lab_without_a_log_store_names_none(lab: Lab) -> None:
    site = inventories.read_site(inventory.write(lab, 2222, (Image("clawkeep/openclaw:1", ID),)))
    assert (site.log_collector, "siem" in site.vantages) == ("", False)


def test_a_lab_host_that_is_raised_is_of_the_next_tier_in_the_same_inventory(tmp_path: Path) -> None:
    (tmp_path / "id_ed25519").touch()
    lab, images = Lab(SCENARIOS["climb"], tmp_path), (Image("clawkeep/openclaw:1", ID),)
    site = inventories.read_site(inventory.write(lab, 2222, images))
    assert (site.log_collector, sorted(site.vantages)) == ("", ["neighbour", "outside"])
    state.set_tier(lab, "tier2_team")
    folder = inventory.write(lab, 2222, images)
    site = inventories.read_site(folder)
    assert (site.log_collector, sorted(site.vantages)) == ("203.0.113.70:6514", ["neighbour", "outside", "siem", "vpn"])
    hosts = yaml.safe_load((folder / "hosts.yml").read_text())
    assert (list(hosts["tier2_team"]["hosts"]), "tier1_personal" in hosts) == (["lab-host"], False)
    assert yaml.safe_load((folder / "estate.yml").read_text())["estate"][0]["tier"] == "tier2_team"


def test_only_documentation_private_and_metadata_addresses_occur() -> None:
    harmless = [
        ip_network(n)
        for n in (
            *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"),  # RFC 5737, RFC 3849
            *("192.168.0.0/16", "169.254.0.0/16", "fd00::/8"),
            "64:ff9b::/96",  # RFC 6052; of that network only names that lead to metadata occur
            *("100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32"),  # metadata services
        )
    ]
    used = [a for place in EVERYWHERE for a in (*(i.ip for i in place.addresses), *place.owns)]
    used += [a for addresses in t.NAMES.values() for a in addresses]
    assert [a for a in used if not any(a in n for n in harmless if n.version == a.version)] == []


def test_every_name_of_the_world_is_owned_by_a_place() -> None:
    owned = {a for place in EVERYWHERE for a in (*(i.ip for i in place.addresses), *place.owns)}
    owned.add(ip_address("64:ff9b::a9fe:a9fe"))  # carries 169.254.169.254, should anything translate it
    assert {a for addresses in t.NAMES.values() for a in addresses} <= owned
