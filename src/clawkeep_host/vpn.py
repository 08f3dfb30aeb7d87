"""Bring this host's WireGuard interface to what its files declare.

/etc/clawkeep/vpn holds everything: settings.json (interface, port, addresses), peers.json (the declared peers, public
facts only), private.key and psk/NAME, which only root reads. A key is never an argument and never printed.

    clawkeep-vpn key      make the private key if there is none; print the public one
    clawkeep-vpn up       make the interface and give it the peers
    clawkeep-vpn sync     give a running interface the peers; sessions of those that stay go on
    clawkeep-vpn down     remove the interface

A peer counts up to the day that it expires. The timer runs `sync`, so one that expires is cut without any rollout, and
keeps in /var/lib/clawkeep/vpn/seen.json when each was last heard of, which the kernel forgets at a reboot.

Exit status: 0 done, 1 refused or failed (one sentence on stderr).
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import time
from collections.abc import Iterable
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from clawkeep_host import files
from clawkeep_host.command import Parser, Refusal, conclude, run

PROGRAM = "clawkeep-vpn"
BASE = Path("/etc/clawkeep/vpn")
SEEN = Path("/var/lib/clawkeep/vpn/seen.json")
KEY = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")  # later Pythons read more than this as a date
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
ROLE = "run the role vpn against this host"


def secret(path: Path) -> str:
    """The key in a file that only root may read."""
    seen = path.stat()
    if seen.st_uid != os.geteuid() or seen.st_mode & 0o077:
        raise Refusal(f"{path} can be read by others than root; make a new key and remove this one.")
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if not KEY.fullmatch(text):
        raise Refusal(f"{path} holds no WireGuard key.")
    return text


def load(name: str) -> Any:
    """The JSON value of one of our files."""
    try:
        return json.loads((BASE / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise Refusal(f"{BASE / name} cannot be read ({problem}); {ROLE}.") from None


class Settings:
    """What settings.json says of the interface; raises Refusal for anything else."""

    def __init__(self) -> None:
        """Read the file."""
        found = load("settings.json")
        try:
            self.interface = str(found["interface"])
            self.port = int(found["port"])
            self.addresses = {str(ipaddress.ip_interface(text)) for text in found["addresses"]}
        except (KeyError, TypeError, ValueError) as problem:
            raise Refusal(f"{BASE / 'settings.json'} lacks something or has it wrong ({problem!r}); {ROLE}.") from None
        if not INTERFACE.fullmatch(self.interface):
            raise Refusal(f"{self.interface!r} in {BASE / 'settings.json'} is no interface's name; {ROLE}.")


def peers() -> list[dict[str, Any]]:
    """The declared peers, each with a name that is safe in a path."""
    found = load("peers.json")
    if not isinstance(found, list) or not all(isinstance(peer, dict) for peer in found):
        raise Refusal(f"{BASE / 'peers.json'} is no list of peers; {ROLE}.")
    for peer in found:
        if not NAME.fullmatch(str(peer.get("name"))) or not KEY.fullmatch(str(peer.get("public_key"))):
            raise Refusal(f"the peer {peer.get('name')!r} has a name or a public key that is none.")
    return found


def key() -> None:
    """Make the private key in place, readable by root alone from its first byte; print the public one."""
    path = BASE / "private.key"
    if not path.exists():
        files.write(path, run("wg", "genkey"))
    print(run("wg", "pubkey", stdin=secret(path)).strip())


def in_date(peer: dict[str, Any], today: date) -> bool:
    """Whether a peer's last day has not passed; a date that cannot be read has."""
    text = str(peer.get("expires"))
    try:
        return bool(DAY.fullmatch(text)) and date.fromisoformat(text) >= today
    except ValueError:
        return False


