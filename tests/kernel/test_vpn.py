"""The VPN for real: two network namespaces, WireGuard, the rendered firewall, and a colleague's probe.

Needs root, nmap and wireguard-tools, and WireGuard in the kernel or wireguard-go. Nothing of this machine is touched.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base import clock
from clawkeep.collector import vpn as collected
from clawkeep.evidence.document import HostEvidence
from clawkeep.lab.network import inside
from clawkeep.measure.probes.handshake import shake, stranger
from clawkeep.measure.probes.scan import scan
from clawkeep.measure.probes.vantage import run_probe
from clawkeep.site import vpn_peers
from clawkeep.site.inventory import Peer, Vantage
from clawkeep.subjects.entry.wireguard import Wireguard
from clawkeep_host import package

NEEDED = ("wg", "wireguard-go", "nmap", "nft")
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}"),
]

# The installed program, with folders of its own: package and wrapper are those of a host.
FOLDERS = """
from pathlib import Path
from clawkeep_host import vpn
vpn.BASE, vpn.SEEN = Path({base!r}), Path({seen!r})
main()
"""
HOST, DEVICE = "t2x-vpn-host", "t2x-vpn-device"
TUNNEL, OTHER_END = "t2xwg0", "t2xwg1"
PUBLIC = ("203.0.113.10", "2001:db8:113::10")
INSIDE = ("10.78.0.1", "fd5e:c1a0:78::1")
INGRESS = [
    {"port": 51820, "proto": "udp", "from": "any"},
    {"port": 22, "proto": "tcp", "from": "vpn"},
    {"port": 443, "proto": "tcp", "from": "vpn"},
]
SERVE = """
import socket, threading, time
def serve(port):
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        server.accept()[0].close()
for port in (22, 443):
    threading.Thread(target=serve, args=(port,), daemon=True).start()
