"""Where everything of the lab lives: addresses, names and the scenarios themselves.

Only documentation addresses (RFC 5737, RFC 3849) and the well-known metadata addresses occur; no packet of the lab
ever leaves the machine. Labs are isolated from one another by network namespaces, so all of them share these
constants and only the namespace names differ.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface


def _v(*interfaces: str) -> tuple[Interface, ...]:
    return tuple(IPv6Interface(i) if ":" in i else IPv4Interface(i) for i in interfaces)


def _a(*addresses: str) -> tuple[Address, ...]:
    return tuple(IPv6Address(a) if ":" in a else IPv4Address(a) for a in addresses)


# The machine's two network cards. Fixed, since the guest finds its cards by them.
MGMT_MAC = "52:54:00:c1:a0:01"
LAB_MAC = "52:54:00:c1:a0:02"

# Management: QEMU's user network, which lets nothing out (restrict=on). ssh arrives from MGMT_GATEWAY.
MGMT_ADDRESS = IPv4Interface("10.0.2.15/24")
MGMT_GATEWAY = IPv4Address("10.0.2.2")

# The lab segment, as the host sees it.
HOST_ADDRESSES = _v("203.0.113.10/24", "2001:db8:113::10/64")
HOST_PRIVATE_ADDRESS = IPv4Interface("192.168.77.10/24")
GATEWAYS = _a("203.0.113.1", "2001:db8:113::1")
METADATA_NETWORKS = ("169.254.0.0/16", "fd00:ec2::/32")  # on-link, as a cloud's hypervisor answers them


@dataclass(frozen=True)
class Place:
    """One namespace on the lab bridge.

    `addresses` sit on its card of the segment, `owns` on its loopback (others route to them), `via` is its gateway.
    """

    name: str
    addresses: tuple[Interface, ...]
    owns: tuple[Address, ...] = ()
    via: tuple[Address, ...] = ()


INTERNET = Place(
    name="internet",
    addresses=_v("203.0.113.1/24", "2001:db8:113::1/64"),
    owns=_a(
        *(f"198.51.100.{n}" for n in (10, 20, 25, 30, 53, 54, 123)),
        *(f"2001:db8:51::{n}" for n in (10, 20, 25, 30, 53, 54, 123)),
    ),
)
METADATA = Place(
    name="metadata",
    addresses=_v("203.0.113.2/24", "2001:db8:113::2/64", "169.254.169.254/16", "169.254.170.2/16", "169.254.170.23/16")
    + _v("fd00:ec2::254/32", "fd00:ec2::23/32"),
    # Clouds that do not use link-local addresses; the internet namespace routes these here.
    owns=_a("100.100.100.200", "192.0.0.192", "168.63.129.16"),
    via=GATEWAYS,
)
OUTSIDER = Place(name="outsider", addresses=_v("203.0.113.50/24", "2001:db8:113::50/64"), via=GATEWAYS)
NEIGHBOUR = Place(
    name="neighbour",
    addresses=_v("203.0.113.51/24", "2001:db8:113::51/64", "192.168.77.51/24"),
    via=GATEWAYS,
)
# A colleague with a device on the VPN.
VPN = Place(name="vpn", addresses=_v("203.0.113.60/24", "2001:db8:113::60/64"), via=GATEWAYS)
# The log store; only where a tier sends records to one.
SIEM = Place(name="siem", addresses=_v("203.0.113.70/24", "2001:db8:113::70/64"), via=GATEWAYS)
PLACES = (INTERNET, METADATA, OUTSIDER, NEIGHBOUR, VPN)  # those of every lab


@dataclass(frozen=True)
class Scenario:
    """One kind of lab: its name, its host's, the tiers its host goes through in turn, and `places` that others lack."""

    name: str
    host: str
    tiers: tuple[str, ...]
    places: tuple[Place, ...] = ()

    @property
    def log_name(self) -> str:
        """The name in the certificate that the host shows to the log store."""
        return f"{self.host}.example"