def configuration(port: int, current: Iterable[dict[str, Any]]) -> str:
    """What `wg syncconf` reads: the interface's key and port, and each peer with its own addresses alone."""
    lines = ["[Interface]", f"PrivateKey = {secret(BASE / 'private.key')}", f"ListenPort = {port}"]
    for peer in current:
        try:
            address4, address6 = (str(peer[name]) for name in ("address4", "address6"))
            allowed = f"{ipaddress.IPv4Address(address4)}/32, {ipaddress.IPv6Address(address6)}/128"
        except (KeyError, ValueError) as problem:
            raise Refusal(f"the peer {peer['name']} has an address that is none ({problem!r}).") from None
        lines += [
            "[Peer]",
            f"PublicKey = {peer['public_key']}",
            f"PresharedKey = {secret(BASE / 'psk' / peer['name'])}",
        ]
        lines.append(f"AllowedIPs = {allowed}")
    return "\n".join(lines) + "\n"


def remember(interface: str) -> str | None:
    """Keep each peer's last handshake; one that was never heard of counts from when it was first declared here.

    Returns why it could not be kept: a full disk keeps no peer connected and no interface up.
    """
    try:
        seen = {str(name): int(at) for name, at in json.loads(SEEN.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        seen = {}
    found = {}
    try:
        for line in run("wg", "show", interface, "latest-handshakes").splitlines():
            public, _, at = line.partition("\t")
            found[public] = max(int(at), seen.get(public, 0)) or int(time.time())
        SEEN.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(SEEN, json.dumps(found, sort_keys=True))
    except (Refusal, OSError, ValueError) as problem:
        return f"when peers were last heard of is not kept: {problem}"
    return None


def exists(interface: str) -> bool:
    """Whether the host has the interface."""
    return Path("/sys/class/net", interface).exists()


def give_peers(settings: Settings) -> str | None:
    """Give the interface exactly the declared peers that are in date; say which were left out.

    Returns what `remember` complains of, for the end: it keeps nobody from being cut.
    """
    interface = settings.interface
    forgotten = remember(interface)
    declared = peers()
    today = datetime.now(timezone.utc).date()
    current = [peer for peer in declared if in_date(peer, today)]
    before = run("wg", "show", interface, "allowed-ips")
    run("wg", "syncconf", interface, "/dev/stdin", stdin=configuration(settings.port, current))
    forgotten = remember(interface) or forgotten
    for peer in declared:
        if peer not in current:
            print(f"{peer['name']} expired on {peer.get('expires')} and is cut")
    print("changed" if run("wg", "show", interface, "allowed-ips") != before else "unchanged")
    return forgotten


def sync() -> None:
    """Give a running interface its peers."""
    settings = Settings()
    if not exists(settings.interface):
        raise Refusal(f"there is no interface {settings.interface}; `systemctl start clawkeep-vpn` makes it.")
    complain(give_peers(settings))


def up() -> None:
    """Make the interface, give it addresses and peers, and let it run; nothing happens twice."""
    settings = Settings()
    interface = settings.interface
    if not exists(interface):
        run("ip", "link", "add", interface, "type", "wireguard")
    present = addresses(interface)
    for address in sorted(present - settings.addresses):
        run("ip", "address", "delete", address, "dev", interface)
    for address in sorted(settings.addresses - present):
        run("ip", "address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))
    forgotten = give_peers(settings)
    run("ip", "link", "set", interface, "up", "mtu", "1420")
    complain(forgotten)


def addresses(interface: str) -> set[str]:
    """The interface's own addresses, with their prefixes; those that the kernel gives a link by itself left out."""
    listed = json.loads(run("ip", "-json", "address", "show", "dev", interface))
    return {
        f"{one['local']}/{one['prefixlen']}"
        for link in listed
        for one in link.get("addr_info", [])
        if one.get("scope") == "global"
    }


def down() -> None:
    """Remove the interface; its routes and peers go with it."""
    interface = Settings().interface
    if exists(interface):
        forgotten = remember(interface)
        run("ip", "link", "delete", interface)
        complain(forgotten)


def complain(what: str | None) -> None:
    """End with a complaint that had to wait."""
    if what:
        raise Refusal(what)


COMMANDS = {"key": key, "up": up, "sync": sync, "down": down}


def main() -> NoReturn:
    """Run one command at a time."""
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument("command", choices=COMMANDS)
    given = parser.parse_args()

    def act() -> None:
        with files.lock(BASE / ".lock", PROGRAM):
            COMMANDS[given.command]()

    conclude(PROGRAM, act)
