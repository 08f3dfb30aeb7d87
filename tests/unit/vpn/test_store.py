"""Colleagues' keys and files: what is written where, and who may read it."""

from __future__ import annotations

import base64
import configparser
import datetime
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from clawkeep.base import repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.site import vpn_peers
from clawkeep.site.inventory import PEERS, read_site

from .worlds import ANNA

LATER = datetime.date(2027, 1, 1)


def store(folder: Path) -> vpn_peers.Store:
    (folder / "inventory").mkdir()
    return vpn_peers.Store.of(folder / "inventory", str(folder / "secret"))


def test_keys_are_wireguards() -> None:
    """The pair of RFC 7748's section 6.1, and `wg` where it is installed."""
    keys = vpn_peers.new_keys()
    assert len(base64.b64decode(keys.private)) == len(base64.b64decode(keys.public)) == 32
    assert keys.private not in repr(keys)
    if shutil.which("wg"):
        done = subprocess.run(["wg", "pubkey"], input=keys.private, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == keys.public
    assert vpn_peers.new_preshared_key() != vpn_peers.new_preshared_key()


def test_the_public_list_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.write([ANNA])
    (kept.folder / "group_vars").mkdir()
    (kept.folder / "group_vars" / "all.yml").write_text("site_name: test\n")
    assert read_site(kept.folder).vpn_peers == (ANNA,)
    row = yaml.safe_load(kept.file.read_text())["vpn_peers"][0]
    assert row["expires"] == "2026-12-01"  # text, as the role's specification wants it


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    kept = store(tmp_path)
    path = kept.preshared_key("anna")
    kept.keep(path, "x\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ClawkeepError, match="is there already"):
        kept.keep(path, "y\n")
    kept.forget("anna")
    assert not path.exists()


@pytest.mark.parametrize(("configured", "why"), [("", "must set site_vpn_secrets"), ("here", "whole path")])
def test_secrets_need_a_place(tmp_path: Path, configured: str, why: str) -> None:
    with pytest.raises(ClawkeepError, match=why):
        vpn_peers.Store.of(tmp_path, configured)


def test_secrets_stay_out_of_git(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(ClawkeepError, match="Git checkout"):
        vpn_peers.Store.of(tmp_path, str(tmp_path / "deep" / "down"))


def test_each_device_has_its_own_addresses() -> None:
    peer = vpn_peers.new_peer("bob", "Bob", LATER, vpn_peers.new_keys().public, [ANNA])
    assert (peer.address4, peer.address6) == ("10.78.0.3", "fd5e:c1a0:78::3")
    with pytest.raises(ClawkeepError, match="there is a device anna"):
        vpn_peers.new_peer("anna", "Anna", LATER, vpn_peers.new_keys().public, [ANNA])


@pytest.mark.parametrize("name", ["", "Anna", "../x", "a b", "-x", "x" * 40])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ClawkeepError, match="this is no device"):
        vpn_peers.new_peer(name, "Anna", LATER, vpn_peers.new_keys().public, [])


def test_a_configuration_leads_to_the_host_alone() -> None:
    keys = vpn_peers.new_keys()
    text = vpn_peers.configuration(ANNA, keys, "PSK", "HOST", "203.0.113.10:51820")
    assert f"PrivateKey = {keys.private}" in text
    assert "AllowedIPs = 10.78.0.1/32, fd5e:c1a0:78::1/128" in text
    assert "Keepalive" not in text
    assert vpn_peers.endpoint_of(["2001:db8::1"]) == "[2001:db8::1]:51820"


def test_ansible_takes_the_peers_for_no_list_of_hosts() -> None:
    settings = configparser.ConfigParser()
    settings.read(repo.find().root / "ansible.cfg")
    assert any(re.search(pattern.strip(), PEERS) for pattern in settings["inventory"]["ignore_patterns"].split(","))
