"""Try every way around the proxy from inside the agents' network namespaces. Standard library only.

Outcomes are those of `connects` for TCP; for the rest: `answered`, `silent`, `noroute`, `error`; through the proxy the
HTTP status in `status`, or 0 when the proxy closed without one; for queries the DNS code in `status` and the number of
records in `records`. Nothing of an answer's content is kept.
"""

from __future__ import annotations

import concurrent.futures
import errno
import os
import secrets
import socket
import ssl
import struct
from typing import Any, Callable, Dict, List, Optional, Tuple

from clawkeep.collector import docker, namespaces, proc
from clawkeep.collector.experiments import names
from clawkeep.collector.experiments.bypass_cases import (
    CONNECT,
    DIRECT,
    GET,
    ICMP,
    QUERY,
    REDIRECT,
    TCP,
    TLS,
    UDP,
    Case,
    facts,
    filled,
    listed,
)
from clawkeep.collector.experiments.connects import LOCAL_REFUSALS, Connect, connect_all
from clawkeep.collector.recorder import Recorder
from clawkeep_host.addresses import NAME_SERVER_PORT, PROXY_PORT
from clawkeep_host.agents import name_of

COUNTERS = ("nft", "-j", "list", "counters", "table", "inet", "clawkeep")
PATIENCE = 2.5  # seconds for a datagram
PROXY_PATIENCE = 25.0  # seconds: the proxy itself waits 10 s for a name and 15 s for a connection
WORKERS = 24
TYPES = {"A": 1, "NULL": 10, "TXT": 16, "AAAA": 28, "ANY": 255}
REFUSED = 5

Record = Dict[str, Any]


def collect(rec: Recorder) -> None:
    """Record under `bypass` what came of every case in every agent container, with the control experiments."""
    tier = rec.parameters.get("tier") or {}
    if tier.get("egress_mode") != "proxy_allowlist":
        return
    known, rebinding = facts(rec.parameters.get("site") or {}, tier, random_labels())
    tasks = list(filled(known, rebinding))
    approved = listed(rec.parameters.get("site") or {}, tier)
    running = docker.agents(rec)
    found: Dict[str, Any] = {"host": peers(tasks, known["approved"]), "containers": []}
    rec.json("bypass-counters-before", COUNTERS)
    for container in running:
        pid = int(container["State"]["Pid"])
        one: Dict[str, Any] = {"name": name_of(container), "host_network": namespaces.same_network(pid)}
        if not one["host_network"]:
            networks = ((container.get("NetworkSettings") or {}).get("Networks") or {}).values()
            gateways = [str(end["Gateway"]) for end in networks if end.get("Gateway")]
            one.update(attempt(pid, tasks, gateways, approved, known["approved"]))
        found["containers"].append(one)
    rec.json("bypass-counters-after", COUNTERS)
    rec.note("bypass", found)


def random_labels() -> Tuple[str, str]:
    """A label that nobody has asked for before, and three of the greatest length."""
    return secrets.token_hex(8), ".".join(secrets.token_hex(31) for _ in range(3))


Tasks = List[Tuple[Case, Optional[str], Optional[str]]]


def attempt(pid: int, tasks: Tasks, gateways: List[str], approved: List[str], plain: str) -> Dict[str, Any]:
    """What came of the cases in the network of process `pid`; `approved` are tried as they are meant to be used."""
    resolv = proc.read_inside(pid, "/etc/resolv.conf") or ""
    servers = names.servers_in(resolv)
    return namespaces.in_network_of(pid, lambda: inside(tasks, gateways, servers, approved, plain))


def inside(tasks: Tasks, gateways: List[str], servers: List[str], approved: List[str], plain: str) -> Dict[str, Any]:
    """The same from the namespace that the calling thread is in; threads that it starts are in it as well."""
    proxy = (gateways[0], PROXY_PORT) if gateways else ("", 0)
    asked = list(dict.fromkeys([*servers, *gateways[:1]]))
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        passing = [pool.submit(tunnel, proxy, "%s:443" % name, name) for name in dict.fromkeys([plain, *approved])]
        direct = pool.submit(past_the_proxy, tasks, plain)
        jobs = []
        for case, target, extra in tasks:
            if target is None or extra is None:
                jobs.append((case, pool.submit(_undeclared, case)))
            elif case.way in (CONNECT, GET, TLS, REDIRECT):
                jobs.append((case, pool.submit(through, proxy, case, target, extra)))
            elif case.way == QUERY:
                jobs += [(case, pool.submit(query, server, target, extra)) for server in asked]
        answers = [pool.submit(query, server, plain, "A") for server in asked]
        records = [_named(case, job.result()) for case, job in jobs] + direct.result()
        return {
            "attempts": records,
            "approved": [job.result() for job in passing],
            "resolved": [job.result() for job in answers],
            "servers": servers,
            "proxy": "%s:%d" % proxy,
        }


