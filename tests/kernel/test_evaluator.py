"""The evaluator against the kernel: random rulesets, real datagrams, the same verdicts.

`pytest tests/kernel -m kernel`, as root: three network namespaces of this test's own, a router between a sender and a
receiver, hold everything.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TextIO

import pytest

from clawkeep.netfilter.model import read_tables
from clawkeep.netfilter.packet import Packet, Surroundings
from clawkeep.netfilter.travel import ACCEPT, DROP, Traveller

pytestmark = pytest.mark.kernel

SENDER, ROUTER, RECEIVER = (f"ck-net-{os.getpid()}-{role}" for role in ("sender", "router", "receiver"))
SOURCES = {4: ("198.51.100.2", "198.51.100.99"), 6: ("2001:db8:1::2", "2001:db8:1::99")}
TARGETS = {
    ("input", 4): "198.51.100.1",
    ("input", 6): "2001:db8:1::1",
    ("forward", 4): "203.0.113.2",
    ("forward", 6): "2001:db8:2::2",
}
PORTS = (22, 53, 3000, 18789)
SPORTS = (53, 40000)
RULESETS, SEEDS = 12, range(4)

SETUP = f"""
ip netns add {SENDER}; ip netns add {ROUTER}; ip netns add {RECEIVER}
ip -n {ROUTER} link set lo up
ip link add in0 netns {ROUTER} type veth peer name s0 netns {SENDER}
ip link add out0 netns {ROUTER} type veth peer name r0 netns {RECEIVER}
for n in {SENDER}:s0 {ROUTER}:in0 {ROUTER}:out0 {RECEIVER}:r0; do ip -n ${{n%%:*}} link set ${{n##*:}} up; done
for a in {" ".join(f"{address}/24" for address in SOURCES[4])}; do ip -n {SENDER} addr add $a dev s0; done
for a in {" ".join(f"{address}/64" for address in SOURCES[6])}; do ip -n {SENDER} addr add $a dev s0 nodad; done
ip -n {ROUTER} addr add 198.51.100.1/24 dev in0; ip -n {ROUTER} addr add 2001:db8:1::1/64 dev in0 nodad
ip -n {ROUTER} addr add 203.0.113.1/24 dev out0; ip -n {ROUTER} addr add 2001:db8:2::1/64 dev out0 nodad
ip -n {RECEIVER} addr add 203.0.113.2/24 dev r0; ip -n {RECEIVER} addr add 2001:db8:2::2/64 dev r0 nodad
ip -n {SENDER} route add default via 198.51.100.1; ip -n {SENDER} -6 route add default via 2001:db8:1::1
ip -n {RECEIVER} route add default via 203.0.113.1; ip -n {RECEIVER} -6 route add default via 2001:db8:2::1
ip netns exec {ROUTER} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
"""

# Prints what arrives, one label a line, until a datagram says so.
LISTEN = f"""
import select, socket
held = []
for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    for port in {PORTS}:
        one = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
        held.append(one)
print("ready", flush=True)
while True:
    for one in select.select(held, [], [])[0]:
        print(one.recv(2000).decode(), flush=True)
"""

SEND = """
import json, socket, sys
for label, source, sport, target, dport in json.load(sys.stdin):
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((source, sport))
    one.sendto(label.encode(), (target, dport))
    one.close()
"""


@dataclass(frozen=True)
class Shot:
    """One datagram: the hook that judges it, and its packet as the router sees it."""

    hook: str
    packet: Packet

    @property
    def label(self) -> str:
        one = self.packet
        return f"{self.hook} {one.saddr} {one.sport} {one.daddr} {one.dport}"


def shots() -> list[Shot]:
    return [
        Shot(
            hook,
            Packet(
                ip_address(source),
                ip_address(target),
                protocol=17,
                sport=sport,
                dport=port,
                iif="in0",
                oif="out0" if hook == "forward" else "",
            ),
        )
        for (hook, version), target in TARGETS.items()
        for source in SOURCES[version]
        for sport in SPORTS
        for port in PORTS
    ]


def matches(dice: random.Random) -> str:
    """Up to three random matches; some can never meet, which the kernel accepts as well."""
    pool = [
        'iifname "in0"',
        'iifname != "in0"',
        'iifname "in*"',
        'oifname "out0"',
        f"udp dport {dice.choice(PORTS)}",
        f"udp dport {{ {dice.choice(PORTS)}, 4000-20000 }}",
        f"udp dport != {{ {dice.choice(PORTS)}, 60 }}",
        "udp sport 53",
        "th dport < 1024",
        "meta l4proto udp",
        "meta l4proto { tcp, icmp }",
        "meta nfproto ipv6",
        f"ip saddr {SOURCES[4][0]}",
        "ip saddr 198.51.100.64/26",
        f"ip saddr != {SOURCES[4][1]}",
        f"ip6 saddr {SOURCES[6][1]}",
        "ip6 daddr 2001:db8:2::/64",
        "ip daddr . udp dport { 203.0.113.2 . 53, 198.51.100.1 . 3000 }",
        "ct state new",
        "ct state established,related",
        "ct state { new, untracked }",
        "meta mark 0x1",
        "fib daddr type local",
    ]
    return " ".join(dice.sample(pool, dice.randint(0, 3)))


def ruleset(dice: random.Random) -> str:
    """Two base chains a hook, a chain to jump to, sometimes notrack and marks."""
    verdicts = ("accept", "drop", "jump sub", "goto sub", "return", "meta mark set 0x1", "counter")
    tables = []
    for name, priority in (("one", "-10"), ("two", "10")):
        body = "".join(
            f"        {matches(dice)} {dice.choice(('accept', 'drop', 'return', 'counter'))}\n" for _ in range(3)
        )
        text = f"table inet {name} {{\n    chain sub {{\n{body}    }}\n"
        for hook in ("input", "forward"):
            policy = dice.choice(("accept", "accept", "drop"))
            # Neighbour discovery has to work for a datagram to arrive at all.
            rules = "".join(f"        {matches(dice)} {dice.choice(verdicts)}\n" for _ in range(dice.randint(1, 5)))
            head = f"type filter hook {hook} priority {priority}; policy {policy};"
            text += f"    chain {hook} {{\n        {head}\n        meta l4proto ipv6-icmp accept\n{rules}    }}\n"
        if dice.random() < 0.3:
            rule = matches(dice).replace("oifname", "iifname")
            head = "type filter hook prerouting priority raw;"
            text += f"    chain raw {{\n        {head}\n        {rule} notrack\n    }}\n"
        tables.append(text + "}\n")
    return "".join(tables)


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[TextIO]]:
    """What the router and the receiver print of what arrives, each read from where the last reading ended."""
    folder = tmp_path_factory.mktemp("arrivals")
    subprocess.run(["sh", "-ec", SETUP], check=True, capture_output=True)
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name in (ROUTER, RECEIVER):
            argv = ["ip", "netns", "exec", name, sys.executable, "-Ic", LISTEN]
            with (folder / name).open("wb") as output:
                running.append(subprocess.Popen(argv, stdout=output))
        with (folder / ROUTER).open() as router, (folder / RECEIVER).open() as receiver:
            for one in (router, receiver):
                deadline = time.monotonic() + 10
                while one.readline() != "ready\n":
                    assert time.monotonic() < deadline, "nobody listens in the namespaces"
                    time.sleep(0.05)
            while arrived([router, receiver], shots()) != {shot.label for shot in shots()}:
                assert time.monotonic() < deadline, "the way is not clear even without any rule"
            yield [router, receiver]
    finally:
        for process in running:
            process.kill()
            process.wait()
        for name in (SENDER, ROUTER, RECEIVER):
            subprocess.run(["ip", "netns", "del", name], check=False)


def in_namespace(name: str, *argv: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["ip", "netns", "exec", name, *argv], input=stdin, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, f"{done.stderr}\n{stdin}"
    return done.stdout


def loaded(dice: random.Random) -> str:
    """A random ruleset that the router now has; nft refuses those that ask for two protocols at once."""
    while True:
        text = ruleset(dice)
        argv = ["ip", "netns", "exec", ROUTER, "nft", "-f", "-"]
        done = subprocess.run(argv, input=f"flush ruleset\n{text}", text=True, capture_output=True, check=False)
        if done.returncode == 0:
            return text


def arrived(listeners: list[TextIO], tried: list[Shot]) -> set[str]:
    """The labels that came through."""
    wishes = [(s.label, str(s.packet.saddr), s.packet.sport, str(s.packet.daddr), s.packet.dport) for s in tried]
    in_namespace(SENDER, sys.executable, "-Ic", SEND, stdin=json.dumps(wishes))
    time.sleep(0.4)
    return {line for one in listeners for line in one.read().splitlines()}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_evaluator_agrees_with_the_kernel(listeners: list[TextIO], seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a seed, so that a disagreement can be had again
    around = Surroundings(
        addresses={"in0": frozenset({ip_address("198.51.100.1"), ip_address("2001:db8:1::1")}), "out0": frozenset()}
    )
    for _ in range(RULESETS):
        text = loaded(dice)
        rules = read_tables(json.loads(in_namespace(ROUTER, "nft", "-j", "list", "ruleset")))
        traveller = Traveller(rules, around)
        came = arrived(listeners, shots())
        for shot in shots():
            ends = traveller.through("prerouting", shot.packet)
            verdicts = {e.verdict for end in ends for e in traveller.through(shot.hook, end.packet)}
            expected = {ACCEPT} if shot.label in came else {DROP}
            assert verdicts == expected, f"seed {seed}: {shot.label}\n{text}"