time.sleep(3600)
"""
YESTERDAY = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=1)
NEXT_MONTH = YESTERDAY + datetime.timedelta(days=31)


def run(*argv: str, text: str = "", **environment: str) -> str:
    done = subprocess.run(
        argv, input=text, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def within(namespace: str, *argv: str, text: str = "", **environment: str) -> str:
    return run("ip", "netns", "exec", namespace, *argv, text=text, **environment)


class World:
    """A host and a colleague's device on one wire."""

    def __init__(self, folder: Path, ruleset: str) -> None:
        self.folder, self.children = folder, list[subprocess.Popen[bytes]]()
        self.keys, self.psk = vpn_peers.new_keys(), vpn_peers.new_preshared_key()
        self.anna = self.peer("anna", 2, NEXT_MONTH, self.keys.public)
        self.base = folder / "vpn"
        (self.base / "psk").mkdir(parents=True)
        for name in ("anna", "bob"):
            self.secret(self.base / "psk" / name, self.psk)
        (self.base / "settings.json").write_text(
            json.dumps({"interface": TUNNEL, "port": 51820, "addresses": [f"{INSIDE[0]}/24", f"{INSIDE[1]}/64"]})
        )
        self.install()
        self.wire()
        for namespace, tunnel in ((HOST, TUNNEL), (DEVICE, OTHER_END)):
            self.wireguard(namespace, tunnel)
        (folder / "clawkeep.nft").write_text(ruleset)
        within(HOST, "nft", "--file", str(folder / "clawkeep.nft"))
        self.start(HOST, sys.executable, "-c", SERVE)
        self.secret(folder / "device.key", self.keys.private)
        within(DEVICE, "wg", "set", OTHER_END, "private-key", str(folder / "device.key"))
        for address in (self.anna.address4, self.anna.address6):
            within(DEVICE, "ip", "address", "add", address, "dev", OTHER_END)
        within(DEVICE, "ip", "link", "set", OTHER_END, "up")
        for route in INSIDE:
            within(DEVICE, "ip", "route", "add", route, "dev", OTHER_END)

    @staticmethod
    def peer(name: str, number: int, expires: datetime.date, public: str) -> Peer:
        addresses = {"address4": f"10.78.0.{number}", "address6": f"fd5e:c1a0:78::{number}"}
        return Peer.model_validate({"name": name, "public_key": public, "owner": name, "expires": expires, **addresses})

    @staticmethod
    def secret(path: Path, text: str) -> None:
        path.touch(mode=0o600)
        path.write_text(text + "\n")

    def install(self) -> None:
        archive, self.program = self.folder / "clawkeep_host.zip", self.folder / "clawkeep-vpn"
        archive.write_bytes(package.archive())
        start, main, end = package.wrapper("clawkeep-vpn", archive=str(archive)).rpartition("main()\n")
        assert (main, end) == ("main()\n", "")
        self.program.write_text(start + FOLDERS.format(base=str(self.base), seen=str(self.folder / "state/seen.json")))

    def wire(self) -> None:
        run("ip", "link", "add", "card", "netns", HOST, "type", "veth", "peer", "name", "card", "netns", DEVICE)
        for namespace, last in ((HOST, "10"), (DEVICE, "60")):
            for address in (f"203.0.113.{last}/24", f"2001:db8:113::{last}/64"):
                within(
                    namespace, "ip", "address", "add", address, "dev", "card", *(["nodad"] if ":" in address else [])
                )
            for link in ("lo", "card"):
                within(namespace, "ip", "link", "set", link, "up")

    def wireguard(self, namespace: str, tunnel: str) -> None:
        kernel = subprocess.run(
            ["ip", "-n", namespace, "link", "add", tunnel, "type", "wireguard"], capture_output=True, check=False
        )
        if kernel.returncode:
            self.start(namespace, "wireguard-go", "--foreground", tunnel)
            listing = Path("/var/run/wireguard", f"{tunnel}.sock")
            while not listing.exists():
                assert self.children[-1].poll() is None, "wireguard-go ended"
                time.sleep(0.02)

    def start(self, namespace: str, *argv: str) -> None:
        self.children.append(
            subprocess.Popen(
                ["ip", "netns", "exec", namespace, *argv],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "LOG_LEVEL": "error"},
            )
        )

    def declare(self, *peers: Peer) -> None:
        (self.base / "peers.json").write_text(json.dumps([peer.model_dump(mode="json") for peer in peers]))

    def tool(self, command: str) -> str:
        return within(HOST, sys.executable, "-IS", str(self.program), command)

    def dump(self) -> str:
        """What the host's own `wg` would print: wireguard-go's sockets are not parted by namespaces."""
        lines = within(HOST, "wg", "show", "all", "dump").splitlines()
        return "\n".join(line for line in lines if line.startswith(TUNNEL))

    def subject(self) -> Wireguard:
        listed = {"argv": ["wg"], "status": 0, "json": dict(collected.parse(self.dump()), present=True)}
        seen = json.loads((self.folder / "state" / "seen.json").read_text())
        facts = {"vpn-seen": seen, "clock-now": time.time(), "vpn-files": []}
        document = {"schema": 1, "commands": {"wireguard": listed}, "facts": facts, "problems": {}}
        controller = {"schema": 1, "facts": {"measured": {"began": clock.now(), "ended": clock.now()}}}
        raw = {"schema": 1, "host": "host", "inside": document, "vantages": {"controller": controller}}
        return HostEvidence("host", raw).subject(Wireguard)

    def probe(self, host_key: str) -> dict[str, Any]:
        wishes = {"public": PUBLIC, "inside": INSIDE, "port": 51820, "host_key": host_key, "ports": [22, 443]}
        wishes |= {"tunnel": OTHER_END, "preshared": str(self.base / "psk" / "bob")}  # one key for both here
        return run_probe("clawkeep.measure.probes.vpn", Vantage(kind="netns", name=DEVICE), wishes, seconds=60)

    def shaken(self, host_key: str, private: str, address: str) -> str:
        return inside(DEVICE, lambda: shake(private, host_key, address, 51820, 3.0))


