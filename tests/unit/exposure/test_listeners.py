"""Sockets as `ss` prints them. The wildcard cases are those that well-known checks get wrong."""

from __future__ import annotations

import pytest
from tests.unit.exposure import worlds

from clawkeep.base.verdict import Unmeasured
from clawkeep.subjects.network.listeners import Listeners, is_loopback, parse, split_endpoint

PORTS = {3000, 18789}


def sockets(*lines: str) -> Listeners:
    own = worlds.inside()
    own["commands"]["ss"]["lines"] += lines
    return Listeners.read(worlds.host(own))


@pytest.mark.parametrize(
    ("text", "address", "zone"),
    [
        ("127.0.0.1:80", "127.0.0.1", ""),
        ("0.0.0.0:80", worlds.ANY4, ""),
        ("[::]:80", worlds.ANY6, ""),
        (":::80", worlds.ANY6, ""),
        ("*:80", worlds.ANY6, ""),
        ("[::1]:80", "::1", ""),
        ("127.0.0.53%lo:80", "127.0.0.53", "lo"),
        ("[fe80::1]%eth0:80", "fe80::1", "eth0"),
        ("[fe80::1%eth0]:80", "fe80::1", "eth0"),
        ("[::ffff:127.0.0.1]:80", "::ffff:7f00:1", ""),
    ],
)
def test_an_endpoint_is_an_address_a_zone_and_a_port(text: str, address: str, zone: str) -> None:
    assert split_endpoint(text) == (address, zone, "80")


@pytest.mark.parametrize("text", ["80", "[:80", "localhost:80", "1.2.3:80"])
def test_what_is_no_address_is_refused_rather_than_cut(text: str) -> None:
    with pytest.raises(ValueError):
        split_endpoint(text)


@pytest.mark.parametrize(
    ("address", "loopback"), [("", False), (worlds.ANY4, False), (worlds.ANY6, False), ("127.9.9.9", True)]
)
def test_a_wildcard_is_never_loopback(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


def test_owners_are_read_with_their_pids_and_groups() -> None:
    line = 'udp UNCONN 0 0 127.0.0.1:323 0.0.0.0:* users:(("a \\"b",pid=7,fd=5),("chronyd",pid=8,fd=5))'
    (socket,) = parse([line], cgroups={"8": "/system.slice/chrony.service"})
    assert [(owner.name, owner.pid) for owner in socket.owners] == [('a \\"b', 7), ("chronyd", 8)]
    assert socket.owners[1].cgroup == "/system.slice/chrony.service"
    assert socket.loopback


def test_a_line_that_is_no_socket_makes_the_whole_list_unmeasured() -> None:
    with pytest.raises(Unmeasured, match="not a socket"):
        sockets("Cannot open netlink socket: Operation not permitted")


def test_a_host_without_any_socket_is_not_believed() -> None:
    own = worlds.inside()
    own["commands"]["ss"]["lines"] = []
    with pytest.raises(Unmeasured, match="not even sshd"):
        Listeners.read(worlds.host(own))


def test_the_good_world_is_good() -> None:
    listeners = sockets()
    assert listeners.exposed(PORTS) == listeners.relays(PORTS) == listeners.misowned_gateways(18789) == []


@pytest.mark.parametrize("address", [worlds.ANY4, "[::]", "*", "203.0.113.10", "[fe80::1]%lab0"])
def test_a_guarded_port_beyond_loopback_is_told(address: str) -> None:
    """An IPv4-only wildcard counts, and a wildcard does not pass for loopback: both escape testinfra 10.2.2."""
    listeners = sockets(f'tcp LISTEN 0 5 {address}:3000 *:* users:(("node",pid=9,fd=3))')
    assert len(listeners.exposed(PORTS)) == 1


def test_the_agents_bridge_is_private_ground() -> None:
    assert (
        sockets('tcp LISTEN 0 5 172.30.0.1:3000 0.0.0.0:* users:(("openclaw-gatewa",pid=9,fd=3))').exposed(PORTS) == []
    )


def test_the_gateway_counts_on_whatever_port_it_listens() -> None:
    listeners = sockets('tcp LISTEN 0 5 0.0.0.0:4444 0.0.0.0:* users:(("openclaw-gatewa",pid=9,fd=3))')
    assert ["0.0.0.0:4444/tcp" in sentence for sentence in listeners.exposed(PORTS)] == [True]


def test_a_relay_is_told_even_on_loopback() -> None:
    listeners = sockets('tcp LISTEN 0 5 [::1]:18789 [::]:* users:(("socat",pid=9,fd=5))')
    assert listeners.exposed(PORTS) == []
    assert len(listeners.relays(PORTS)) == 1


def test_a_known_relay_counts_on_any_port_but_not_on_loopback() -> None:
    assert len(sockets('tcp LISTEN 0 5 *:8443 *:* users:(("socat",pid=9,fd=5))').relays(PORTS)) == 1
    assert sockets('tcp LISTEN 0 5 127.0.0.1:8443 0.0.0.0:* users:(("socat",pid=9,fd=5))').relays(PORTS) == []


def test_somebody_else_on_the_gateways_port_is_told() -> None:
    own = worlds.inside()
    own["commands"]["ss@openclaw"]["lines"] = ['tcp LISTEN 0 5 0.0.0.0:18789 0.0.0.0:* users:(("node",pid=9,fd=3))']
    assert len(Listeners.read(worlds.host(own)).misowned_gateways(18789)) == 1


def test_no_gateway_anywhere_is_unmeasured() -> None:
    own = worlds.inside()
    own["commands"]["ss@openclaw"]["lines"] = []
    with pytest.raises(Unmeasured, match="no gateway listens"):
        Listeners.read(worlds.host(own)).misowned_gateways(18789)
