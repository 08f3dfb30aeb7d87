"""The VPN's colleagues: who may come in, with what keys, and the files that say so.

Public facts of every device stand in vpn_peers.yml beside the inventory; the playbook and the suite read it from there.
What is secret never enters it: preshared keys and colleagues' configurations lie in the folder `site_vpn_secrets`, in
files that only their owner reads, outside of any Git checkout. A host's private key is made on the host.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import ValidationError

from clawkeep.base.errors import ClawkeepError, sentence
from clawkeep.site.inventory import PEERS, Peer

NETWORK4 = ipaddress.IPv4Network("10.78.0.0/24")
NETWORK6 = ipaddress.IPv6Network("fd5e:c1a0:78::/64")
HOST = 1  # the host's own number in both networks; devices follow
PORT = 51820
LONGEST = 365  # days that a device may be let in at once
NOTE = """\
---
# Devices that may come in by the VPN. `clawkeep vpn add` and `clawkeep vpn revoke` write this file and keep no comment;
# nothing in it is secret. A change takes effect with `ansible-playbook -i INVENTORY playbooks/site.yml --tags VPN-02`.
"""


@dataclass(frozen=True)
class Keys:
    """A WireGuard key pair in base64; the private half is left out of its repr."""

    private: str
    public: str

    def __repr__(self) -> str:
        """The public half."""
        return f"Keys(public={self.public!r})"


def new_keys() -> Keys:
    """A key pair from the system's random source (Curve25519, as `wg genkey` and `wg pubkey` make them)."""
    private = X25519PrivateKey.generate()
    raw = serialization.Encoding.Raw
    hidden = private.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    open_half = private.public_key().public_bytes(raw, serialization.PublicFormat.Raw)
    return Keys(_text(hidden), _text(open_half))


def new_preshared_key() -> str:
    """32 random bytes in base64, as `wg genpsk` makes them."""
    return _text(secrets.token_bytes(32))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


@dataclass(frozen=True)
class Store:
    """Where one site keeps its colleagues: `folder` is the inventory's, `secret` is `site_vpn_secrets`."""

    folder: Path
    secret: Path

    @classmethod
    def of(cls, inventory: Path, configured: str) -> Store:
        """The store of an inventory; raises ClawkeepError unless its secrets have a place outside of Git."""
        folder = inventory if inventory.is_dir() else inventory.parent
        if not configured:
            raise ClawkeepError(
                f"{folder}/group_vars/all.yml must set site_vpn_secrets to a folder outside of any Git checkout, such"
                " as ~/.local/share/clawkeep/SITE: preshared keys lie there"
            )
        secret = Path(configured).expanduser()
        if not secret.is_absolute():
            raise ClawkeepError(f"site_vpn_secrets is {configured!r}: give a whole path, so that it means one place")
        checkouts = [parent for parent in (secret.resolve(), *secret.resolve().parents) if (parent / ".git").exists()]
        if checkouts:
            raise ClawkeepError(f"site_vpn_secrets lies in the Git checkout {checkouts[0]}: keys must not get into Git")
        return cls(folder, secret)

    @property
    def file(self) -> Path:
        """The public list."""
        return self.folder / PEERS

    def preshared_key(self, name: str) -> Path:
        """The file of a device's preshared key."""
        return self.secret / "psk" / name

    def configuration(self, name: str, host: str) -> Path:
        """The file that a colleague is handed for one host."""
        return self.secret / "configurations" / f"{name}@{host}.conf"

    def configurations(self, name: str) -> list[Path]:
        """Every configuration of a device that lies here."""
        return sorted((self.secret / "configurations").glob(f"{name}@*.conf"))

    def write(self, peers: Sequence[Peer]) -> None:
        """Write the public list, whole or not at all."""
        rows = [peer.model_dump(mode="json") for peer in sorted(peers, key=lambda peer: peer.name)]
        text = NOTE + yaml.safe_dump({"vpn_peers": rows}, sort_keys=False, allow_unicode=True, width=120)
        fresh = self.file.with_name(f".{self.file.name}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.file)

    def keep(self, path: Path, text: str) -> None:
        """Write a secret file that nobody else reads from its first byte on; raises ClawkeepError if it is there."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            raise ClawkeepError(f"{path} is there already: revoke the device first, or remove the file") from None
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)

    def forget(self, name: str) -> None:
        """Remove every secret of a device."""
        for path in (self.preshared_key(name), *self.configurations(name)):
            path.unlink(missing_ok=True)


def free_addresses(peers: Sequence[Peer]) -> tuple[str, str]:
    """The lowest pair of addresses, one number in both networks, that no device has; raises when none is left."""
    taken = {peer.address4 for peer in peers} | {peer.address6 for peer in peers}
    for number in range(HOST + 1, NETWORK4.num_addresses - 1):
        pair = str(NETWORK4[number]), str(NETWORK6[number])
        if not taken & set(pair):
            return pair
    raise ClawkeepError(f"{NETWORK4} has no address left: revoke a device")


def new_peer(name: str, owner: str, expires: datetime.date, public: str, peers: Sequence[Peer]) -> Peer:
    """A device with addresses of its own; raises ClawkeepError when the name is taken or is none."""
    if any(peer.name == name for peer in peers):
        raise ClawkeepError(f"there is a device {name} already: revoke it, or choose another name")
    address4, address6 = free_addresses(peers)
    values = {"name": name, "public_key": public, "owner": owner, "expires": expires}
    try:
        return Peer.model_validate({**values, "address4": address4, "address6": address6})
    except ValidationError as problem:
        raise ClawkeepError(f"this is no device: {sentence(problem)}") from None


def configuration(peer: Peer, keys: Keys, preshared: str, host_key: str, endpoint: str) -> str:
    """What the colleague's WireGuard reads: the way to the host alone, in both families, and no keepalive.

    Without a keepalive a device that nobody uses falls silent, and its idleness is seen.
    """
    return (
        f"[Interface]\nPrivateKey = {keys.private}\nAddress = {peer.address4}/32, {peer.address6}/128\n\n"
        f"[Peer]\nPublicKey = {host_key}\nPresharedKey = {preshared}\nEndpoint = {endpoint}\n"
        f"AllowedIPs = {NETWORK4[HOST]}/32, {NETWORK6[HOST]}/128\n"
    )


def endpoint_of(addresses: Sequence[str]) -> str | None:
    """Where a host's VPN is reached from outside: its first address and the port; None for a host without any."""
    if not addresses:
        return None
    first = ipaddress.ip_address(addresses[0])
    return f"[{first}]:{PORT}" if first.version == 6 else f"{first}:{PORT}"
