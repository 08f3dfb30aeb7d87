"""Worlds in which a promise of the packet filter is broken, and the sentence that says so.

Each change is one that happened on real hosts: an accept too early, one family or interface
forgotten, a state too many.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from clawkeep.netfilter.model import RuleTables
from clawkeep.subjects.network.openings import Declared, declared
from clawkeep.subjects.network.ruleset import Ruleset

if TYPE_CHECKING:
    from clawkeep.subjects.network.topology import Topology

    from .conftest import Judged

ADMINS = ("192.0.2.0/24", "2001:db8:ad::/64")
EXPECTED: Declared = declared([], ADMINS)
METADATA = tuple(ip_address(text) for text in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254"))
INPUT = "ct state established,related accept\n        ct state invalid drop"
FORWARD = "ct state established,related accept\n        iifname @agent_bridges accept"
OUTPUT = 'ip daddr @metadata4 limit rate 6/minute log prefix "clawkeep-output "\n'


def added(before: str, rule: str) -> tuple[str, str]:
    """The change that puts `rule` in front of a rule."""
    return before, f"{rule}\n        {before}"


def test_the_good_policy_keeps_every_promise(judged: Judged) -> None:
    ruleset = judged()
    assert ruleset.accepted_unasked(EXPECTED) == []
    assert ruleset.refused_administrators(EXPECTED) == []
    assert ruleset.guard_gaps() == []
    assert ruleset.forwarded_to_containers() == []
    assert ruleset.metadata_from_host(METADATA, [], []) == []


# --- NET-06 --------------------------------------------------------------------------------------------------------

UNASKED = {
    "accept everything first": added(INPUT, "accept"),
    "policy accept": ("priority filter; policy drop;", "priority filter; policy accept;"),
    "one port": added(INPUT, "tcp dport 8080 accept"),
    "one udp port": added(INPUT, "udp dport 5353 accept"),
    "IPv6 only": added(INPUT, "meta nfproto ipv6 tcp dport 3000 accept"),
    "new among the established": (INPUT, INPUT.replace("established,related", "established,related,new")),
    "a NIC nobody thought of": added(INPUT, 'iifname "eth1" accept'),
    "the next VPN": added(INPUT, 'iifname "wg*" accept'),
    "the agent's bridge": added(INPUT, "iifname @agent_bridges tcp dport 53 accept"),
    "a whole private network": added(INPUT, "ip saddr 192.168.0.0/16 accept"),
    "one stranger": added(INPUT, "ip saddr 198.51.100.200 tcp dport 22 accept"),
    "a source port": added(INPUT, "udp sport 53 accept"),
    "not only syn": added(INPUT, "tcp flags ! syn accept"),
    "invalid": (INPUT, INPUT.replace("invalid drop", "invalid accept")),
    "ssh for all": ("ip saddr @admin4 tcp dport 22 accept", "tcp dport 22 accept"),
    "wider administrators": ("elements = { 192.0.2.0/24 }", "elements = { 192.0.0.0/16 }"),
    "administrators and their neighbours": ("elements = { 192.0.2.0/24 }", "elements = { 192.0.2.0/23 }"),
    "the port beside ssh": ("ip saddr @admin4 tcp dport 22 accept", "ip saddr @admin4 tcp dport 22-23 accept"),
    "more ICMP than errors": (
        "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
        "icmp type { destination-unreachable, redirect, time-exceeded, parameter-problem }",
    ),
    "more than DHCP": ("udp sport 67 udp dport 68", "udp sport 67 udp dport 68-70"),
    "one address of ours": added(INPUT, "ip daddr 192.168.77.10 tcp dport 3000 accept"),
    "a concatenation": added(INPUT, "iifname . ip saddr . tcp dport { eth0 . 198.51.100.9 . 3000 } accept"),
    "a verdict map": added(INPUT, "tcp dport vmap { 22 : accept, 3000 : accept }"),
    "behind a rate limit": added(INPUT, "tcp dport 3000 limit rate 5/second accept"),
    "any ping": added(INPUT, "icmp type echo-request accept"),
    "router advertisements from afar": added(INPUT, "icmpv6 type nd-router-advert accept"),
    "another protocol": added(INPUT, "meta l4proto gre accept"),
    "multicast": added(INPUT, "ip daddr 224.0.0.0/4 accept"),
    "anything but": added(INPUT, "tcp dport != { 3000, 18789 } accept"),
    "a subchain": ("chain guard {", "chain open { tcp dport 3000 accept\n }\n chain guard {"),
}


BLAMED = {  # where the change is not the rule itself
    "wider administrators": "ip saddr @admin4 tcp dport 22 accept",
    "administrators and their neighbours": "ip saddr @admin4 tcp dport 22 accept",
    "more ICMP than errors": "icmp type { destination-unreachable, redirect, time-exceeded, parameter-problem } accept",
    "more than DHCP": "meta nfproto ipv4 udp sport 67 udp dport 68-70 accept",
    "a subchain": "tcp dport 3000 accept",
}


def blames(sentence: str, change: str) -> bool:
    """Whether the sentence names the rule, or the policy, that the change put there."""
    reason = sentence.partition("let through by inet clawkeep ")[2]
    if "policy accept" in change:
        return reason.endswith(", policy accept")
    rule = reason.partition("`")[2].removesuffix("`")
    return rule != "" and rule in " ".join(change.replace('"', "").split())


@pytest.mark.parametrize("name", UNASKED)
def test_input_that_lets_something_in_is_found(judged: Judged, name: str) -> None:
    changes = [UNASKED[name]]
    if name == "a subchain":
        changes.append(added(INPUT, "jump open"))
    found = judged(*changes).accepted_unasked(EXPECTED)
    assert found != []
    assert [one for one in found if not blames(one, BLAMED.get(name, UNASKED[name][1]))] == []
    assert [one for one in found if "reaches the host unasked" not in one] == []


def test_the_sentence_names_packet_family_and_rule(judged: Judged) -> None:
    found = judged(added(INPUT, 'iifname "eth1" meta nfproto ipv6 tcp dport 3000 accept')).accepted_unasked(EXPECTED)
    assert len(found) == 1
    assert found[0].startswith("IPv6: new tcp ")
    assert "]:3000 arriving on eth1 reaches the host unasked" in found[0]
    assert "let through by inet clawkeep input, handle " in found[0]
    assert found[0].endswith("`iifname eth1 meta nfproto ipv6 tcp dport 3000 accept`")


def test_without_any_table_everything_is_open(topology: Topology) -> None:
    bare = Ruleset(RuleTables(()), RuleTables(()), topology)
    unasked = bare.accepted_unasked(EXPECTED)
    assert [sentence[:4] for sentence in unasked] == ["IPv4", "IPv6"]
    assert len(bare.guard_gaps()) == 1
    assert len(bare.forwarded_to_containers()) == 2
    assert len(bare.metadata_from_host(METADATA, [], [])) == 2
    assert all("the absence of any chain at the hook input" in sentence for sentence in unasked)


def test_a_drop_of_another_table_counts_and_an_accept_does_not(judged: Judged) -> None:
    other = "table ip {} {{ chain c {{ type filter hook input priority 10; policy {};\n {}\n }}\n}}\n"
    assert judged(also=other.format("extra", "accept", "accept")).accepted_unasked(EXPECTED) == []
    only4 = added(INPUT, "tcp dport 3000 accept")
    closed = judged(only4, also=other.format("extra", "accept", "tcp dport 3000 drop")).accepted_unasked(EXPECTED)
    assert [sentence[:4] for sentence in closed] == ["IPv6"]


def test_docker_s_own_tables_do_not_count(judged: Judged) -> None:
    docker = "table ip docker-bridges { chain c { type filter hook input priority 0; policy drop;\n }\n}\n"
    open_ = ("priority filter; policy drop;", "priority filter; policy accept;")
    found = judged(open_, also=docker).accepted_unasked(EXPECTED)
    assert [sentence[:4] for sentence in found] == ["IPv4", "IPv6"]
    assert all("let through by inet clawkeep input, policy accept" in sentence for sentence in found)


def test_administrators_that_nobody_lets_in_are_a_finding(judged: Judged) -> None:
    shut = ("ip6 saddr @admin6 tcp dport 22 accept", "ip6 saddr @admin6 tcp dport 2222 accept")
    (sentence,) = judged(shut).refused_administrators(EXPECTED)
    assert "2001:db8:ad::/64" in sentence


def test_declared_ports_are_expected(judged: Judged) -> None:
    opened = judged(added(INPUT, "udp dport 51820 accept"))
    assert opened.accepted_unasked(declared([{"port": 51820, "proto": "udp", "from": "any"}], ADMINS)) == []
    for expected in (EXPECTED, declared([{"port": 51820, "proto": "udp", "from": "admin"}], ADMINS)):
        found = opened.accepted_unasked(expected)
        assert [sentence[:4] for sentence in found] == ["IPv4", "IPv6"]
        assert all("`udp dport 51820 accept`" in sentence for sentence in found)


def test_a_source_that_nobody_can_check_is_refused() -> None:
    with pytest.raises(ValueError, match="moon"):
        declared([{"port": 1, "proto": "tcp", "from": "moon"}], ADMINS)


# --- NET-05 --------------------------------------------------------------------------------------------------------

LOOPBACK = "ip daddr 127.0.0.0/8 counter"
SUBNET4 = "iifname != @agent_bridges ip daddr @agent_subnets4"
SUBNET6 = "iifname != @agent_bridges ip6 daddr @agent_subnets6 counter name guard_drop drop"
UNGUARDED = {
    "no loopback rule": (f"{LOOPBACK} name guard_drop drop", ""),
    "one address of 127/8": (LOOPBACK, "ip daddr 127.0.0.1 counter"),
    "one NIC of two": (LOOPBACK, 'iifname "eth0" ip daddr 127.0.0.0/8 counter'),
    "IPv6 forgotten": (SUBNET6, ""),
    "half of the subnet": ("172.30.0.0/24", "172.30.0.0/25"),
    "too late": ("priority raw", "priority dstnat"),
    "behind an accept": added('iifname "lo" accept', 'iifname "eth1" accept'),
    "tcp only": (SUBNET4, f"{SUBNET4} tcp dport 18789"),
    "only what is new": (SUBNET4, f"ct state new {SUBNET4}"),
    "another bridge too": ('{ "clawkeep0" }', '{ "clawkeep0", "docker0" }'),
}


GAPS = {  # the family, and what gets past
    "no loopback rule": ("IPv4", "-> 127.0.0.1:3000 arriving on eth0 "),
    "one address of 127/8": ("IPv4", "-> 127.0.0.0:3000 arriving on eth0 "),
    "one NIC of two": ("IPv4", "-> 127.0.0.1:3000 arriving on eth1 "),
    "IPv6 forgotten": ("IPv6", "-> [fd5e:c1a0:30::2]:3000 arriving on eth0 "),
    "half of the subnet": ("IPv4", "-> 172.30.0.128:3000 arriving on eth0 "),
    "too late": ("IPv4", "let through by the absence of any chain at the hook prerouting"),
    "behind an accept": (
        "IPv4",
        "-> 127.0.0.1:3000 arriving on eth1 gets past the guard, let through by inet clawkeep",
    ),
    "tcp only": ("IPv4", "-> 172.30.0.2:3000 arriving on eth0 "),
    "only what is new": ("IPv4", "-> 172.30.0.2:3000 arriving on eth0 "),
    "another bridge too": ("IPv4 IPv6", ":3000 arriving on docker0 "),
}


@pytest.mark.parametrize("name", UNGUARDED)
def test_a_gap_of_the_guard_is_found(judged: Judged, name: str) -> None:
    families, words = GAPS[name]
    found = judged(UNGUARDED[name]).guard_gaps()
    assert [sentence[:4] for sentence in found] == families.split()
    assert all(words in sentence for sentence in found)


def test_the_guard_is_judged_by_what_it_drops_and_not_by_how(judged: Judged) -> None:
    rewritten = (LOOPBACK, "ip daddr 127.0.0.0-127.127.255.255 drop\n ip daddr 127.128.0.0/9 counter")
    assert judged(rewritten).guard_gaps() == []


# --- NET-07 --------------------------------------------------------------------------------------------------------

FORWARDED = {
    "policy accept": ("priority filter - 5; policy drop;", "priority filter - 5; policy accept;"),
    "the default NIC alone": (
        "iifname @agent_bridges accept",
        'iifname @agent_bridges accept\n iifname "eth0" drop\n accept',
    ),
    "new among the established": (FORWARD, FORWARD.replace("established,related", "established,related,new")),
    "dnat is trusted": added(FORWARD, "ct status dnat accept"),
    "a port, by what was asked": added(FORWARD, "meta l4proto tcp ct original proto-dst 3000 accept"),
    "IPv6 only": added(FORWARD, 'meta nfproto ipv6 oifname "clawkeep0" accept'),
    "between bridges": added(FORWARD, 'iifname "docker0" accept'),
    "a network that is to come": added(FORWARD, 'oifname "br-*" accept'),
    "the VPN": added(FORWARD, 'iifname "wg0" accept'),
    "one container": added(FORWARD, "ip daddr 172.30.0.9 accept"),
    "untracked and invalid": added(FORWARD, "ct state invalid accept"),
}


@pytest.mark.parametrize("change", FORWARDED.values(), ids=list(FORWARDED))
def test_a_way_to_containers_is_found(judged: Judged, change: tuple[str, str]) -> None:
    found = judged(change).forwarded_to_containers()
    assert found != []
    assert [sentence for sentence in found if not blames(sentence, change[1])] == []
    assert [sentence for sentence in found if "is forwarded to containers" not in sentence] == []


def test_without_a_forward_chain_the_absence_is_named(judged: Judged) -> None:
    gone = judged(("type filter hook forward", "type filter hook postrouting"))
    found = gone.forwarded_to_containers()
    assert [sentence[:4] for sentence in found] == ["IPv4", "IPv6"]
    assert all("let through by the absence of any chain at the hook forward" in sentence for sentence in found)


# --- IMD-02 --------------------------------------------------------------------------------------------------------

LEAKS = {
    "flushed": ("ip daddr @metadata4 counter name metadata_output_drop drop", ""),
    "appended after an accept": added(OUTPUT, 'oifname "eth0" accept'),
    "an exemption of the agent": added(OUTPUT, "meta skuid 1000 accept"),
    "all but some users": (
        "ip daddr @metadata4 counter name metadata_output_drop drop",
        "meta skuid { 0, 65534 } ip daddr @metadata4 counter name metadata_output_drop drop",
    ),
    "IPv6 forgotten": ("ip6 daddr @metadata6 counter name metadata_output_drop drop\n    }\n}", "}\n}"),
    "/32 instead of /16": ("169.254.0.0/16", "169.254.169.254"),
    "port 80 alone": ("ip daddr @metadata4 counter", "ip daddr @metadata4 tcp dport 80 counter"),
    "a rate limit": ("ip daddr @metadata4 counter", "ip daddr @metadata4 limit rate over 5/second counter"),
}


TOLD = {  # the families, and what leaves how
    "flushed": ("IPv4", "-> 169.254.169.254:3000 "),
    "appended after an accept": ("IPv4 IPv6", "`oifname eth0 accept`"),
    "an exemption of the agent": ("IPv4 IPv6", " sent by uid 1000 "),
    "all but some users": ("IPv4", "-> 169.254.169.254:3000 "),
    "IPv6 forgotten": ("IPv6", "-> [fd00:ec2::254]:3000 "),
    "/32 instead of /16": ("IPv4", "-> 169.254.170.2:3000 "),
    "port 80 alone": ("IPv4", "-> 169.254.169.254:3000 "),
    "a rate limit": ("IPv4", "-> 169.254.169.254:3000 "),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_way_to_metadata_is_found(judged: Judged, name: str) -> None:
    families, words = TOLD[name]
    found = judged(LEAKS[name]).metadata_from_host(METADATA, [], [])
    assert [sentence[:4] for sentence in found] == families.split()
    assert all(words in sentence and "leaves for the metadata service" in sentence for sentence in found)


def test_a_declared_exemption_covers_that_user_alone(judged: Judged) -> None:
    ruleset = judged(added(OUTPUT, "meta skuid 0 accept"))
    assert ruleset.metadata_from_host(METADATA, [0], []) == []
    assert all(" sent by uid 0 " in sentence for sentence in ruleset.metadata_from_host(METADATA, [1000], []))
    assert len(ruleset.metadata_from_host(METADATA, [1000], [])) == 2
    wider = judged(added(OUTPUT, "meta skuid 0-1000 accept")).metadata_from_host(METADATA, [0], [])
    assert len(wider) == 2
    assert not any(" sent by uid 0 " in sentence for sentence in wider)


def test_names_may_be_asked_of_a_resolver_among_the_metadata(judged: Judged) -> None:
    ruleset = judged(added(OUTPUT, "ip daddr 169.254.169.254 meta l4proto { tcp, udp } th dport 53 accept"))
    assert ruleset.metadata_from_host(METADATA, [], [ip_address("169.254.169.254")]) == []
    wider = judged(added(OUTPUT, "ip daddr 169.254.169.254 meta l4proto { tcp, udp } th dport 53-80 accept"))
    (sentence,) = wider.metadata_from_host(METADATA, [], [ip_address("169.254.169.254")])
    assert "-> 169.254.169.254:53 " not in sentence
    (sentence,) = ruleset.metadata_from_host(METADATA, [], [])
    assert "-> 169.254.169.254:53 " in sentence
