#!/usr/bin/python3
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

import argparse
import fcntl
import ipaddress
import json
import os
import re
import subprocess
import sys
import time
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

BASE = Path(os.environ.get("CLAWKEEP_VPN", "/etc/clawkeep/vpn"))
SEEN = Path(os.environ.get("CLAWKEEP_VPN_STATE", "/var/lib/clawkeep/vpn")) / "seen.json"
KEY = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class Refusal(Exception):
    """A sentence for the operator; the command stops with exit status 1."""


def run(*argv: str, stdin: str = "") -> str:
    """Return the output of a command; raise Refusal with its last words when it fails."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise Refusal(f"`{' '.join(argv)}` failed: {(done.stderr or done.stdout).strip() or done.returncode}")
    return done.stdout


def secret(path: Path) -> str:
    """The key in a file that only root may read."""
    seen = path.stat()
    if seen.st_uid != os.geteuid() or seen.st_mode & 0o077:
        raise Refusal(f"{path} can be read by others than root; make a new key and remove this one.")
    text = path.read_text(encoding="ascii").strip()
    if not KEY.fullmatch(text):
        raise Refusal(f"{path} holds no WireGuard key.")
    return text


def load(name: str) -> Any:
    """The JSON value of one of our files."""
    try:
        return json.loads((BASE / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise Refusal(f"{BASE / name} cannot be read ({problem}); run the role vpn against this host.") from None


def key(_: argparse.Namespace) -> None:
    """Make the private key in place, readable by root alone from its first byte; print the public one."""
    path = BASE / "private.key"
    if not path.exists():
        fresh = BASE / ".private.key.new"
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(run("wg", "genkey"))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    print(run("wg", "pubkey", stdin=secret(path)).strip())


def in_date(peer: dict[str, Any], today: date) -> bool:
    """Whether a peer's last day has not passed; a date that cannot be read has."""
    try:
        return date.fromisoformat(str(peer["expires"])) >= today
    except (KeyError, ValueError):
        return False


def configuration(settings: dict[str, Any], peers: list[dict[str, Any]]) -> str:
    """What `wg syncconf` reads: the interface's key and port, and each peer with its own addresses alone."""
    lines = ["[Interface]", f"PrivateKey = {secret(BASE / 'private.key')}", f"ListenPort = {int(settings['port'])}"]
    for peer in peers:
        if not NAME.fullmatch(str(peer["name"])) or not KEY.fullmatch(str(peer["public_key"])):
            raise Refusal(f"the peer {peer['name']!r} has a name or a public key that is none.")
        allowed = [f"{ipaddress.ip_address(peer[one])}/{bits}" for one, bits in (("address4", 32), ("address6", 128))]
        lines += [
            "[Peer]",
            f"PublicKey = {peer['public_key']}",
            f"PresharedKey = {secret(BASE / 'psk' / peer['name'])}",
        ]
        lines.append(f"AllowedIPs = {', '.join(allowed)}")
    return "\n".join(lines) + "\n"


def remember(interface: str) -> None:
    """Keep each peer's last handshake; one that was never heard of counts from when it was first declared here."""
    try:
        seen = {str(name): int(at) for name, at in json.loads(SEEN.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError):
        seen = {}
    found = {}
    for line in run("wg", "show", interface, "latest-handshakes").splitlines():
        public, _, at = line.partition("\t")
        found[public] = max(int(at), seen.get(public, 0)) or int(time.time())
    SEEN.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = SEEN.with_suffix(".new")
    fresh.write_text(json.dumps(found, sort_keys=True), encoding="utf-8")
    fresh.replace(SEEN)


def exists(interface: str) -> bool:
    """Whether the host has the interface."""
    return Path("/sys/class/net", interface).exists()


def sync(_: argparse.Namespace) -> None:
    """Give the interface exactly the declared peers that are in date; say which were left out."""
    settings = load("settings.json")
    interface = str(settings["interface"])
    if not exists(interface):
        raise Refusal(f"there is no interface {interface}; `systemctl start clawkeep-vpn` makes it.")
    remember(interface)
    declared = load("peers.json")
    today = datetime.now(timezone.utc).date()
    current = [peer for peer in declared if in_date(peer, today)]
    before = run("wg", "show", interface, "allowed-ips")
    run("wg", "syncconf", interface, "/dev/stdin", stdin=configuration(settings, current))
    remember(interface)
    for peer in declared:
        if peer not in current:
            print(f"{peer['name']} expired on {peer['expires']} and is cut")
    print("changed" if run("wg", "show", interface, "allowed-ips") != before else "unchanged")


def up(given: argparse.Namespace) -> None:
    """Make the interface, give it addresses and peers, and let it run; nothing happens twice."""
    settings = load("settings.json")
    interface = str(settings["interface"])
    if not exists(interface):
        run("ip", "link", "add", interface, "type", "wireguard")
    wanted = {str(ipaddress.ip_interface(text)) for text in settings["addresses"]}
    listed = json.loads(run("ip", "-json", "address", "show", "dev", interface))
    present = {
        f"{one['local']}/{one['prefixlen']}"
        for link in listed
        for one in link.get("addr_info", [])
        if one.get("scope") == "global"
    }
    for address in sorted(present - wanted):
        run("ip", "address", "delete", address, "dev", interface)
    for address in sorted(wanted - present):
        run("ip", "address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))
    sync(given)
    run("ip", "link", "set", interface, "up", "mtu", "1420")


def down(_: argparse.Namespace) -> None:
    """Remove the interface; its routes and peers go with it."""
    interface = str(load("settings.json")["interface"])
    if exists(interface):
        remember(interface)
        run("ip", "link", "delete", interface)


COMMANDS = {"key": key, "up": up, "sync": sync, "down": down}


def main() -> int:
    """Run one command at a time."""
    parser = argparse.ArgumentParser(prog="clawkeep-vpn", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=COMMANDS)
    given = parser.parse_args()
    try:
        with (BASE / ".lock").open("a", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            COMMANDS[given.command](given)
    except (Refusal, OSError, KeyError, TypeError, ValueError, subprocess.TimeoutExpired) as problem:
        print(f"clawkeep-vpn: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
