"""What becomes of a packet in chains, tables and hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from clawkeep.netfilter.model import RuleTables
from clawkeep.netfilter.packet import Packet, Surroundings
from clawkeep.netfilter.travel import End, Traveller

Rules = Callable[[str], RuleTables]

TCP22 = Packet(ip_address("198.51.100.7"), ip_address("203.0.113.10"), dport=22, iif="eth0")
TCP22_6 = Packet(ip_address("2001:db8::7"), ip_address("2001:db8:113::10"), dport=22, iif="eth0")
AROUND = Surroundings(addresses={"eth0": frozenset({ip_address("203.0.113.10")})})


def ends(rules: RuleTables, packet: Packet = TCP22, hook: str = "input") -> list[End]:
    return Traveller(rules, AROUND).through(hook, packet)


def verdicts(rules: RuleTables, packet: Packet = TCP22, hook: str = "input") -> set[str]:
    return {end.verdict for end in ends(rules, packet, hook)}


def base(
    body: str, policy: str = "accept", priority: str = "0", name: str = "c", family: str = "inet", more: str = ""
) -> str:
    hook = f"type filter hook input priority {priority}; policy {policy};"
    return f"table {family} {name} {{ {more}\n chain {name} {{ {hook}\n {body}\n }}\n}}\n"


def test_no_chain_lets_everything_pass(rules: Rules) -> None:
    assert verdicts(rules("")) == {"accept"}


def test_the_policy_decides_what_no_rule_does(rules: Rules) -> None:
    assert verdicts(rules(base("", "drop"))) == {"drop"}


def test_the_first_verdict_counts(rules: Rules) -> None:
    assert verdicts(rules(base("tcp dport 22 accept\ndrop"))) == {"accept"}
    assert verdicts(rules(base("drop\ntcp dport 22 accept"))) == {"drop"}


def test_accept_ends_only_its_own_chain(rules: Rules) -> None:
    early, late = base("accept", priority="-10", name="a"), base("drop", name="b")
    assert verdicts(rules(early + late)) == {"drop"}


def test_drop_is_final_whatever_comes_later(rules: Rules) -> None:
    early, late = base("drop", priority="-10", name="a"), base("accept", name="b")
    assert verdicts(rules(late + early)) == {"drop"}


def test_reject_is_a_drop(rules: Rules) -> None:
    assert verdicts(rules(base("reject"))) == {"drop"}


def test_a_table_of_one_family_does_not_see_the_other(rules: Rules) -> None:
    only4 = rules(base("", "drop", family="ip"))
    assert (verdicts(only4), verdicts(only4, TCP22_6)) == ({"drop"}, {"accept"})


@pytest.mark.parametrize(
    ("call", "target", "expected"),
    [
        ("jump s", "return", "accept"),
        ("jump s", "tcp dport 80 drop", "accept"),
        ("jump s", "drop", "drop"),
        ("goto s", "return", "drop"),
        ("goto s", "tcp dport 22 accept", "accept"),
        ("goto s", "", "drop"),
        ("tcp dport vmap { 22 : jump s, 80 : drop }", "return", "accept"),
        ("tcp dport vmap { 22 : goto s }", "return", "drop"),
        ("tcp dport vmap { 80 : drop }", "", "accept"),
        ("tcp dport vmap { 0-1023 : drop }", "", "drop"),
        ("ct state vmap { established : accept, new : jump s }", "drop", "drop"),
        ("return", "", "drop"),
    ],
)
def test_jumps_come_back_and_gotos_do_not(rules: Rules, call: str, target: str, expected: str) -> None:
    text = base(f"{call}\naccept", "drop", more=f"chain s {{ {target}\n }}")
    assert verdicts(rules(text)) == {expected}


def test_a_named_verdict_map_decides(rules: Rules) -> None:
    map_text = "map m { type inet_service : verdict; elements = { 22 : accept, 80 : drop } }"
    assert verdicts(rules(base("tcp dport vmap @m", "drop", more=map_text))) == {"accept"}


def test_what_cannot_be_told_is_followed_both_ways(rules: Rules) -> None:
    assert verdicts(rules(base("limit rate 1/second drop", "accept"))) == {"accept", "drop"}
    assert verdicts(rules(base("limit rate 1/second drop\nlimit rate 2/second accept\ndrop"))) == {"accept", "drop"}


def test_the_same_end_on_every_way_is_certain(rules: Rules) -> None:
    assert verdicts(rules(base("limit rate 1/second drop", "drop"))) == {"drop"}


def test_marks_are_carried_along(rules: Rules) -> None:
    assert verdicts(rules(base("meta mark set 0x7\nmeta mark 0x7 accept", "drop"))) == {"accept"}


def test_untracked_packets_are_untracked_later(rules: Rules) -> None:
    text = "table inet t { chain p { type filter hook prerouting priority raw; tcp dport 22 notrack\n }\n}"
    after = {end.packet.state for end in ends(rules(text), hook="prerouting")}
    assert after == {"untracked"}


def test_before_connection_tracking_no_packet_is_new(rules: Rules) -> None:
    text = "table inet t {{ chain p {{ type filter hook prerouting priority {}; ct state new drop\n }}\n}}"
    assert verdicts(rules(text.format("raw")), hook="prerouting") == {"accept"}
    assert verdicts(rules(text.format("mangle")), hook="prerouting") == {"drop"}


def test_destination_nat_changes_where_a_packet_goes_and_remembers_what_was_asked(rules: Rules) -> None:
    nat = "type nat hook prerouting priority dstnat; tcp dport 22 dnat to 172.30.0.2:2222"
    (end,) = ends(rules(f"table ip t {{ chain p {{ {nat}\n }}\n}}"), hook="prerouting")
    assert (str(end.packet.daddr), end.packet.dport) == ("172.30.0.2", 2222)
    assert end.packet.originally == (ip_address("203.0.113.10"), 22)
    assert "dnat" in end.packet.status


def test_packets_of_old_connections_meet_no_nat(rules: Rules) -> None:
    text = "table ip t { chain p { type nat hook prerouting priority dstnat; dnat to 172.30.0.2\n }\n}"
    (end,) = ends(rules(text), replace(TCP22, state="established"), "prerouting")
    assert end.packet.daddr == TCP22.daddr


def test_redirect_comes_to_the_host_itself(rules: Rules) -> None:
    text = "table ip t { chain p { type nat hook prerouting priority dstnat; tcp dport 22 redirect to :2222\n }\n}"
    (end,) = ends(rules(text), hook="prerouting")
    assert (str(end.packet.daddr), end.packet.dport) == ("203.0.113.10", 2222)


def test_the_rule_that_decided_is_named(rules: Rules) -> None:
    (end,) = ends(rules(base('iifname "eth0" tcp dport { 22, 80 } counter accept', "drop")))
    assert str(end.sites[-1]).startswith("inet c c, handle ")
    assert str(end.sites[-1]).endswith("`iifname eth0 tcp dport { 22, 80 } counter accept`")


def test_the_policy_that_decided_is_named(rules: Rules) -> None:
    (end,) = ends(rules(base("", "drop")))
    assert str(end.sites[-1]) == "inet c c, policy drop"
