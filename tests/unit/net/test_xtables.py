"""iptables' rules as the evaluator sees them, and the ports that Docker's NAT hands on."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from clawkeep.evidence.document import HostEvidence
from clawkeep.netfilter.model import RuleTables
from clawkeep.netfilter.packet import Packet, Surroundings
from clawkeep.netfilter.travel import Traveller
from clawkeep.netfilter.xtables import read_save
from clawkeep.subjects.network.iptables import Dnat, published

from .conftest import Listed, scratch

TCP = Packet(ip_address("198.51.100.7"), ip_address("172.17.0.2"), dport=80, iif="eth0", oif="docker0")
UDP = replace(TCP, protocol=17)
PING = replace(TCP, protocol=1, icmp_type=8, sport=None, dport=None)
AROUND = Surroundings(addresses={"eth0": frozenset({ip_address("203.0.113.10")})})

CASES = [
    ("-i eth0", TCP, True),
    ("! -i eth0", TCP, False),
    ("-i eth+", TCP, True),
    ("-o docker0", TCP, True),
    ("-s 198.51.100.0/24", TCP, True),
    ("! -s 198.51.100.0/24", TCP, False),
    ("-d 172.17.0.2", TCP, True),
    ("-p tcp", TCP, True),
    ("-p tcp", UDP, False),
    ("-p tcp --dport 80", TCP, True),
    ("-p tcp --dport 81:90", TCP, False),
    ("-p udp --dport 80", TCP, False),
    ("-p tcp ! --dport 80", TCP, False),
    ("-p tcp -m multiport --dports 22,79:81", TCP, True),
    ("-p tcp --syn", TCP, True),
    ("-p tcp --syn", replace(TCP, tcp_flags=frozenset({"ack"})), False),
    ("-m conntrack --ctstate NEW", TCP, True),
    ("-m conntrack --ctstate RELATED,ESTABLISHED", TCP, False),
    ("-m conntrack ! --ctstate NEW", TCP, False),
    ("-m conntrack --ctstate DNAT", TCP, None),
    ("-p tcp -m conntrack --ctorigdstport 8080", replace(TCP, asked=(ip_address("203.0.113.10"), 8080)), True),
    ("-p tcp -m conntrack --ctorigdstport 8080", TCP, False),
    ("-m conntrack --ctorigdst 203.0.113.10", replace(TCP, asked=(ip_address("203.0.113.10"), 8080)), True),
    ("-m addrtype --dst-type LOCAL", TCP, False),
    ("-m addrtype --dst-type LOCAL", replace(TCP, daddr=ip_address("203.0.113.10")), True),
    ("-m mark --mark 0x1/0xff", replace(TCP, mark=0x101), True),
    ("-p icmp --icmp-type echo-request", PING, True),
    ("-p icmp --icmp-type echo-request", TCP, False),
    ("-m comment --comment 'two \"words\" -j ACCEPT'", TCP, True),
    ("-m limit --limit 5/min", TCP, None),
    ("-m length --length 100:200", TCP, None),
]  # fmt: skip


@pytest.mark.parametrize(("match", "packet", "expected"), CASES)
def test_a_match_means_what_iptables_means(match: str, packet: Packet, expected: bool | None) -> None:
    lines = scratch(f"iptables -A FORWARD {match} -j DROP\niptables-save -c").splitlines()
    ends = Traveller(RuleTables(tuple(read_save(lines, "ip"))), AROUND).through("forward", packet)
    assert {end.verdict for end in ends} == {True: {"drop"}, False: {"accept"}, None: {"accept", "drop"}}[expected]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("-P FORWARD DROP", {"drop"}),
        ("-N a; {} -A FORWARD -j a; {} -A a -j RETURN; {} -A FORWARD -j DROP", {"drop"}),
        ("-N a; {} -A FORWARD -g a; {} -A a -p udp -j DROP; {} -A FORWARD -j DROP", {"accept"}),
        ("-A FORWARD -j REJECT", {"drop"}),
        ("-A FORWARD -j LOG; {} -A FORWARD -j ACCEPT; {} -A FORWARD -j DROP", {"accept"}),
        ("-A FORWARD -j NFQUEUE --queue-num 1", {"accept", "drop"}),
        ("-t mangle -A FORWARD -j MARK --set-mark 7; {} -A FORWARD -m mark --mark 7 -j DROP", {"drop"}),
    ],
)
def test_targets_do_what_iptables_does(rules: str, expected: set[str]) -> None:
    script = "; ".join(("iptables " + rules).split("; ")).replace("{}", "iptables")
    tables = read_save(scratch(f"{script}\niptables-save").splitlines(), "ip")
    ends = Traveller(RuleTables(tuple(tables)), AROUND).through("forward", TCP)
    assert {end.verdict for end in ends} == expected


def test_the_rule_is_named_as_iptables_has_it() -> None:
    lines = [
        "*filter",
        ":FORWARD ACCEPT [0:0]",
        "[3:180] -A FORWARD -i eth0 -p tcp -m tcp --dport 80 -j DROP",
        "COMMIT",
    ]
    (end,) = Traveller(RuleTables(tuple(read_save(lines, "ip"))), AROUND).through("forward", TCP)
    assert str(end.sites[-1]) == "ip filter FORWARD, rule 1: `-A FORWARD -i eth0 -p tcp -m tcp --dport 80 -j DROP`"


# --- published ports -------------------------------------------------------------------------------------------------

NAT4 = """*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -d 127.0.0.1/32 ! -i clawkeep0 -p tcp -m tcp --dport 18789 -j DNAT --to-destination 172.30.0.2:18789
-A DOCKER ! -i docker0 -p udp -m udp --dport 5353 -j DNAT --to-destination 172.17.0.2:53
-A DOCKER -p tcp -m tcp --dport 7000:7010 -j DNAT --to-destination 172.17.0.3
-A DOCKER -p tcp -m tcp --dport 99 -j REDIRECT --to-ports 100
COMMIT
"""
NAT6 = """*nat
:DOCKER - [0:0]
-A DOCKER -d ::1/128 -p tcp -m tcp --dport 3000 -j DNAT --to-destination [fd00::2]:3001
COMMIT
"""
NATIVE = """table ip docker-bridges {
    chain nat-prerouting { type nat hook prerouting priority dstnat;
        fib daddr type local counter jump nat-prerouting-and-output
    }
    chain nat-prerouting-and-output {
        ip daddr 127.0.0.1 tcp dport 18789 counter dnat to 172.30.0.2:18789 comment "DNAT"
        tcp dport 8080 counter dnat to 172.17.0.2:80
    }
}"""


def evidence(listing: object, save4: str = "", save6: str = "") -> HostEvidence:
    def text(output: str) -> dict[str, object]:
        return {"argv": ["x-save"], "status": 0, "lines": output.splitlines()}

    def value(output: object) -> dict[str, object]:
        return {"argv": ["x"], "status": 0, "json": output}

    commands = {
        "nft-ruleset": value(listing),
        "iptables-save": text(save4),
        "ip6tables-save": text(save6),
        "ip-addr": value([{"ifname": "eth0", "addr_info": [{"local": "203.0.113.10", "prefixlen": 24}]}]),
        "docker-networks": value([]),
        "docker-containers": value([]),
    }
    return HostEvidence("alpha", {"schema": 1, "inside": {"schema": 1, "commands": commands}})


def shown(found: Dnat) -> tuple[object, ...]:
    return found.protocol, found.listen, found.port, found.last, found.to_address


def test_iptables_nat_of_both_families_is_read() -> None:
    found = published(evidence({"nftables": []}, NAT4, NAT6))
    assert [shown(one) for one in found] == [
        ("tcp", "127.0.0.1", 18789, 18789, "172.30.0.2"),
        ("udp", None, 5353, 5353, "172.17.0.2"),
        ("tcp", None, 7000, 7010, "172.17.0.3"),
        ("tcp", "::1", 3000, 3000, "fd00::2"),
    ]
    assert found[0].source == "ip nat DOCKER"


def test_docker_s_nftables_backend_is_read_alike(listed: Listed) -> None:
    assert [shown(one) for one in published(evidence(listed(NATIVE)))] == [
        ("tcp", "127.0.0.1", 18789, 18789, "172.30.0.2"),
        ("tcp", None, 8080, 8080, "172.17.0.2"),
    ]