def peers(tasks: Tasks, plain: str) -> List[Record]:
    """The control experiments that the host itself can make: the direct cases, unfiltered."""
    return past_the_proxy(tasks, plain)


def _named(case: Case, record: Record) -> Record:
    return dict(record, case=case.id, way=case.way)


def _undeclared(case: Case) -> Record:
    return {"target": case.target, "outcome": "undeclared", "sent": 0}


# --- past the proxy ---------------------------------------------------------------------------------------------------


def past_the_proxy(tasks: Tasks, plain: str) -> List[Record]:
    """Every direct case, all at the same time."""
    wanted = [(c, t, e) for c, t, e in tasks if c.way in DIRECT]
    found = [_named(c, _undeclared(c)) for c, t, e in wanted if t is None or e is None]
    tcp = [(c, t) for c, t, e in wanted if c.way == TCP and t is not None]
    rest = [(c, t, e) for c, t, e in wanted if c.way in (UDP, ICMP) and t is not None and e is not None]
    with concurrent.futures.ThreadPoolExecutor(len(rest) + 1) as pool:
        connecting = pool.submit(connect_all, [Connect("bypass", *endpoint(t)) for _, t in tcp])
        sending = [(c, pool.submit(datagram, c.way, t, e, plain)) for c, t, e in rest]
        found += [_named(case, record) for (case, _), record in zip(tcp, connecting.result())]  # noqa: B905 - Python 3.9 has no strict
        found += [_named(case, job.result()) for case, job in sending]
    return found


