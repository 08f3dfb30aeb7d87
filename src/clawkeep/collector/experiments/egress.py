"""Who listens on this host, and what its agent containers can reach. Standard library only.

Every running container's listeners are read in its own network namespace; every agent container's probes are made
there. The host makes the same connects where a blocked one needs its control experiment, and the firewall's named
counters are read immediately before and after.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import re
import socket
import threading
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from clawkeep.collector import api, docker, namespaces, proc
from clawkeep.collector.experiments import bypass, names
from clawkeep.collector.experiments.bypass_cases import listed
from clawkeep.collector.experiments.connects import Connect, connect_all
from clawkeep.collector.recorder import Recorder
from clawkeep_host.addresses import METADATA, PLATFORM, PROXY_PORT
from clawkeep_host.agents import name_of

COUNTERS = ("nft", "-j", "list", "counters", "table", "inet", "clawkeep")
SOCKETS = ("ss", "-Hltnup")

ENDPOINTS = (*METADATA, *PLATFORM)
SPELLINGS = (  # one address, as lenient parsers accept it
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
)
METADATA_NAMES = ("metadata.google.internal", "instance-data.ec2.internal", "metadata.tencentyun.com")
RANGES = ("10.213.77.9", "172.29.213.9", "192.168.213.9", "100.77.213.9")  # one address of each private range
DISCARD = 9  # a port on which nobody is bothered
SSH = 22
CLOSED = 80  # of a container that listens on nothing
MOST_HOST_TARGETS = 64

GET = "GET / HTTP/1.0\r\nHost: metadata\r\n\r\n"
PUT_IMDS2 = (
    "PUT /latest/api/token HTTP/1.0\r\nHost: metadata\r\n"
    "X-aws-ec2-metadata-token-ttl-seconds: 1\r\nContent-Length: 0\r\n\r\n"
)
HOST_PATIENCE = 20.0  # seconds: what the host asks for itself is meant to answer
GATEWAY_PATIENCE = 90.0  # seconds: a busy gateway on a busy machine takes its time, and only a dead one takes it all
HEALTHZ = "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"


def collect(rec: Recorder) -> None:
    """Record listeners, container addresses and the outcome of every probe, with the counters around the probes."""
    host = _host_addresses(rec)
    known = docker.agent_names(rec)
    running = [_seen(container, name_of(container) in known) for container in docker.running(rec)]
    listening = _listeners(rec, running)
    reach: Dict[str, Any] = {"host": [], "containers": running}

    def probe_host() -> None:
        reach["host"] = connect_all(_host_wishes(rec, host, running, listening), HOST_PATIENCE)

    def ask_gateway() -> None:
        reach["gateway"] = connect_all([_healthz(rec)], GATEWAY_PATIENCE)

    rec.json("reach-counters-before", COUNTERS)
    agents = [one for one in running if one["agent"] and not one["host_network"]]
    _together([probe_host, ask_gateway] + [_prober(rec, one, running, host, listening) for one in agents])
    rec.json("reach-counters-after", COUNTERS)
    reach["host"] += reach.pop("gateway")
    rec.note("reach", reach)


def _together(jobs: Sequence[Callable[[], Any]]) -> None:
    problems: List[Exception] = []

    def guard(job: Callable[[], Any]) -> None:
        try:
            job()
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=guard, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def _seen(container: Dict[str, Any], agent: bool) -> Dict[str, Any]:
    """What the probes need of an inspected container: nothing of its environment or command."""
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    addresses = [
        {"network": network, "address": address, "gateway": end.get(gateway) or ""}
        for network, end in networks.items()
        for address, gateway in ((end.get("IPAddress"), "Gateway"), (end.get("GlobalIPv6Address"), "IPv6Gateway"))
        if address
    ]
    image = str((container.get("Config") or {}).get("Image") or "")
    return {
        "name": str(container.get("Name") or "").lstrip("/"),
        "id": str(container.get("Id")),
        "pid": int(container["State"]["Pid"]),
        "image": image,
        "agent": agent,
        "host_network": namespaces.same_network(int(container["State"]["Pid"])),
        "addresses": addresses,
    }


def _host_addresses(rec: Recorder) -> List[Dict[str, Any]]:
    """Every address of the host: interface, address, whether link-local."""
    result = rec.run("", ["ip", "-j", "addr"], keep=False)
    if not result.ok:
        raise OSError("the host's addresses could not be listed: %s" % (result.error or result.text[:200]))
    return [
        {"interface": link["ifname"], "address": one["local"], "link_local": one.get("scope") == "link"}
        for link in json.loads(result.text)
        for one in link.get("addr_info", [])
        if link["ifname"] != "lo" and one.get("local")
    ]


def _listeners(rec: Recorder, running: List[Dict[str, Any]]) -> Dict[str, List[int]]:
    """Record `ss` of the host and of each container, and what the engine lists as published; return the
    TCP ports beyond loopback by container name ("" is the host).
    """
    found: Dict[str, List[int]] = {}
    pids: Dict[int, None] = {}

    def look(name: str, argv: Sequence[str]) -> None:
        text = rec.run("ss@" + name if name else "ss", argv).text
        found[name] = sorted(set(_open_ports(text)))
        pids.update({int(pid): None for pid in re.findall(r"pid=(\d+)", text)})

    jobs: List[Callable[[], Any]] = [functools.partial(api.published, rec)]
    jobs.append(functools.partial(look, "", SOCKETS))
    for one in running:
        if not one["host_network"]:
            jobs.append(functools.partial(look, one["name"], ["nsenter", "-t", str(one["pid"]), "-n", *SOCKETS]))
    _together(jobs)
    rec.note("listener-owners", {str(pid): proc.cgroup(pid) for pid in sorted(pids)})
    return found


def _open_ports(text: str) -> List[int]:
    """The TCP ports in the output of `ss` whose address is not a loopback one; the controller parses it in full."""
    ports = []
    for words in (line.split() for line in text.splitlines()):
        address, _, port = words[4].rpartition(":") if len(words) > 5 else ("", "", "")
        bare = address.strip("[]").split("%")[0]
        if words[:1] == ["tcp"] and port.isdigit() and not bare.startswith("127.") and bare not in ("::1", ""):
            ports.append(int(port))
    return ports


def _own_ports(listening: Dict[str, List[int]]) -> List[int]:
    """The ports by which the host's own addresses are probed: ssh, and whatever else listens there."""
    return sorted({SSH, *listening.get("", [])})


