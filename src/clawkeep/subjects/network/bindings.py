"""Published container ports as each of the engine's own views writes them, read by one parser.

Cutting such text at a colon is where other checkers fail open: `[::]:3000` becomes `[`, which no list of bad addresses
holds. Here the address is parsed as an address, or the reading fails.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clawkeep.subjects.network.listeners import is_loopback, joined

CONFIGURED = "HostConfig.PortBindings"
LIVE = "NetworkSettings.Ports"
SHOWN = "docker ps"


@dataclass(frozen=True)
class Binding:
    """One published port: `address` is empty when the view names none, `port` None when the engine shall choose."""

    container: str
    inner: int  # the port in the container
    proto: str
    address: str
    port: int | None
    view: str

    @property
    def loopback(self) -> bool:
        """Whether it binds a loopback address; a binding without an address leaves that to the daemon's default."""
        return is_loopback(self.address)

    @property
    def where(self) -> str:
        """What a person would call the place: `[::]:3000`, or in words when parts are left open."""
        port = "a port of the engine's choice" if self.port is None else str(self.port)
        if not self.address:
            return f"port {port} without a host address" if self.port is not None else f"{port}, on no named address"
        return joined(self.address, self.port) if self.port is not None else f"{self.address}, {port}"


def of_inspect(container: Mapping[str, Any]) -> list[Binding]:
    """The bindings of one `docker inspect` object: what is configured, and what is live while it runs."""
    name = str(container.get("Name") or "").lstrip("/")
    found = list(_table(name, (container.get("HostConfig") or {}).get("PortBindings"), CONFIGURED))
    if (container.get("State") or {}).get("Running"):
        found += _table(name, (container.get("NetworkSettings") or {}).get("Ports"), LIVE)
    return found


def _table(container: str, table: Mapping[str, Any] | None, view: str) -> Iterator[Binding]:
    for key, ends in (table or {}).items():
        inner, _, proto = key.partition("/")
        for end in ends or ():
            address = str(end.get("HostIp") or "").strip("[]")
            ports = _ports(str(end.get("HostPort") or ""))
            port = ports[0] if len(ports) == 1 else None  # of a configured range the engine chooses one
            yield Binding(container, int(inner), proto or "tcp", address, port, view)


def _ports(text: str) -> list[int | None]:
    """The ports of `3000`, `3000-3002`, or of nothing and 0, by which the engine chooses."""
    low, dash, high = text.partition("-")
    if text in ("", "0"):
        return [None]
    return list(range(int(low), int(high) + 1)) if dash else [int(low)]


def of_listing(rows: Iterable[Mapping[str, Any]]) -> list[Binding]:
    """The bindings in the engine's listing of running containers: rows of `name` and `ports`, as its API has them.

    Raises ValueError for a port that cannot be read.
    """
    return [
        Binding(str(row["name"]), int(port["PrivatePort"]), str(port["Type"]), _address(port.get("IP")), outer, SHOWN)
        for row in rows
        for port in row["ports"]
        if (outer := int(port.get("PublicPort") or 0))  # exposed ports have none
    ]


def _address(value: object) -> str:
    """The address in a row of the listing; empty where it has none."""
    return str(ipaddress.ip_address(str(value))) if value else ""
