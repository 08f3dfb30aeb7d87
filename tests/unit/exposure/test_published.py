"""Published ports in all the ways in which the engine writes them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.exposure import worlds

from clawkeep.base.verdict import Unmeasured
from clawkeep.subjects.network.bindings import of_inspect, of_listing
from clawkeep.subjects.network.published import Published


def listed(address: str, port: int = 3000) -> dict[str, Any]:
    return {"IP": address, "PrivatePort": port, "PublicPort": port, "Type": "tcp"}


def published(
    *containers: dict[str, Any], ps: tuple[dict[str, Any], ...] = (), nat: tuple[str, ...] = (), **more: Any
) -> Published:
    own = worlds.inside()
    commands = own["commands"]
    commands["docker-containers"]["json"] += containers
    commands["docker-ps"]["json"] += ps
    commands["iptables-save"]["lines"][-1:-1] = nat
    commands["ss"]["lines"] += more.get("ss", ())
    own["facts"]["listener-owners"].update(more.get("owners", {}))
    return Published.read(worlds.host(own))


def sidecar(configured: dict[str, Any], live: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    return worlds.container(
        "web",
        worlds.SIDECAR_ID,
        HostConfig={"NetworkMode": "bridge", "PortBindings": configured, "PublishAllPorts": False, **settings},
        NetworkSettings={"Ports": live or {}},
    )


def bind(address: str, port: str = "3000") -> list[dict[str, str]]:
    return [{"HostIp": address, "HostPort": port}]


def test_the_good_world_is_good() -> None:
    good = published()
    assert good.beyond_loopback() == good.disagreements() == []


@pytest.mark.parametrize("address", [worlds.ANY4, "::", "[::]", "", "203.0.113.10"])
def test_a_publish_beyond_loopback_is_told(address: str) -> None:
    """`[::]` alone passes docker-bench-security's 5.14 and openclaw-secure-kit's parsePortBinding."""
    assert len(published(sidecar({"3000/tcp": bind(address)})).beyond_loopback()) == 1


def test_loopback_on_one_family_does_not_excuse_the_other() -> None:
    found = published(sidecar({"3000/tcp": bind("127.0.0.1") + bind("::")})).beyond_loopback()
    assert found == ["container web publishes 3000/tcp on [::]:3000 (HostConfig.PortBindings)"]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.5.5.5", "::1", "[::1]"])
def test_every_loopback_address_is_one(address: str) -> None:
    assert published(sidecar({"3000/tcp": bind(address)})).beyond_loopback() == []


def test_a_stopped_container_would_publish_again() -> None:
    stopped = sidecar({"3000/tcp": bind(worlds.ANY4)})
    stopped["State"] = {"Running": False, "Pid": 0}
    assert len(published(stopped).beyond_loopback()) == 1


def test_publish_all_is_told_even_where_nothing_is_exposed() -> None:
    assert published(sidecar({}, PublishAllPorts=True)).beyond_loopback() == [
        "container web publishes every port it exposes (-P)"
    ]


@pytest.mark.parametrize(
    ("ports", "places"),
    [
        ([listed(worlds.ANY4), listed(worlds.ANY6)], {(worlds.ANY4, 3000), (worlds.ANY6, 3000)}),
        ([listed("127.0.0.1", port) for port in (3000, 3001)], {("127.0.0.1", 3000), ("127.0.0.1", 3001)}),
        ([{"PrivatePort": 9229, "Type": "tcp"}], set()),
        ([], set()),
    ],
)
def test_the_engines_listing_is_read(ports: list[dict[str, Any]], places: set[tuple[str, int]]) -> None:
    found = of_listing([{"name": "web", "ports": ports}])
    assert {(binding.address, binding.port) for binding in found} == places


def test_the_listing_keeps_the_inner_port() -> None:
    (found,) = of_listing([{"name": "web", "ports": [{**listed("127.0.0.1"), "PrivatePort": 4000, "Type": "udp"}]}])
    assert (found.port, found.inner, found.proto) == (3000, 4000, "udp")


def test_a_listing_that_cannot_be_read_is_unmeasured() -> None:
    with pytest.raises(Unmeasured, match="in a form that is not known"):
        published(ps=({"name": "web", "ports": [listed("everywhere")]},))


def test_an_open_port_of_the_engines_choice_has_no_number() -> None:
    (binding,) = of_inspect({"Name": "/web", "HostConfig": {"PortBindings": {"3000/tcp": bind("", "")}}})
    assert (binding.address, binding.port, binding.loopback) == ("", None, False)


def test_a_wildcard_in_the_translation_rules_alone_is_told() -> None:
    rule = "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 3000 -j DNAT --to-destination 172.17.0.2:3000"
    found = published(nat=(rule,))
    (open_,) = found.beyond_loopback()
    assert "port 3000/tcp to 172.17.0.2" in open_
    (odd,) = found.disagreements()
    assert "no running container publishes it" in odd


def test_a_proxy_on_the_wildcard_is_told() -> None:
    found = published(ss=('tcp LISTEN 0 5 [::]:3000 [::]:* users:(("docker-proxy",pid=5,fd=4))',))
    assert found.beyond_loopback() == ["the engine's proxy listens on [::]:3000/tcp"]
    assert len(found.disagreements()) == 1


def test_views_of_the_engine_that_differ_are_told() -> None:
    hidden = sidecar({"3000/tcp": bind("127.0.0.1")}, {"3000/tcp": bind("127.0.0.1")})
    sentences = published(hidden).disagreements()
    assert len(sentences) == 2
    assert "docker ps has not" in sentences[0]
    assert "neither a NAT rule nor the engine's proxy serves it" in sentences[1]


def test_a_container_in_the_hosts_network_publishes_what_it_listens_on() -> None:
    shared = sidecar({}, NetworkMode="host")
    line = 'tcp LISTEN 0 5 *:3000 *:* users:(("node",pid=77,fd=4))'
    owners = {"77": f"/system.slice/docker-{worlds.SIDECAR_ID}.scope"}
    assert published(shared, ss=(line,), owners=owners).beyond_loopback() == [
        "container web shares the host's network and listens on [::]:3000/tcp"
    ]
    assert published(shared, ss=(line,)).beyond_loopback() == []


def test_no_container_at_all_is_unmeasured() -> None:
    own = worlds.inside()
    own["commands"]["docker-containers"]["json"] = []
    with pytest.raises(Unmeasured, match="no container at all"):
        Published.read(worlds.host(own))