SCENARIOS = {
    s.name: s
    for s in (
        Scenario(name="tier1_personal", host="lab-tier1", tiers=("tier1_personal",)),
        Scenario(name="tier2_team", host="lab-tier2", tiers=("tier2_team",), places=(SIEM,)),
        # One machine that is raised in place from tier to tier.
        Scenario(name="climb", host="lab-host", tiers=("tier1_personal", "tier2_team"), places=(SIEM,)),
    )
}

ALLOWED_SITE = _a("198.51.100.10", "2001:db8:51::10")
FORBIDDEN_SITE = _a("198.51.100.20", "2001:db8:51::20")
MAIL_SANDBOX = _a("198.51.100.25", "2001:db8:51::25")
MODEL_API = _a("198.51.100.30", "2001:db8:51::30")
RESOLVERS = _a("198.51.100.53", "2001:db8:51::53")
FOREIGN_RESOLVERS = _a("198.51.100.54", "2001:db8:51::54")
TIME_SERVERS = _a("198.51.100.123", "2001:db8:51::123")
METADATA_ADDRESSES = tuple(i.ip for i in METADATA.addresses[2:]) + METADATA.owns
NEIGHBOUR_ECHO = tuple(i.ip for i in NEIGHBOUR.addresses)

# The browser entry, as peers of the VPN find it.
FRONT_DOOR = "agent.team.example"
VPN_HOST = _a("10.78.0.1", "fd5e:c1a0:78::1")

# The log store's name in its certificate, and the port at which it takes records.
LOG_STORE = "siem.example"
LOG_PORT = 6514

# What the lab's resolver knows. Everything else is NXDOMAIN.
NAMES: dict[str, tuple[Address, ...]] = {
    "allowed.example": ALLOWED_SITE,
    "forbidden.example": FORBIDDEN_SITE,
    "mail.example": MAIL_SANDBOX,
    "api.model.example": MODEL_API,
    "metadata.google.internal": _a("169.254.169.254", "fd00:ec2::254"),
    "instance-data.ec2.internal": _a("169.254.169.254"),
    "dns.example": FOREIGN_RESOLVERS,
    # Names that only look approved: whoever is let through to one of them gets an answer.
    "www.api.model.example": FORBIDDEN_SITE,
    "api.model.example.forbidden.example": FORBIDDEN_SITE,
    "evil-api.model.example": FORBIDDEN_SITE,
    "apixmodel.example": FORBIDDEN_SITE,
    # Names that the site approves and that lead where no agent may go, one a kind of address.
    "rebind4.example": _a("169.254.169.254"),
    "rebind6.example": _a("fd00:ec2::254"),
    "rebind-private.example": _a("192.168.77.51"),
    "rebind-shared.example": _a("100.100.100.200"),
    "rebind-carried.example": _a("64:ff9b::a9fe:a9fe"),
}


def tunnel(state: Path) -> str:
    """The interface of the colleague's device in that folder's lab; wireguard-go's names are the whole machine's."""
    return "wg" + hashlib.sha256(str(state).encode()).hexdigest()[:6]


@dataclass(frozen=True)
class Lab:
    """The names by which one lab is known on this machine; `state` is its folder and makes them unique."""

    scenario: Scenario
    state: Path

    @property
    def id(self) -> str:
        """Six hex digits: short enough for interface names, different for every state folder."""
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:6]

    @property
    def preferred_port(self) -> int:
        """The loopback port tried first for ssh, so that a lab usually keeps its port from one `up` to the next."""
        return 22_000 + int(self.id, 16) % 8_000

    @property
    def lan(self) -> str:
        """The namespace that holds the bridge and the machine's tap."""
        return f"ck-{self.id}-lan"

    def netns(self, place: Place) -> str:
        """The namespace of a place."""
        return f"ck-{self.id}-{place.name}"

    @property
    def places(self) -> tuple[Place, ...]:
        """The places of this lab."""
        return (*PLACES, *self.scenario.places)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace of this lab, the bridge's first."""
        return (self.lan, *(self.netns(p) for p in self.places))
