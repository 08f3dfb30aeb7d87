"""The probes on a real segment: a host with a container behind it and a neighbour, each a network namespace.

The host translates 127.0.0.1:18789 to the container for packets from anywhere, as an engine before 28.0 does. The
neighbour also plays the world behind the host: a public endpoint, a private one and a metadata service.
`pytest tests/kernel -m kernel`, as root; they fail where a tool is missing, and are never skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clawkeep.collector.experiments import names
from clawkeep.collector.experiments.connects import Connect, connect_all
from clawkeep.collector.experiments.egress import SPELLINGS
from clawkeep.collector.namespaces import in_network_of, same_network
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.network.reach import Reach

pytestmark = pytest.mark.kernel

NEIGHBOUR, HOST, CONTAINER = (f"ck-exp-{os.getpid()}-{name}" for name in ("n", "h", "c"))

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *words):
        pass
http.server.HTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
"""

HOST_RULES = """
table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr 127.0.0.1 tcp dport 18789 iifname != "br0" dnat to 172.30.0.2:18789;
  }
}
table inet clawkeep {
  counter guard_drop { }
  counter input_drop { }
  counter metadata_forward_drop { }
  counter private_forward_drop { }
  chain guard {
    type filter hook prerouting priority raw;
  }
  chain forward {
    type filter hook forward priority filter - 5;
    iifname "br0" ip daddr { 169.254.0.0/16, 100.100.100.200, 192.0.0.192, 168.63.129.16 } jump metadata;
    iifname "br0" ip daddr { 10.0.0.0/8, 172.16.0.0/12 } counter name private_forward_drop drop;
    iifname "br0" ip daddr { 192.168.0.0/16, 100.64.0.0/10 } counter name private_forward_drop drop;
  }
  chain metadata {
    counter name metadata_forward_drop drop;
  }
  chain input {
    type filter hook input priority filter;
    ct state established accept;
    tcp dport 3000 accept;
    iifname "br0" counter name input_drop drop;
    meta l4proto { tcp, udp } iifname "uplink" counter name input_drop drop;
  }
}
"""
GUARD = (
    'add rule inet clawkeep guard iifname "uplink" ip daddr { 127.0.0.0/8, 172.30.0.0/24 } counter name guard_drop drop'
)


def run(*words: str, text: str | None = None) -> str:
    return subprocess.run(words, input=text, check=True, capture_output=True, text=True).stdout


def within(namespace: str, *words: str, text: str | None = None) -> str:
    return run("ip", "netns", "exec", namespace, *words, text=text)