def _host_ends(host: List[Dict[str, Any]], listening: Dict[str, List[int]]) -> List[Tuple[str, int]]:
    """The host's own addresses, link-local ones aside, with each port by which they are probed."""
    own = [one["address"] for one in host if not one["link_local"]]
    return [(address, port) for address in own for port in _own_ports(listening)][:MOST_HOST_TARGETS]


def _container_ends(
    running: List[Dict[str, Any]], listening: Dict[str, List[int]]
) -> Iterator[Tuple[Dict[str, Any], str, int]]:
    """Each container with each of its addresses and each port by which it is probed.

    A silent one still refuses, so that whoever reaches it can be told.
    """
    for one in running:
        for end in one["addresses"]:
            for port in listening.get(one["name"]) or [CLOSED]:
                yield one, end["address"], port


def _endpoint(text: Any) -> "tuple[str, int]":
    host, _, port = str(text).rpartition(":")
    return host.strip("[]"), int(port)


def _site(rec: Recorder, key: str) -> List["tuple[str, int]"]:
    value = (rec.parameters.get("site") or {}).get(key)
    return [_endpoint(one) for one in (value if isinstance(value, list) else [value]) if one]


def _site_wishes(rec: Recorder) -> List[Connect]:
    return (
        [Connect("public", *one) for one in _site(rec, "public_endpoint")]
        + [Connect("public", *one) for one in _site(rec, "public_endpoint6")]
        + [Connect("private", *one) for one in _site(rec, "private_endpoints")]
    )


