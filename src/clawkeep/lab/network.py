"""The lab's network: a bridge in a namespace of its own, and one namespace for every place of the world."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from clawkeep.lab.errors import LabError
from clawkeep.lab.tools import SEARCH_PATH
from clawkeep.lab.topology import INTERNET, METADATA, Lab, Place

T = TypeVar("T")

BRIDGE = "lan0"
TAP = "vm0"
_QUEUE = 20_000  # packets that wait for an emulated card, so that a port scan does not overrun it
CARD = "lab0"  # every place's card on the segment

_CLONE_NEWNET = 0x4000_0000
_TUNSETIFF = 0x4004_54CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_ENVIRONMENT = {**os.environ, "PATH": SEARCH_PATH}


def existing() -> set[str]:
    """The named network namespaces of this machine."""
    folder = Path("/run/netns")
    return {p.name for p in folder.iterdir()} if folder.is_dir() else set()


def create(lab: Lab) -> None:
    """Make every namespace, link and address of the lab. Raises `LabError` with the tool's own words."""
    for name in lab.namespaces:
        _run("ip", "netns", "add", name)
    _ip(lab.lan, f"link add {BRIDGE} type bridge", f"link set {BRIDGE} up", "link set lo up")
    for place in lab.places:
        _settle(lab, place)
    routed = [f"route add {a} via {METADATA.addresses[0].ip}" for a in METADATA.owns]
    _ip(lab.netns(INTERNET), *routed)
    # The segment's private network is the metadata service's, too: hosts may ask from either address.
    _ip(lab.netns(METADATA), f"route add 192.168.77.0/24 dev {CARD}")


def _settle(lab: Lab, place: Place) -> None:
    name = lab.netns(place)
    _ip(lab.lan, f"link add {place.name} type veth peer name {CARD} address {_hardware(lab, place)} netns {name}")
    _ip(lab.lan, f"link set {place.name} master {BRIDGE}", f"link set {place.name} up")
    settings = ["net.ipv6.conf.all.accept_ra=0", f"net.ipv6.conf.{CARD}.accept_dad=0"]
    if place is INTERNET:
        # It routes, but never tells a sender of a shorter way: hosts would remember it past a snapshot.
        settings += ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
        settings += ["net.ipv4.conf.all.send_redirects=0", f"net.ipv4.conf.{CARD}.send_redirects=0"]
    _run("ip", "netns", "exec", name, "sysctl", "-q", "-w", *settings)
    _ip(
        name,
        "link set lo up",
        f"link set {CARD} up",
        *(f"address add {i} dev {CARD}{' nodad' if i.version == 6 else ''}" for i in place.addresses),
        *(f"address add {a} dev lo{' nodad' if a.version == 6 else ''}" for a in place.owns),
        *(f"route add default via {g}" for g in place.via),
    )


def _hardware(lab: Lab, place: Place) -> str:
    """A place's own MAC address, the same every time: a machine from a snapshot remembers whom it knew."""
    octets = bytes((0x02, *bytes.fromhex(lab.id), 0, lab.places.index(place)))  # 0x02: locally administered
    return octets.hex(":")


def delete(lab: Lab) -> None:
    """Remove what exists of the lab's namespaces; links, taps and addresses go with them."""
    present = existing()
    for name in lab.namespaces:
        if name in present:
            _run("ip", "netns", "delete", name)


@contextmanager
def tap(lab: Lab) -> Iterator[int]:
    """A tap on the lab's bridge, as a file descriptor for QEMU to inherit. The tap goes when its last holder does."""
    descriptor = inside(lab.lan, _open_tap)
    try:
        _ip(lab.lan, f"link set {TAP} txqueuelen {_QUEUE} master {BRIDGE}", f"link set {TAP} up")
        os.set_inheritable(descriptor, True)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_tap() -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", TAP.encode(), flags))
    except OSError as error:
        os.close(descriptor)
        raise LabError(f"no tap device could be made ({error.strerror}): is another machine using the lab?") from error
    return descriptor


def inside(namespace: str, action: Callable[[], T]) -> T:
    """Run `action` in the namespace; descriptors it opens stay usable outside.

    A thread of its own does it: a namespace belongs to a thread, and this one never returns to its old one.
    """

    def entered() -> T:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/run/netns", namespace).open() as handle:
            if libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {namespace}")
        return action()

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(entered).result()


def answers(namespace: str, host: str, port: int, seconds: float = 1.0) -> bool:
    """Whether a TCP connection from inside the namespace is accepted within the time."""

    def connect() -> bool:
        try:
            socket.create_connection((host, port), timeout=seconds).close()
        except OSError:
            return False
        return True

    return inside(namespace, connect)


def _ip(namespace: str, *commands: str) -> None:
    _run("ip", "-n", namespace, "-batch", "-", text="\n".join(commands) + "\n")


def _run(*argv: str, text: str = "") -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, env=_ENVIRONMENT, check=False)
    if done.returncode != 0:
        raise LabError(f"the lab's network cannot be set up: {' '.join(argv)}: {done.stderr.strip()}")