@pytest.fixture
def world(tmp_path: Path, render: Callable[..., str]) -> Iterator[World]:
    if os.geteuid() or not shutil.which("wg") or not shutil.which("nmap"):
        pytest.fail("run this as root, with wireguard-tools and nmap installed")
    ruleset = render(
        "firewall",
        "etc/clawkeep/firewall/clawkeep.nft.j2",
        firewall_ingress=INGRESS,
        firewall_admin_networks=["203.0.113.0/24", "2001:db8:113::/64"],
        firewall_vpn_interface=TUNNEL,
    )
    for namespace in (HOST, DEVICE):
        run("ip", "netns", "add", namespace)
    made: World | None = None
    try:
        made = World.__new__(World)
        made.children = []
        made.__init__(tmp_path, ruleset)  # type: ignore[misc]
        yield made
    finally:
        for child in reversed(made.children if made else []):
            child.send_signal(signal.SIGTERM)
            child.wait(10)
        for namespace in (HOST, DEVICE):
            run("ip", "netns", "delete", namespace)


def direct(address: str, port: int) -> str:
    def connect() -> str:
        try:
            with socket.create_connection((address, port), 3):
                return "open"
        except TimeoutError:
            return "silent"
        except OSError as problem:
            return str(problem)

    return inside(DEVICE, connect)


def test_only_a_declared_device_comes_in_and_only_by_the_tunnel(world: World) -> None:
    world.declare(world.anna, world.peer("bob", 3, YESTERDAY, vpn_peers.new_keys().public))
    host_key = world.tool("key").strip()
    assert (world.base / "private.key").stat().st_mode & 0o777 == 0o600
    assert "bob expired" in world.tool("up")
    assert world.tool("up").strip().endswith("unchanged")

    seen = world.probe(host_key)
    assert set(seen["connects"].values()) == {"open"}
    assert len(seen["connects"]) == 4
    assert seen["handshakes"] == {address: {"stranger": "silent", "declared": "answered"} for address in PUBLIC}

    # This device's public address is in an administrators' network: at this tier that opens nothing.
    assert {direct(address, port) for address in PUBLIC for port in (22, 443)} == {"silent"}

    for address in PUBLIC:
        states = inside(DEVICE, functools.partial(scan, address, [51820, 41641, 500], "udp", 1000))["ports"]
        assert states == dict.fromkeys(("51820", "41641", "500"), "open|filtered")

    found = world.subject()
    assert found.missing(TUNNEL, 51820) == found.other_peers([world.anna]) == found.without_preshared_key() == []
    assert found.other_networks([world.anna]) == found.expired([world.anna]) == found.idle([world.anna], 90) == []


def test_what_was_added_by_hand_is_seen_and_taken_away(world: World) -> None:
    world.declare(world.anna)
    world.tool("key")
    world.tool("up")
    other = vpn_peers.new_keys().public
    within(HOST, "wg", "set", TUNNEL, "peer", other, "allowed-ips", "10.78.0.9/32")
    within(HOST, "wg", "set", TUNNEL, "peer", world.anna.public_key, "allowed-ips", "10.0.0.0/8")
    found = world.subject()
    assert found.other_peers([world.anna]) == [f"a peer with the key {other} runs and is not declared"]
    assert found.without_preshared_key() == [f"the peer {other} has no preshared key"]
    assert any("anna may speak for all of 10.0.0.0/8" in said for said in found.other_networks([world.anna]))
    assert world.tool("sync").strip() == "changed"
    found = world.subject()
    assert found.other_peers([world.anna]) == found.other_networks([world.anna]) == []


def test_a_revoked_device_is_cut(world: World) -> None:
    world.declare(world.anna)
    host_key = world.tool("key").strip()
    world.tool("up")
    assert world.shaken(host_key, world.keys.private, PUBLIC[0]) == "answered"
    world.declare()
    assert world.tool("sync").strip() == "changed"
    assert [world.shaken(host_key, world.keys.private, address) for address in PUBLIC] == ["silent", "silent"]
    assert world.shaken(host_key, stranger(), PUBLIC[0]) == "silent"
    world.tool("down")
    assert TUNNEL not in within(HOST, "ip", "-brief", "link")


def test_no_secret_key_is_in_the_evidence(world: World) -> None:
    world.declare(world.anna)
    world.tool("key")
    world.tool("up")
    private = (world.base / "private.key").read_text().strip()
    dump = world.dump()
    assert private in dump
    assert world.psk in dump
    kept = json.dumps(collected.parse(dump))
    assert private not in kept
    assert world.psk not in kept
    assert world.anna.public_key in kept