def _healthz(rec: Recorder) -> Connect:
    """The control experiment of everything that must not reach the gateway: the host itself does."""
    port = int((rec.parameters.get("tier") or {}).get("openclaw_port") or 18789)
    return Connect("healthz", "127.0.0.1", port, HEALTHZ)


def _host_wishes(
    rec: Recorder, host: List[Dict[str, Any]], running: List[Dict[str, Any]], listening: Dict[str, List[int]]
) -> List[Connect]:
    """The control experiments that the host itself can make: the same targets, unfiltered."""
    wishes = _site_wishes(rec)
    wishes += [Connect("host", *end) for end in _host_ends(host, listening)]
    for one, address, port in _container_ends(running, listening):
        wishes.append(Connect("container", address, port, label=one["name"]))
    return wishes


def _prober(
    rec: Recorder,
    agent: Dict[str, Any],
    running: List[Dict[str, Any]],
    host: List[Dict[str, Any]],
    listening: Dict[str, List[int]],
) -> Callable[[], None]:
    """A job that makes the agent container's probes in its network namespace and adds them to its record."""

    def probe() -> None:
        resolv = proc.read_inside(agent["pid"], "/etc/resolv.conf") or ""

        def inside() -> None:
            agent["interfaces"] = [name for _, name in socket.if_nameindex() if name != "lo"]
            agent["proxied"] = _proxied(rec, agent)
            answers = names.resolve(METADATA_NAMES, names.servers_in(resolv))
            agent["names"] = answers
            agent["probes"] = connect_all(_agent_wishes(rec, agent, running, host, listening, answers))

        namespaces.in_network_of(agent["pid"], inside)

    return probe


def _proxied(rec: Recorder, agent: Dict[str, Any]) -> List[Dict[str, Any]]:
    """An approved name asked of the proxy: the control experiment where no container gets out by itself."""
    tier = rec.parameters.get("tier") or {}
    names_listed = listed(rec.parameters.get("site") or {}, tier)
    gateways = [str(end["gateway"]) for end in agent["addresses"] if end["gateway"]]
    if tier.get("egress_mode") != "proxy_allowlist" or not names_listed or not gateways:
        return []
    return [bypass.tunnel((gateways[0], PROXY_PORT), names_listed[0] + ":443", names_listed[0])]


def _agent_wishes(
    rec: Recorder,
    agent: Dict[str, Any],
    running: List[Dict[str, Any]],
    host: List[Dict[str, Any]],
    listening: Dict[str, List[int]],
    answers: Dict[str, List[str]],
) -> List[Connect]:
    """Everything an agent container tries: what must fail, and the public endpoints that must answer."""
    wishes = [Connect("metadata", address, 80, GET) for address in ENDPOINTS]
    wishes.append(Connect("metadata", METADATA[0], 80, PUT_IMDS2))
    wishes += [Connect("spelling", spelling, 80, GET) for spelling in SPELLINGS]
    for name, addresses in answers.items():
        wishes += [Connect("name", address, 80, GET, label=name) for address in addresses]
    wishes += _site_wishes(rec)
    wishes += [Connect("range", address, DISCARD) for address in RANGES]
    gateways = {end["gateway"] for end in agent["addresses"]}
    for address, port in _host_ends(host, listening):
        wishes.append(Connect("gateway" if address in gateways else "host", address, port))
    bridges = {one["interface"] for one in host if one["address"] in gateways}
    for one in host:
        if one["link_local"] and one["interface"] in bridges and ipaddress.ip_address(one["address"]).version == 6:
            for name in agent["interfaces"]:
                scoped = "%s%%%s" % (one["address"], name)
                wishes += [Connect("gateway", scoped, port) for port in _own_ports(listening)]
    for other, address, port in _container_ends(running, listening):
        if other["id"] != agent["id"]:
            wishes.append(Connect("sibling", address, port, label=other["name"]))
    return wishes
