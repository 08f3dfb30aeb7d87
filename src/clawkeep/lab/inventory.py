"""The Ansible inventory of a running lab: the repository's facts about the site, and what this lab adds."""

from __future__ import annotations

import shlex
from pathlib import Path

import yaml

from clawkeep.base import clock, repo
from clawkeep.lab import colleague, records, ssh, state
from clawkeep.lab import topology as t
from clawkeep.lab.containers import Image
from clawkeep.lab.guest import ADMIN
from clawkeep.lab.topology import Lab
from clawkeep.lab.world import pki
from clawkeep.register import tiers
from clawkeep.site import ledger as ledgers
from clawkeep.site.inventory import CONTROL

CONTROL_NODE = "lab-control"
_NOTE = "# Written by `clawkeep lab up`; gone with `clawkeep lab down`.\n"


def folder(lab: Lab) -> Path:
    """Where the lab's inventory is."""
    return lab.state / "inventory"


def ledger(lab: Lab) -> Path:
    """The ledger of the lab's schedule."""
    return lab.state / ledgers.FILE


def site_facts() -> dict[str, object]:
    """What is true of every lab's site: inventories/lab/group_vars/all.yml of the checkout."""
    path = repo.find().root / "inventories" / "lab" / "group_vars" / "all.yml"
    facts: dict[str, object] = yaml.safe_load(path.read_text())
    return facts


def write(lab: Lab, port: int, images: tuple[Image, ...]) -> Path:
    """Write hosts.yml, group_vars/all.yml, images.lock.yml and estate.yml, and begin a schedule; return their folder.

    The lab's control node is this machine: nothing verifies a lab by itself, and its schedule is always too young to
    be overdue.
    """
    host = {
        "ansible_host": ssh.ADDRESS,
        "ansible_port": port,
        "ansible_user": ADMIN,
        "ansible_ssh_private_key_file": str(ssh.key(lab)),
        "ansible_ssh_common_args": shlex.join(ssh.options(lab)),
        "ansible_become": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        "clawkeep_addresses": [str(i.ip) for i in t.HOST_ADDRESSES],
    }
    vantages = {
        "outside": {"kind": "netns", "name": lab.netns(t.OUTSIDER)},
        "neighbour": {"kind": "netns", "name": lab.netns(t.NEIGHBOUR)},
    }
    control = {"ansible_connection": "local", "ansible_become": False, "clawkeep_ledger": str(ledger(lab))}
    now, group = clock.now(), state.tier(lab)
    reason = {
        "host": lab.scenario.host,
        "tier": group,
        "reason": "The safe lab: the host is thrown away, and everything in it is made up.",
        "data": ["test"],
        "credentials": "test",
        "reviewed": now[:10],
    }
    into = folder(lab)
    peer, kept = colleague.peer(lab, into), colleague.store(lab, into)
    tier = tiers.load(repo.find().tiers)[group]
    if tier["vpn_provider"] == "wireguard":
        tunnel = {"tunnel": t.tunnel(lab.state), "device": peer.name}
        vantages["vpn"] = {"kind": "netns", "name": lab.netns(t.VPN), **tunnel}
    store: dict[str, object] = {}
    if tier["log_agent_remote"] != "none":
        store, vantages["siem"] = records.site(lab), records.vantage(lab)
        host |= records.host(lab)
    (into / "group_vars").mkdir(parents=True, exist_ok=True)
    groups = {group: {"hosts": {lab.scenario.host: host}}, CONTROL: {"hosts": {CONTROL_NODE: control}}}
    _dump(into / "hosts.yml", groups)
    generated: dict[str, object] = {
        **store,
        "site_vantages": vantages,
        "site_vpn_secrets": str(kept.secret),
        "site_emergency_key": colleague.emergency_key(lab),
        "openclaw_image_id": images[0].id,
    }
    if tier["web_enabled"]:
        generated |= _front_door(lab)
    kept.write([peer])
    _dump(into / "group_vars" / "all.yml", {**site_facts(), **generated})
    _dump(into / "images.lock.yml", {"images": [{"name": i.name, "ids": [i.id], "digests": []} for i in images]})
    _dump(into / "estate.yml", {"schema": 1, "estate": [reason]})
    ledger(lab).unlink(missing_ok=True)
    ledgers.establish(ledger(lab), CONTROL_NODE, tier["verify_period"], now)
    return into


def _front_door(lab: Lab) -> dict[str, object]:
    """The browser entry's name, and a certificate by an authority of this lab's own, made at the first call."""
    made = lab.state / "front"
    if not (made / "site.pem").exists():
        made.mkdir(parents=True, exist_ok=True)
        pki.create(made, (t.FRONT_DOOR,))
    pem = str(made / "site.pem")
    return {
        "reverse_proxy_server_name": t.FRONT_DOOR,
        "reverse_proxy_certificate_file": pem,
        "reverse_proxy_key_file": pem,
        "site_web_names": {lab.scenario.host: t.FRONT_DOOR},
        "site_web_addresses": [str(address) for address in t.VPN_HOST],
        "site_web_authority": (made / "ca.pem").read_text(encoding="utf-8"),
    }


def _dump(path: Path, document: object) -> None:
    path.write_text(_NOTE + yaml.safe_dump(document, sort_keys=False, width=120))
