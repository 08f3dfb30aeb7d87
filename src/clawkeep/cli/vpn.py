"""The command line for the VPN's colleagues: `clawkeep vpn add|revoke|show`. Only public keys are asked of hosts."""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path
from typing import Annotated

import segno
import typer

from clawkeep.base import clock, repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.cli.options import InventoryPath
from clawkeep.measure.transport import TransportError, connections
from clawkeep.site import inventory, vpn_peers
from clawkeep.site.inventory import Host, Inventory, Peer
from clawkeep.site.vpn_peers import LONGEST, Store
from clawkeep_host.addresses import VPN_INTERFACE

app = typer.Typer(help="Let a colleague's device into the VPN, and out again.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The device, such as anna-laptop.")]
Qr = Annotated[
    bool, typer.Option("--qr", metavar="", help="Draw each configuration, private key included, on this terminal.")
]
PUBLIC = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")


@app.command("add")
def add(
    name: Name,
    inventory_path: InventoryPath,
    owner: Annotated[str, typer.Option(metavar="PERSON", help="Who answers for the device.")],
    days: Annotated[int, typer.Option(metavar="N", min=1, max=LONGEST, help="For how long it is let in.")] = 90,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS:PORT", help="Where the VPN is reached, if not at the host's address."),
    ] = None,
    host_key: Annotated[
        list[str] | None, typer.Option(metavar="HOST=KEY", help="A host's public key, instead of asking the host.")
    ] = None,
    qr: Qr = False,
) -> None:
    """Make keys for a device, list it, and write the configuration that its owner is handed (mode 0600).

    The hosts' public keys are asked over the inventory's connection. The device comes in after the next rollout.
    """
    known, store = _opened(inventory_path)
    peers = known.site.vpn_peers
    given = dict(_given(text) for text in host_key or [])
    hosts = _hosts(known)
    ends = {host.name: endpoint or vpn_peers.endpoint_of(host.addresses) for host in hosts}
    for reached, end in ends.items():
        if end is None:
            raise ClawkeepError(
                f"the host {reached} has no clawkeep_addresses: say with --endpoint where its VPN is reached"
            )
    public_keys = {host.name: given.get(host.name) or _ask(known, host) for host in hosts}
    keys, preshared = vpn_peers.new_keys(), vpn_peers.new_preshared_key()
    expires = clock.day(clock.now()) + datetime.timedelta(days=days)
    peer = vpn_peers.new_peer(name, owner, expires, keys.public, peers)
    store.keep(store.preshared_key(name), preshared + "\n")
    try:
        for host in hosts:
            text = vpn_peers.configuration(peer, keys, preshared, public_keys[host.name], str(ends[host.name]))
            store.keep(store.configuration(name, host.name), text)
        store.write([*peers, peer])
    except BaseException:
        store.forget(name)
        raise
    _tell(peer, store, qr=qr)
    typer.echo(f"then: ansible-playbook -i {inventory_path} playbooks/site.yml --tags VPN-02")


@app.command("revoke")
def revoke(name: Name, inventory_path: InventoryPath) -> None:
    """Take a device off the list and remove its preshared key and configurations from this machine."""
    known, store = _opened(inventory_path)
    peer = _listed(known, name)
    store.write([other for other in known.site.vpn_peers if other.name != peer.name])
    store.forget(name)
    typer.echo(f"{name} is off the list; it is cut with")
    typer.echo(f"  ansible-playbook -i {inventory_path} playbooks/site.yml --tags VPN-02")


@app.command("show")
def show(name: Name, inventory_path: InventoryPath, qr: Qr = False) -> None:
    """Show what is public of a device and where its configurations lie; no key that is secret."""
    known, store = _opened(inventory_path)
    _tell(_listed(known, name), store, qr=qr)


def _opened(inventory_path: Path) -> tuple[Inventory, Store]:
    known = inventory.load(inventory_path, repo.find())
    return known, Store.of(inventory_path, known.site.vpn_secrets)


def _hosts(known: Inventory) -> list[Host]:
    found = [host for host in known.hosts if host.tier["vpn_provider"] == "wireguard"]
    if not found:
        raise ClawkeepError(f"no host of {known.source} has WireGuard by its tier, so nobody can come in by it")
    return found


def _listed(known: Inventory, name: str) -> Peer:
    for peer in known.site.vpn_peers:
        if peer.name == name:
            return peer
    names = ", ".join(peer.name for peer in known.site.vpn_peers) or "none"
    raise ClawkeepError(f"there is no device {name}; there are: {names}")


def _given(text: str) -> tuple[str, str]:
    host, equals, key = text.partition("=")
    if not equals or not PUBLIC.fullmatch(key):
        raise ClawkeepError(f"--host-key {text!r} is not HOST=KEY with a WireGuard public key")
    return host, key


def _ask(known: Inventory, host: Host) -> str:
    try:
        way = connections(known, repo.find().root / "ansible.cfg")[host.name]
        said = way.ask(("wg", "show", VPN_INTERFACE, "public-key")).strip()
    except TransportError as problem:
        raise ClawkeepError(
            f"the host {host.name} did not tell its VPN's public key ({problem}): roll out with --tags vpn first, or"
            " give it with --host-key"
        ) from None
    if not PUBLIC.fullmatch(said):
        raise ClawkeepError(f"the host {host.name} told {said[:60]!r}, which is no WireGuard public key")
    return said


def _tell(peer: Peer, store: Store, *, qr: bool) -> None:
    lines = [f"{peer.name}, of {peer.owner}, until {peer.expires}: {peer.address4} {peer.address6}"]
    lines += [f"public key: {peer.public_key}"]
    found = store.configurations(peer.name)
    lines += [f"to hand over, and then to delete: {path}" for path in found]
    for line in lines:
        typer.echo(clean(line, 1000))
    if qr:
        if not sys.stdout.isatty():
            raise ClawkeepError("--qr draws a private key: it goes to a terminal, never into a file or a pipe")
        for path in found:
            typer.echo(f"{path.name}:")
            segno.make(path.read_text(encoding="ascii"), micro=False).terminal(compact=True)