@contextlib.contextmanager
def serving(namespace: str, port: int, program: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["ip", "netns", "exec", namespace, sys.executable, str(program), str(port)])
    try:
        for _ in range(100):
            if within(namespace, "ss", "-Hltn", f"sport = :{port}").strip():
                break
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """The three namespaces with their servers; the value is the container's process."""
    missing = [tool for tool in ("ip", "nft", "nmap", "ss") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        pytest.fail(f"a segment needs root and its tools: {', '.join(missing) or 'this is not root'}", pytrace=False)
    program = tmp_path_factory.mktemp("server") / "server.py"
    program.write_text(SERVER)
    with contextlib.ExitStack() as stack:
        for name in (NEIGHBOUR, HOST, CONTAINER):
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "del", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        _wire()
        within(HOST, "nft", "-f", "-", text=HOST_RULES)
        stack.enter_context(serving(HOST, 3000, program))
        stack.enter_context(serving(HOST, 22, program))
        stack.enter_context(serving(NEIGHBOUR, 80, program))
        yield stack.enter_context(serving(CONTAINER, 18789, program))


def _wire() -> None:
    def link(here: str, name: str, there: str, other: str) -> None:
        run("ip", "-n", here, "link", "add", name, "type", "veth", "peer", "name", other, "netns", there)
        run("ip", "-n", here, "link", "set", name, "up")
        run("ip", "-n", there, "link", "set", other, "up")

    def address(namespace: str, interface: str, *texts: str) -> None:
        for text in texts:
            extra = ["nodad"] if ":" in text else []
            run("ip", "-n", namespace, "address", "add", text, "dev", interface, *extra)

    link(NEIGHBOUR, "wire", HOST, "uplink")
    address(NEIGHBOUR, "wire", "203.0.113.51/24", "2001:db8:113::51/64", "10.9.9.9/32", "169.254.169.254/32")
    address(HOST, "uplink", "203.0.113.10/24", "2001:db8:113::10/64")
    run("ip", "-n", HOST, "link", "add", "br0", "type", "bridge")
    run("ip", "-n", HOST, "link", "set", "br0", "up")
    link(CONTAINER, "eth0", HOST, "veth0")
    run("ip", "-n", HOST, "link", "set", "veth0", "master", "br0")
    address(HOST, "br0", "172.30.0.1/24")
    address(CONTAINER, "eth0", "172.30.0.2/24")
    run("ip", "-n", CONTAINER, "route", "add", "default", "via", "172.30.0.1")
    run("ip", "-n", HOST, "route", "add", "default", "via", "203.0.113.51")
    run("ip", "-n", NEIGHBOUR, "route", "add", "172.30.0.0/24", "via", "203.0.113.10")
    within(HOST, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.br0.route_localnet=1")


def counted(name: str) -> int:
    listing = json.loads(within(HOST, "nft", "-j", "list", "counter", "inet", "clawkeep", name))
    return next(int(item["counter"]["packets"]) for item in listing["nftables"] if "counter" in item)


def probe(module: str, **changes: Any) -> dict[str, Any]:
    wishes = {
        "addresses": ["203.0.113.10", "2001:db8:113::10"],
        "endpoints": {"ipv4": "203.0.113.10:3000"},
        "tcp": [3000, 18789],
        "udp": [],
        "guard": [3000, 18789],
        "pace": 5000,
        "targets": [
            {"target": "127.0.0.1", "port": 18789, "kind": "loopback", "name": "openclaw"},
            {"target": "::1", "port": 18789, "kind": "loopback", "name": "openclaw"},
            {"target": "172.30.0.2", "port": 18789, "kind": "container", "name": "openclaw"},
            {"target": "172.30.0.2", "port": 1, "kind": "container", "name": "openclaw"},
        ],
        **changes,
    }
    found = json.loads(
        within(NEIGHBOUR, sys.executable, "-m", f"clawkeep.measure.probes.{module}", text=json.dumps(wishes))
    )
    assert isinstance(found, dict)
    return found


@pytest.mark.usefixtures("segment")
def test_a_neighbour_reaches_loopback_and_containers_until_the_guard_drops_it() -> None:
    before = within(NEIGHBOUR, "ip", "-4", "route", "show", "table", "all")
    found = probe("neighbour")
    assert [frame["outcome"] for frame in found["frames"]] == ["answered", "silent", "answered", "reset"]
    within(HOST, "nft", GUARD)
    try:
        found = probe("neighbour")
    finally:
        within(HOST, "nft", "flush", "chain", "inet", "clawkeep", "guard")
    assert {frame["outcome"] for frame in found["frames"]} == {"silent"}
    assert found["instrument"]["ipv4"]["outcome"] == "answered"
    assert counted("guard_drop") == sum(f["sent"] for f in found["frames"] if f["target"] != "::1")
    assert within(NEIGHBOUR, "ip", "-4", "route", "show", "table", "all") == before


@pytest.mark.usefixtures("segment")
def test_the_whole_range_takes_seconds_and_every_probe_is_counted() -> None:
    before = counted("input_drop")
    found = probe("outside", tcp=None, addresses=["203.0.113.10"], pace=60000)
    scan = found["tcp"]["203.0.113.10"]
    assert [port for port, state in scan["ports"].items() if state == "open"] == ["3000"]
    assert scan["states"]["filtered"] == 65534
    assert counted("input_drop") - before >= 0.99 * 2 * 65534
    assert found["healthz"] == {"203.0.113.10:3000": "HTTP 200"}
    assert found["control"]["ipv4"]["state"] == "open"


def test_connects_are_made_in_another_network_and_told_apart(segment: subprocess.Popen[bytes]) -> None:
    wishes = [
        Connect("a", "172.30.0.1", 3000, "GET / HTTP/1.0\r\n\r\n"),
        Connect("b", "203.0.113.51", 1),
        Connect("c", "172.30.0.1", 1),
        Connect("d", "2001:db8::1", 80),
        Connect("e", "no.such.spelling", 80),
        Connect("f", "0254.036.0.1", 3000),
    ]
    found = in_network_of(segment.pid, lambda: connect_all(wishes, patience=1.5))
    assert [one["outcome"] for one in found] == ["open", "refused", "timeout", "noroute", "unresolved", "open"]
    assert found[0]["detail"] == "HTTP 200"
    assert found[3]["sent"] == 0
    assert found[2]["sent"] >= 2
    assert not same_network(segment.pid)


def test_names_are_asked_of_given_servers_only(segment: subprocess.Popen[bytes]) -> None:
    servers = names.servers_in("# none\nnameserver 172.30.0.1\nsearch example\nnameserver\n")
    assert servers == ["172.30.0.1"]
    found = in_network_of(segment.pid, lambda: names.resolve(["metadata.example"], servers, patience=0.3))
    assert found == {"metadata.example": []}


COLLECT = """
import json, sys
from clawkeep.collector import api
from clawkeep.collector.experiments import egress
from clawkeep.collector.recorder import Recorder
wishes = json.load(sys.stdin)
api.containers = lambda recorder: wishes["containers"]
recorder = Recorder(wishes["parameters"])
egress.collect(recorder)
json.dump({"schema": 1, "commands": recorder.commands, "facts": recorder.facts}, sys.stdout)
"""


def collected(pid: int) -> HostEvidence:
    """What the collector's part records when the container's process is `pid`, run as on the host."""
    container = {
        "Id": "a" * 64,
        "Name": "/openclaw",
        "State": {"Pid": pid},
        "Config": {"Image": "clawkeep/openclaw", "Labels": {"clawkeep.role": "agent"}},
        "NetworkSettings": {"Networks": {"clawkeep0": {"IPAddress": "172.30.0.2", "Gateway": "172.30.0.1"}}},
    }
    site = {"public_endpoint": "203.0.113.51:80", "public_endpoint6": None, "private_endpoints": ["10.9.9.9:80"]}
    wishes = {"containers": [container], "parameters": {"site": site, "tier": {"openclaw_port": 18789}}}
    found = within(HOST, sys.executable, "-c", COLLECT, text=json.dumps(wishes))
    return HostEvidence("alpha", {"schema": 1, "host": "alpha", "inside": json.loads(found), "vantages": {}})


def test_an_agents_connects_are_dropped_and_counted_one_by_one(segment: subprocess.Popen[bytes]) -> None:
    within(HOST, "nft", "insert", "rule", "inet", "clawkeep", "input", "iifname", "br0", "counter", "drop")
    reach = collected(segment.pid).subject(Reach)
    within(HOST, "nft", "delete", "rule", "inet", "clawkeep", "input", "handle", _first_handle("input"))
    assert reach.metadata_answers() == reach.other_metadata_answers() == []
    assert reach.private_answers() == reach.host_answers() == reach.sibling_answers() == []


def test_metadata_that_answers_an_agent_is_seen_in_every_spelling(segment: subprocess.Popen[bytes]) -> None:
    within(HOST, "nft", "insert", "rule", "inet", "clawkeep", "metadata", "ip", "daddr", "169.254.169.254", "accept")
    reach = collected(segment.pid).subject(Reach)
    within(HOST, "nft", "delete", "rule", "inet", "clawkeep", "metadata", "handle", _first_handle("metadata"))
    assert len(reach.metadata_answers()) == 2
    spelt = [sentence.split()[4] for sentence in reach.other_metadata_answers()]
    assert spelt == [f"{'[' + one + ']' if ':' in one else one}:80" for one in SPELLINGS]


def test_a_host_service_that_answers_an_agent_is_seen(segment: subprocess.Popen[bytes]) -> None:
    found = collected(segment.pid).subject(Reach).host_answers()
    assert [sentence.split()[3] for sentence in found] == ["203.0.113.10:3000", "172.30.0.1:3000"]


def _first_handle(chain: str) -> str:
    listing = json.loads(within(HOST, "nft", "-j", "list", "chain", "inet", "clawkeep", chain))
    return str(next(item["rule"]["handle"] for item in listing["nftables"] if "rule" in item))
