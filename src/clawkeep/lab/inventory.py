"""The Ansible inventory of a running lab: the repository's facts about the site, and what this lab adds."""

from __future__ import annotations

import shlex
from pathlib import Path

import yaml

from clawkeep.lab import ssh
from clawkeep.lab import topology as t
from clawkeep.lab.containers import Image
from clawkeep.lab.guest import ADMIN
from clawkeep.lab.topology import Lab

_NOTE = "# Written by `clawkeep lab up`; gone with `clawkeep lab down`.\n"


def folder(lab: Lab) -> Path:
    """Where the lab's inventory is."""
    return lab.state / "inventory"


def site_facts() -> dict[str, object]:
    """What is true of every lab's site: the keys of group_vars/all.yml that the topology decides."""
    return {
        "site_name": "lab",
        "site_admin_networks": [f"{t.MGMT_GATEWAY}/32"],
        "site_operators": [{"name": "Lab Operator", "role": "incident lead", "contact": "operator@allowed.example"}],
        "site_console": "the serial console's log, console.log, in the lab's state folder",
        "site_public_endpoint": f"{t.ALLOWED_SITE[0]}:80",
        "site_public_endpoint6": f"[{t.ALLOWED_SITE[1]}]:80",
        "site_private_endpoints": [f"{t.NEIGHBOUR.addresses[2].ip}:80"],
        "site_resolvers": [str(a) for a in t.RESOLVERS],
    }


def write(lab: Lab, port: int, images: tuple[Image, ...]) -> Path:
    """Write hosts.yml, group_vars/all.yml and images.lock.yml; return their folder."""
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
    into = folder(lab)
    (into / "group_vars").mkdir(parents=True, exist_ok=True)
    _dump(into / "hosts.yml", {lab.scenario.group: {"hosts": {lab.scenario.host: host}}})
    generated = {"site_vantages": vantages, "openclaw_image_id": images[0].id}
    _dump(into / "group_vars" / "all.yml", {**site_facts(), **generated})
    _dump(into / "images.lock.yml", {"images": [{"name": i.name, "ids": [i.id], "digests": []} for i in images]})
    return into


def _dump(path: Path, document: object) -> None:
    path.write_text(_NOTE + yaml.safe_dump(document, sort_keys=False, width=120))
