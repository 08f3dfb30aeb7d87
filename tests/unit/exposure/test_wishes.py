"""What the collector's connects are aimed at: the host and the agents try the same, each under its own name."""

from __future__ import annotations

from typing import Any

from clawkeep.collector.experiments import egress
from clawkeep.collector.experiments.connects import Connect
from clawkeep.collector.recorder import Recorder

HOST = [
    {"interface": "eth0", "address": "203.0.113.10", "link_local": False},
    {"interface": "br0", "address": "172.30.0.1", "link_local": False},
    {"interface": "br0", "address": "fe80::1", "link_local": True},
    {"interface": "eth0", "address": "fe80::2", "link_local": True},
]
LISTENING = {"": [3000], "silent": [], "database": [5432, 5433]}


def container(name: str, *addresses: str) -> dict[str, Any]:
    ends = [{"network": "n", "address": address, "gateway": "172.30.0.1"} for address in addresses]
    return {"id": name, "name": name, "interfaces": ["eth0"], "addresses": ends}


AGENT = container("openclaw", "172.30.0.2")
RUNNING = [AGENT, container("silent", "172.30.0.3"), container("database", "172.30.0.4", "fd00::4"), container("none")]
OTHERS = [
    ("silent", "172.30.0.3:80"),
    *(("database", f"{address}:{port}") for address in ("172.30.0.4", "[fd00::4]") for port in (5432, 5433)),
]


def told(wishes: list[Connect], *groups: str) -> list[tuple[str, str]]:
    return [(wish.label or wish.group, wish.target) for wish in wishes if wish.group in groups]


def test_the_host_tries_every_container_and_itself() -> None:
    wishes = egress._host_wishes(Recorder(), HOST, RUNNING, LISTENING)
    assert told(wishes, "container") == [("openclaw", "172.30.0.2:80"), *OTHERS]
    own = [f"{address}:{port}" for address in ("203.0.113.10", "172.30.0.1") for port in (22, 3000)]
    assert told(wishes, "host") == [("host", target) for target in own]


def test_an_agent_tries_every_container_but_itself_and_knows_its_gateway() -> None:
    wishes = egress._agent_wishes(Recorder(), AGENT, RUNNING, HOST, LISTENING, {})
    assert told(wishes, "sibling") == OTHERS
    assert told(wishes, "host") == [("host", "203.0.113.10:22"), ("host", "203.0.113.10:3000")]
    gateways = ("172.30.0.1", "[fe80::1%eth0]")
    assert told(wishes, "gateway") == [("gateway", f"{one}:{port}") for one in gateways for port in (22, 3000)]


def test_a_host_of_many_addresses_is_tried_in_part() -> None:
    many = [{"interface": "eth0", "address": f"10.0.0.{n}", "link_local": False} for n in range(100)]
    assert len(told(egress._host_wishes(Recorder(), many, [], {}), "host")) == egress.MOST_HOST_TARGETS
    assert len(told(egress._agent_wishes(Recorder(), AGENT, [], many, {}, {}), "host")) == egress.MOST_HOST_TARGETS
