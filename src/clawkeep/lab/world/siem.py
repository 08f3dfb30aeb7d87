"""The log store: a real rsyslogd with the configuration that role log_collector gives a store.

    python -m clawkeep.lab.world.siem --tier GROUP --peer NAME --credentials DIR FOLDER ADDRESS...

writes its files below FOLDER, leaves the records in FOLDER/store, starts the watch for silence, and becomes rsyslogd.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from clawkeep.base import repo
from clawkeep.lab.world.pki import private
from clawkeep.register import tiers
from clawkeep_host import package

STORE = "store"
PROGRAM = "rsyslogd"
_ALERTER = "clawkeep-log-alert"
_TEMPLATES = {"rsyslog.conf": "rsyslog.conf.j2", "alerts.json": "alerts.json.j2"}


def prepare(folder: Path, credentials: Path, group: str, peer: str, addresses: Sequence[str]) -> Path:
    """Write everything that rsyslogd needs for a store of that tier's alerts; return its configuration.

    `credentials` holds ca.pem, store.pem and store.key; `peer` is the one name whose certificate may add records.
    """
    role = repo.find().root / "roles" / "log_collector"
    for made in (folder, folder / "work", folder / STORE):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    archive, alerter = folder / "clawkeep_host.zip", folder / _ALERTER
    archive.write_bytes(package.archive())
    archive.chmod(0o600)
    alerter.write_text(package.wrapper(_ALERTER, archive=str(archive)), encoding="utf-8")
    alerter.chmod(0o700)
    known: dict[str, Any] = {
        **yaml.safe_load((role / "defaults/main.yml").read_text(encoding="utf-8")),
        "ansible_managed": "The lab's log store",
        "__log_collector_alerter": alerter,
        "__log_collector_rules": folder / "alerts.json",
        "__log_collector_tls": credentials,
        "__log_collector_work": folder / "work",
        "log_collector_alerts": tiers.load(repo.find().tiers)[group]["log_agent_alerts"],
        "log_collector_listen": list(addresses),
        "log_collector_peers": [peer],
        "log_collector_store": str(folder / STORE),
    }
    for name, template in _TEMPLATES.items():
        source = role / "templates/etc/clawkeep/log-collector" / template
        private(folder / name, _render(source.read_text(encoding="utf-8"), known))
    return folder / "rsyslog.conf"


def _render(source: str, known: dict[str, Any]) -> str:
    """A template of the role, as Ansible's module `template` renders it."""
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)  # noqa: S701 - no HTML
    environment.filters |= {"to_json": json.dumps, "to_nice_json": json.dumps}
    return environment.from_string(source).render(known)


def main() -> None:
    """Become the log store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tier", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--credentials", type=Path, required=True)
    parser.add_argument("folder", type=Path)
    parser.add_argument("addresses", nargs="+")
    wish = parser.parse_args()
    configuration = prepare(wish.folder, wish.credentials, wish.tier, wish.peer, wish.addresses)
    os.umask(0o077)
    subprocess.Popen([wish.folder / _ALERTER, wish.folder / "alerts.json", "--silence", "--every", "30"])
    os.execvp(PROGRAM, [PROGRAM, "-n", "-f", str(configuration), "-i", "NONE"])  # noqa: S606 - the lab's own


if __name__ == "__main__":
    main()
