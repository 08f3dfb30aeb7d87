"""A made-up host with one agent container, as the collector and the probes would record it, and ways to change it."""

from __future__ import annotations

import copy
from typing import Any

from clawkeep.evidence.document import HostEvidence

GATEWAY_ID = "a" * 64
SIDECAR_ID = "b" * 64
ANY4, ANY6 = "0.0.0.0", "::"  # noqa: S104 - the addresses that tests are about


def command(argv: str, **output: Any) -> dict[str, Any]:
    """A recorded command that ended well, with `lines=` or `json=`."""
    return {"argv": argv.split(), "status": 0, **output}


def counters(**packets: int) -> dict[str, Any]:
    """What `nft -j list counters` prints."""
    items = [{"counter": {"family": "inet", "table": "clawkeep", "name": n, "packets": p}} for n, p in packets.items()]
    return {"nftables": [{"metainfo": {}}, *items]}


def probe(group: str, target: str, outcome: str, **more: Any) -> dict[str, Any]:
    """One connect of the collector."""
    family = "ipv6" if target.startswith("[") else "ipv4"
    sent = 0 if outcome == "noroute" else 2 if outcome == "timeout" else 1
    return {
        "group": group,
        "target": target,
        "family": family,
        "proto": "tcp",
        "outcome": outcome,
        "sent": sent,
        **more,
    }


def container(name: str = "openclaw", identity: str = GATEWAY_ID, **changes: Any) -> dict[str, Any]:
    """What `docker inspect` shows of a running container that publishes the gateway on loopback."""
    binding = {"18789/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18789"}]}
    shown: dict[str, Any] = {
        "Id": identity,
        "Name": f"/{name}",
        "State": {"Running": True, "Pid": 900},
        "Config": {"Labels": {"clawkeep.role": "agent"}},
        "HostConfig": {"NetworkMode": "openclaw_default", "PortBindings": binding, "PublishAllPorts": False},
        "NetworkSettings": {"Ports": copy.deepcopy(binding)},
    }
    shown.update(changes)
    return shown


NAT = """\
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -d 127.0.0.1/32 ! -i clawkeep0 -p tcp -m tcp --dport 18789 -j DNAT --to-destination 172.30.0.2:18789
COMMIT
"""


LISTED = {
    "name": "openclaw",
    "ports": [{"IP": "127.0.0.1", "PrivatePort": 18789, "PublicPort": 18789, "Type": "tcp"}],
}


