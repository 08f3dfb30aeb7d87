"""Tailscale's node as it reports itself: what it offers to the tailnet and to the Internet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.untrusted import boolean, mapping
from clawkeep.verdict import NotApplicable, Unmeasured

NEVER = "0001-01-01T00:00:00Z"  # Go's zero time


@dataclass(frozen=True)
class Tailscale:
    """Chosen fields of `tailscale status`, `debug prefs` and `serve status`."""

    state: str
    node: Mapping[str, Any]
    capabilities: tuple[str, ...]
    preferences: Mapping[str, Any]
    serve: Mapping[str, Any]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `NotApplicable` without Tailscale, `Unmeasured` when it does not answer."""
        seen = mapping(host.inside.fact("tailscale"), "whether Tailscale is here")
        present, running = (boolean(seen.get(key), "whether Tailscale is here") for key in ("present", "running"))
        if not present and not running:
            raise NotApplicable("Tailscale is not on this host")
        if not present:
            raise Unmeasured("tailscaled runs and its command is not there to be asked")
        status = mapping(host.inside.json("tailscale-status"), "Tailscale's status")
        serve = host.inside.json("tailscale-serve")
        return cls(
            str(status.get("BackendState")),
            mapping(status.get("Self"), "Tailscale's node"),
            tuple(str(name) for name in status.get("CapMap") or ()),
            mapping(host.inside.json("tailscale-prefs"), "Tailscale's preferences"),
            mapping(serve if serve is not None else {}, "what Tailscale serves"),
        )

    def offers(self, services: Collection[int]) -> list[str]:
        """Sentences about everything it offers but `services`, the TCP ports that are declared."""
        found = [
            f"{name} is published to the Internet by a funnel"
            for name, on in (self.serve.get("AllowFunnel") or {}).items()
            if on
        ]
        for port, handler in (self.serve.get("TCP") or {}).items():
            if not str(port).isdecimal() or int(port) not in services:
                found.append(f"Tailscale serves port {port}, which is not declared")
            target = (handler or {}).get("TCPForward") if isinstance(handler, Mapping) else None
            if target:
                found.append(f"Tailscale forwards port {port} straight to {target}, past the front door")
        routes = [*(self.preferences.get("AdvertiseRoutes") or ()), *(self.node.get("PrimaryRoutes") or ())]
        found += [f"the node offers the route {route}" for route in dict.fromkeys(map(str, routes))]
        if boolean(self.preferences.get("RunSSH"), "whether Tailscale's own ssh is on"):
            found.append("Tailscale's own ssh is on, past sshd and its rules")
        if self.preferences.get("ExitNodeID") or self.preferences.get("ExitNodeIP"):
            found.append("the node sends its traffic through an exit node")
        if self.node.get("ExitNodeOption"):
            found.append("the node is an exit node")
        return found

    def lasting_keys(self) -> list[str]:
        """A sentence when the node's key never expires."""
        return ["the node's key never expires"] if self.node.get("KeyExpiry") in (None, "", NEVER) else []
