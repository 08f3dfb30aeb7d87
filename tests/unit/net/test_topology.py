"""Interfaces, Docker bridges and whose they are."""

from __future__ import annotations

from typing import Any

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.network.topology import Topology

PROJECT = {"com.docker.compose.project": "openclaw"}


def network(
    name: str, subnet: str, *, labels: dict[str, str] | None = None, bridge: str | None = None
) -> dict[str, Any]:
    return {
        "Name": name,
        "Id": f"{name}0123456789abcdef",
        "Driver": "bridge",
        "Options": {"com.docker.network.bridge.name": bridge} if bridge else {},
        "Labels": labels or {},
        "IPAM": {"Config": [{"Subnet": subnet}]},
        "Containers": {},
    }


def container(*networks: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "Name": f"/on-{networks[0]}",
        "Config": {"Labels": {"clawkeep.role": "agent", **(PROJECT if labels is None else labels)}},
        "NetworkSettings": {"Networks": dict.fromkeys(networks)},
    }


NETWORKS = [
    network("bridge", "172.17.0.0/16", bridge="docker0"),
    network("openclaw_default", "172.30.0.0/24", labels=PROJECT, bridge="clawkeep0"),
    network("reports", "172.31.0.0/24"),
    {"Name": "host", "Id": "1", "Driver": "host"},
]


def read(containers: list[dict[str, Any]], networks: list[dict[str, Any]] | None = None) -> Topology:
    address = {"local": "203.0.113.10", "prefixlen": 24}
    interfaces = [
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]},
        {"ifname": "eth0", "addr_info": [address, {"local": "2001:db8::10", "prefixlen": 64}]},
        {"ifname": "wg0", "linkinfo": {"info_kind": "wireguard"}, "addr_info": []},
        {"ifname": "veth1", "master": "clawkeep0", "linkinfo": {"info_kind": "veth"}, "addr_info": []},
    ]
    commands = {
        "ip-addr": interfaces,
        "docker-networks": NETWORKS if networks is None else networks,
        "docker-containers": containers,
    }
    records = {key: {"argv": [key], "status": 0, "json": value} for key, value in commands.items()}
    return Topology.read(HostEvidence("alpha", {"schema": 1, "inside": {"schema": 1, "commands": records}}))


def test_packets_enter_by_what_is_no_loopback_and_no_port_of_a_bridge() -> None:
    assert read([]).doors == ("eth0", "wg0")


def test_the_host_s_addresses_are_those_that_others_can_use() -> None:
    assert {str(address) for address in read([]).addresses} == {"203.0.113.10", "2001:db8::10"}


@pytest.mark.parametrize(
    ("containers", "agents"),
    [
        ([container("openclaw_default")], ["clawkeep0"]),
        ([container("openclaw_default", "reports")], ["clawkeep0"]),
        ([container("reports", labels={})], ["br-reports01234"]),
        ([container("bridge", labels={}), container("openclaw_default")], ["clawkeep0"]),
    ],
)
def test_the_agents_networks_are_those_of_their_project(containers: list[dict[str, Any]], agents: list[str]) -> None:
    assert [bridge.interface for bridge in read(containers).agent_bridges] == agents


def test_a_host_without_containers_proves_nothing_of_them() -> None:
    with pytest.raises(Unmeasured, match="no container"):
        _ = read([]).agent_bridges
