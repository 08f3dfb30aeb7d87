"""Published ports: the engine's settings, its live state, its listing, the NAT tables and its proxies, compared."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.inspected import Inspected
from clawkeep.subjects.network.bindings import LIVE, SHOWN, Binding, of_inspect, of_listing
from clawkeep.subjects.network.iptables import Dnat, published
from clawkeep.subjects.network.listeners import ENGINE_PROXY, Listener, Listeners, is_loopback, joined


@dataclass(frozen=True)
class Published:
    """Every view of what the containers publish.

    `shared` holds the host's sockets that belong to containers without a network namespace of their own.
    """

    bindings: tuple[Binding, ...]
    nat: tuple[Dnat, ...]
    proxies: tuple[Listener, ...]
    publish_all: tuple[str, ...]
    shared: tuple[tuple[str, Listener], ...]
    containers: tuple[str, ...]

    @classmethod
    def read(cls, host: HostEvidence) -> Published:
        """From `docker inspect` of every container, stopped ones too, `docker ps`, both NAT tables and `ss`."""
        inspected = host.subject(Inspected).containers
        if not inspected:
            raise Unmeasured("there is no container at all, so there is no publish to judge")
        try:
            listed = of_listing(host.inside.json("docker-ps"))
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise Unmeasured(f"the engine lists a port in a form that is not known: {problem}") from problem
        sockets = host.subject(Listeners).host
        return cls(
            bindings=tuple(binding for one in inspected for binding in of_inspect(one)) + tuple(listed),
            nat=tuple(published(host)),
            proxies=tuple(one for one in sockets if any(owner.name == ENGINE_PROXY for owner in one.owners)),
            publish_all=tuple(_name(one) for one in inspected if (one.get("HostConfig") or {}).get("PublishAllPorts")),
            shared=tuple(
                (_name(one), socket)
                for one in inspected
                if (one.get("HostConfig") or {}).get("NetworkMode") == "host"
                for socket in sockets
                if any(str(one.get("Id")) in owner.cgroup for owner in socket.owners)
            ),
            containers=tuple(_name(one) for one in inspected),
        )

    def beyond_loopback(self) -> list[str]:
        """Each publish, in whichever view, that does not bind a loopback address."""
        found = [
            f"container {one.container} publishes {one.inner}/{one.proto} on {one.where} ({one.view})"
            for one in self.bindings
            if not one.loopback
        ]
        found += [f"container {name} publishes every port it exposes (-P)" for name in self.publish_all]
        found += [
            f"{one.source} hands {one.listen or 'every address'} port {one.port}/{one.protocol} to {one.to_address}"
            for one in self.nat
            if not _only_loopback(one.listen)
        ]
        found += [f"the engine's proxy listens on {one.where}" for one in self.proxies if not one.loopback]
        found += [
            f"container {name} shares the host's network and listens on {one.where}"
            for name, one in self.shared
            if not one.loopback
        ]
        return found

    def disagreements(self) -> list[str]:
        """Where two views of the running containers' ports differ: then one of them is wrong."""
        live, shown = self._places(LIVE), self._places(SHOWN)
        found = [f"docker inspect has {_place(one)} and docker ps has not" for one in sorted(live - shown)]
        found += [f"docker ps has {_place(one)} and docker inspect has not" for one in sorted(shown - live)]
        served = {(_taken(one), one.port, one.protocol) for one in self.nat}
        served |= {(one.address, one.port, one.proto) for one in self.proxies}
        known = {(address, port, proto) for _, address, port, proto in live}
        found += [
            f"{_place(one)} is published, yet neither a NAT rule nor the engine's proxy serves it"
            for one in sorted(live)
            if one[1:] not in served
        ]
        found += [
            f"the kernel serves {joined(address, port)}/{proto} to containers, yet no running container publishes it"
            for address, port, proto in sorted(served - known)
        ]
        return found

    def _places(self, view: str) -> set[tuple[str, str, int, str]]:
        return {
            (one.container, one.address, one.port, one.proto)
            for one in self.bindings
            if one.view == view and one.port is not None
        }


def _name(container: Mapping[str, Any]) -> str:
    return str(container.get("Name") or "").lstrip("/")


def _taken(rule: Dnat) -> str:
    """The address a NAT rule takes; one that names none takes every address of its family."""
    return rule.listen or ("::" if "ip6" in rule.family or ":" in rule.to_address else "0.0.0.0")  # noqa: S104


def _only_loopback(listen: str | None) -> bool:
    network = ipaddress.ip_network(listen, strict=False) if listen else None
    return network is not None and is_loopback(str(network[0])) and is_loopback(str(network[-1]))


def _place(place: tuple[str, str, int, str]) -> str:
    container, address, port, proto = place
    return f"{joined(address, port)}/{proto} of container {container}"