def inside() -> dict[str, Any]:
    """The host's own document: a gateway on loopback, ssh, and an agent whose every forbidden connect is dropped."""
    forbidden = [
        probe("metadata", "169.254.169.254:80", "timeout", request="GET / HTTP/1.0"),
        probe("metadata", "169.254.169.254:80", "timeout", request="PUT /latest/api/token HTTP/1.0"),
        probe("metadata", "169.254.170.2:80", "timeout"),
        probe("metadata", "[fd00:ec2::254]:80", "noroute"),
        probe("spelling", "0xa9fea9fe:80", "timeout"),
        probe("private", "192.168.77.51:80", "timeout"),
        probe("range", "100.77.213.9:9", "timeout"),
        probe("host", "203.0.113.10:22", "timeout"),
        probe("gateway", "172.30.0.1:22", "timeout"),
    ]
    agent = {
        "name": "openclaw",
        "id": GATEWAY_ID,
        "pid": 900,
        "image": "clawkeep/openclaw",
        "agent": True,
        "host_network": False,
        "addresses": [{"network": "openclaw_default", "address": "172.30.0.2", "gateway": "172.30.0.1"}],
        "probes": [probe("public", "198.51.100.10:80", "open"), *forbidden],
    }
    host = [
        probe("healthz", "127.0.0.1:18789", "open", detail="HTTP 200"),
        probe("public", "198.51.100.10:80", "open"),
        probe("private", "192.168.77.51:80", "open"),
        probe("host", "203.0.113.10:22", "open"),
        probe("host", "172.30.0.1:22", "open"),
        probe("container", "172.30.0.2:18789", "open"),
    ]
    links = [
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}, {"local": "::1", "prefixlen": 128}]},
        {
            "ifname": "lab0",
            "addr_info": [{"local": "203.0.113.10", "prefixlen": 24}, {"local": "192.168.77.10", "prefixlen": 24}],
        },
        {"ifname": "clawkeep0", "addr_info": [{"local": "172.30.0.1", "prefixlen": 24}]},
    ]
    sockets = [
        'tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=600,fd=6))',
        'tcp LISTEN 0 4096 127.0.0.1:18789 0.0.0.0:* users:(("docker-proxy",pid=800,fd=4))',
    ]
    return {
        "schema": 1,
        "commands": {
            "ss": command("ss -Hltnup", lines=sockets),
            "ss@openclaw": command(
                "nsenter ss",
                lines=['tcp LISTEN 0 511 0.0.0.0:18789 0.0.0.0:* users:(("openclaw-gatewa",pid=900,fd=23))'],
            ),
            "ip-addr": command("ip -j -d addr", json=links),
            "ip-route": command("ip route", json=[]),
            "ip-route6": command("ip route", json=[]),
            "docker-containers": command("docker inspect", json=[container()]),
            "docker-networks": command("docker network inspect", json=[]),
            "docker-ps": command("docker ps", json=[LISTED]),
            "nft-ruleset": command("nft -j list ruleset", json={"nftables": []}),
            "iptables-save": command("iptables-save", lines=NAT.splitlines()),
            "ip6tables-save": command("ip6tables-save", lines=[]),
            "reach-counters-before": command(
                "nft", json=counters(metadata_forward_drop=5, private_forward_drop=5, input_drop=100, guard_drop=0)
            ),
            "reach-counters-after": command(
                "nft", json=counters(metadata_forward_drop=13, private_forward_drop=9, input_drop=110, guard_drop=0)
            ),
        },
        "facts": {
            "reach": {"host": host, "containers": [agent]},
            "listener-owners": {"600": "/system.slice/ssh.service"},
        },
        "problems": {},
    }


def outside() -> dict[str, Any]:
    """An outsider's document: nothing open, every probe counted by the host."""
    silent = {"probed": None, "tries": 2, "states": {"filtered": 65535}, "ports": {}}
    udp = {"probed": [53], "tries": 3, "states": {"open|filtered": 1}, "ports": {"53": "open|filtered"}}
    return {
        "schema": 1,
        "commands": {},
        "facts": {
            "targets": [{"address": "203.0.113.10", "family": "ipv4", "source": "203.0.113.50"}],
            "not-scanned": {},
            "tcp": {"203.0.113.10": silent},
            "udp": {"203.0.113.10": udp},
            "control": {"ipv4": {"target": "198.51.100.10:80", "state": "open"}},
            "healthz": {},
            "counters": {"before": counters(input_drop=110), "after": counters(input_drop=110 + 131_090)},
        },
        "problems": {},
    }


def neighbour() -> dict[str, Any]:
    """A neighbour's document: every hand-made packet dropped and counted."""
    document = outside()
    guard = [3000, 18789]
    frames = [
        {"target": "127.0.0.1", "port": 18789, "kind": "loopback", "name": "openclaw", "sent": 2, "outcome": "silent"},
        {"target": "::1", "port": 18789, "kind": "loopback", "name": "openclaw", "sent": 2, "outcome": "silent"},
        {
            "target": "172.30.0.2",
            "port": 18789,
            "kind": "container",
            "name": "openclaw",
            "sent": 2,
            "outcome": "silent",
        },
    ]
    document["facts"].update(
        tcp={"203.0.113.10": {"probed": guard, "tries": 2, "states": {"filtered": 2}, "ports": {"3000": "filtered"}}},
        udp={},
        frames=frames,
        instrument={"ipv4": {"target": "198.51.100.10:80", "outcome": "answered"}},
        counters={"before": counters(input_drop=0, guard_drop=0), "after": counters(input_drop=131_090, guard_drop=4)},
    )
    return document


def host(own: dict[str, Any] | None = None, **vantages: dict[str, Any]) -> HostEvidence:
    """The evidence of a host with this inside document and these vantages'."""
    return HostEvidence("alpha", {"schema": 1, "host": "alpha", "inside": own or inside(), "vantages": vantages})
