"""The lab's colleague: keys of a device on the VPN and of emergency access, kept for as long as the lab's disk is."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

from clawkeep.lab.topology import Lab
from clawkeep.site import vpn_peers
from clawkeep.site.inventory import Peer
from clawkeep.site.vpn_peers import Store

DEVICE = "lab-colleague"
DAYS = 90


def store(lab: Lab, inventory: Path) -> Store:
    """Where the lab keeps what its inventory declares."""
    return Store(inventory, lab.state / "vpn")


def peer(lab: Lab, inventory: Path) -> Peer:
    """The colleague's device, its keys made when first asked for."""
    kept = store(lab, inventory)
    private, public = kept.secret / "device.key", kept.secret / "device.pub"
    if not public.exists():
        keys = vpn_peers.new_keys()
        for path, text in ((private, keys.private), (kept.preshared_key(DEVICE), vpn_peers.new_preshared_key())):
            path.unlink(missing_ok=True)
            kept.keep(path, text + "\n")
        public.write_text(keys.public + "\n", encoding="ascii")
    expires = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=DAYS)
    return vpn_peers.new_peer(DEVICE, "Lab Operator", expires, public.read_text(encoding="ascii").strip(), [])


def emergency_key(lab: Lab) -> str:
    """The line of the offline key's public half; the private one lies in the lab's folder for the drill."""
    path = lab.state / "emergency_ed25519"
    if not path.exists():
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "offline", "-f", str(path)]
        subprocess.run(argv, stdin=subprocess.DEVNULL, check=True)
    return path.with_suffix(".pub").read_text(encoding="ascii").strip()