def endpoint(text: str) -> Tuple[str, int]:
    """Host and port of `host:port`, an IPv6 host in brackets."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def datagram(way: str, target: str, kind: str, plain: str) -> Record:
    """Send one datagram or ICMP echo and wait for whatever comes back from there."""
    host, port = (target, 0) if way == ICMP else endpoint(target)
    six = ":" in host
    family = socket.AF_INET6 if six else socket.AF_INET
    record: Record = {"target": target, "family": "ipv6" if six else "ipv4", "sent": 0}
    try:
        if way == ICMP:
            protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
            client = socket.socket(family, socket.SOCK_RAW, protocol)
        else:
            client = socket.socket(family, socket.SOCK_DGRAM)
        with client:
            client.settimeout(PATIENCE)
            client.connect((host, port))
            client.send(_echo(six) if way == ICMP else _payload(kind, plain))
            record["sent"] = 1
            record["outcome"] = "answered" if _heard(client, way, six) else "silent"
    except socket.timeout:
        record["outcome"] = "silent"
    except OSError as problem:
        if problem.errno == errno.ECONNREFUSED:
            record["outcome"] = "refused"
        elif record["sent"]:
            record["outcome"] = "unreachable"
        else:
            record["outcome"] = "noroute" if problem.errno in LOCAL_REFUSALS else "error"
        record["detail"] = os.strerror(problem.errno or 0)
    return record


def _heard(client: socket.socket, way: str, six: bool) -> bool:
    while True:
        message = client.recv(2048)
        if way != ICMP:
            return True
        kind = message[0] if six else message[(message[0] & 15) * 4]
        if kind == (129 if six else 0):  # an echo's reply; one's own request to a local address is heard too
            return True


def _echo(six: bool) -> bytes:
    head = struct.pack("!BBHHH", 128 if six else 8, 0, 0, os.getpid() & 0xFFFF, 1)
    body = b"clawkeep"
    if six:
        return head + body  # the kernel fills in the checksum of ICMPv6
    total = sum(struct.unpack("!%dH" % ((len(head) + len(body)) // 2), head + body))
    total = (total >> 16) + (total & 0xFFFF)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return struct.pack("!BBHHH", 8, 0, checksum, os.getpid() & 0xFFFF, 1) + body


def _payload(kind: str, plain: str) -> bytes:
    if kind == "dns":
        return question(plain, "A")
    if kind == "quic":  # an initial packet of a version that nobody has: a server answers with those it knows
        return b"\xc0\x1a\x2a\x3a\x4a\x08" + secrets.token_bytes(8) + b"\x08" + secrets.token_bytes(8) + bytes(1200)
    return b"clawkeep"


# --- names ------------------------------------------------------------------------------------------------------------


def question(name: str, record: str) -> bytes:
    """A DNS question."""
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    head = struct.pack("!6H", secrets.randbelow(65536), names.RECURSION_DESIRED, 1, 0, 0, 0)
    return head + labels + b"\0" + struct.pack("!2H", TYPES[record], names.IN)


def query(server: str, name: str, record: str) -> Record:
    """Ask one name server over UDP; `status` is its code, `records` how many it gave."""
    found: Record = {"target": "%s %s" % (name, record), "server": server, "sent": 0}
    asked = question(name, record)
    try:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect((server, NAME_SERVER_PORT))
            client.send(asked)
            found["sent"] = 1
            answer = client.recv(4096)
    except socket.timeout:
        return dict(found, outcome="silent")
    except OSError as problem:
        return dict(found, outcome="error", detail=os.strerror(problem.errno or 0))
    if len(answer) < 12 or answer[:2] != asked[:2]:
        return dict(found, outcome="error", detail="no DNS answer")
    return dict(found, outcome="answered", status=answer[3] & 15, records=struct.unpack_from("!H", answer, 6)[0])


# --- through the proxy ------------------------------------------------------------------------------------------------


def through(proxy: Tuple[str, int], case: Case, target: str, extra: str) -> Record:
    """One request to the proxy."""
    if case.way == GET:
        host = target.split("/")[2]
        return asked(proxy, target, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (target, host))
    if case.way == TLS:
        return tunnel(proxy, target, extra)
    if case.way == REDIRECT:
        return redirected(proxy, target)
    host = extra[len("host=") :] if extra.startswith("host=") else target
    return asked(proxy, target, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, host))


def asked(proxy: Tuple[str, int], target: str, request: str) -> Record:
    """The status that the proxy gives a request."""
    record: Record = {"target": target, "outcome": "error", "sent": 0, "status": 0}
    try:
        with socket.create_connection(proxy, PROXY_PATIENCE) as client:
            client.sendall(request.encode("ascii"))
            record.update(sent=1, status=_status(client), outcome="answered")
    except OSError as problem:
        record["detail"] = str(problem)
    return record


def _status(client: socket.socket) -> int:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 65536:
        block = client.recv(1)  # not a byte beyond the head: what follows belongs to the tunnel
        if not block:
            break
        head += block
    words = head.split(b"\r\n", 1)[0].split()
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else 0


def tunnel(proxy: Tuple[str, int], target: str, name: str, then: Optional[Callable[[Any], Any]] = None) -> Record:
    """Open a tunnel and speak TLS in it with server name `name` (`raw`: no TLS); `served` tells whether a byte
    of the server came back. Who the server is, is not this probe's question: the tunnel's end is."""
    record: Record = {"target": target, "outcome": "error", "sent": 0, "status": 0, "served": False, "name": name}
    try:
        with socket.create_connection(proxy, PROXY_PATIENCE) as client:
            client.sendall(("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, target)).encode("ascii"))
            record.update(sent=1, status=_status(client), outcome="answered")
            if record["status"] != 200:
                return record
            if name == "raw":
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                record["served"] = bool(client.recv(1))
                return record
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            try:
                with context.wrap_socket(client, server_hostname=name) as channel:
                    record["served"] = True
                    if then is not None:
                        record["then"] = then(channel)
            except ssl.SSLError as problem:
                record["detail"] = str(problem.reason or problem)
    except OSError as problem:
        record["detail"] = str(problem)
    return record


def redirected(proxy: Tuple[str, int], place: str) -> Record:
    """Ask an approved site for a redirect (`name/path`) and follow it, through the proxy as a client would."""
    host, _, path = place.partition("/")

    def location(channel: Any) -> str:
        channel.sendall(("GET /%s HTTP/1.0\r\nHost: %s\r\n\r\n" % (path, host)).encode("ascii"))
        text = b""
        for block in iter(lambda: channel.recv(4096), b""):
            text += block
        lines = [line for line in text.decode("latin-1").split("\r\n") if line.lower().startswith("location:")]
        return lines[0].split(":", 1)[1].strip() if lines else ""

    first = tunnel(proxy, host + ":443", host, location)
    to = str(first.get("then") or "")
    if not to.startswith("http://"):
        return dict(first, outcome="error", detail="the approved site sent no redirect", target=place, status=0)
    request = "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (to, to.split("/")[2])
    return asked(proxy, to, request)
