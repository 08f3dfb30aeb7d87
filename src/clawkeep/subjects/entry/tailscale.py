"""Tailscale's node as it reports itself: what it offers to the tailnet and to the Internet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base.verdict import NotApplicable, Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import boolean, mapping

SERVE_KEYS = {"AllowFunnel", "ETag", "Foreground", "Services", "TCP", "Tun", "Web"}  # ipn.ServeConfig
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
        found = [sentence for config in _configs(self.serve) for sentence in _served(config, services)]
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


def _configs(serve: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What is served in the background, by commands in the foreground, and as services of the tailnet."""
    left = [serve]
    while left:
        config = left.pop()
        yield config
        for key in ("Foreground", "Services"):
            within = mapping(config.get(key) or {}, "what Tailscale serves").values()
            left += [mapping(one, "what Tailscale serves") for one in within]


def _served(config: Mapping[str, Any], services: Collection[int]) -> Iterator[str]:
    unknown = sorted(config.keys() - SERVE_KEYS)
    if unknown:
        raise Unmeasured(f"Tailscale is told to serve by {unknown[0]}, which this Clawkeep does not know")
    for name, on in mapping(config.get("AllowFunnel") or {}, "Tailscale's funnels").items():
        if on:
            yield f"{name} is published to the Internet by a funnel"
    for port, handler in mapping(config.get("TCP") or {}, "Tailscale's ports").items():
        if not str(port).isdecimal() or int(port) not in services:
            yield f"Tailscale serves port {port}, which is not declared"
        target = mapping(handler or {}, "a port of Tailscale's").get("TCPForward")
        if target:
            yield f"Tailscale forwards port {port} straight to {target}, past the front door"
    for name, server in mapping(config.get("Web") or {}, "Tailscale's sites").items():
        handlers = mapping(mapping(server, "a site of Tailscale's").get("Handlers") or {}, "its handlers")
        for mount, handler in handlers.items():
            one = mapping(handler, "a handler of Tailscale's")
            if one.get("Proxy") and _port(str(one["Proxy"])) not in services:
                yield f"Tailscale serves {name}{mount} from {one['Proxy']}, past the front door"
            if one.get("Path"):
                yield f"Tailscale shares the files of {one['Path']} as {name}{mount}"
    if config.get("Tun"):
        yield "a service of the tailnet takes whole packets to this host"


def _port(target: str) -> int | None:
    """The TCP port of a proxy's target: a port, a host and port, or a URL; None where it names none."""
    scheme, _, rest = target.rpartition("://")
    number = rest.partition("/")[0].rpartition(":")[2]
    if number.isdecimal():
        return int(number)
    return {"http": 80, "https": 443, "https+insecure": 443}.get(scheme)
