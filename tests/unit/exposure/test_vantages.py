"""What an outsider and a neighbour saw, and when their silence counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.unit.exposure import worlds

from clawkeep.base.verdict import Unmeasured
from clawkeep.subjects.network.neighbour import Neighbour
from clawkeep.subjects.network.outside import Outside

Change = Callable[[dict[str, Any]], None]
GUARDED = {3000, 18789}


def outside(change: Change | None = None, own: dict[str, Any] | None = None) -> Outside:
    document = worlds.outside()
    if change:
        change(document["facts"])
    return Outside.read(worlds.host(own, outside=document))


def neighbour(change: Change | None = None, own: dict[str, Any] | None = None) -> Neighbour:
    document = worlds.neighbour()
    if change:
        change(document["facts"])
    return Neighbour.read(worlds.host(own, neighbour=document))


def opened(port: int, protocol: str = "tcp") -> Change:
    return lambda facts: facts[protocol]["203.0.113.10"]["ports"].update({str(port): "open"})


def test_the_good_world_is_good() -> None:
    good = outside()
    assert good.answering_beyond([], []) == good.answering(GUARDED) == good.unexplained() == []
    near = neighbour()
    assert near.answering(GUARDED) == near.reached_loopback() == near.reached_containers() == []


@pytest.mark.parametrize(("port", "protocol"), [(8080, "tcp"), (5353, "udp")])
def test_whatever_answers_is_told(port: int, protocol: str) -> None:
    found = outside(opened(port, protocol)).answering_beyond([], [])
    assert found == [f"203.0.113.10:{port}/{protocol} answers outside and is not listed for it"]


@pytest.mark.parametrize(
    ("ingress", "admins", "listed"),
    [
        ([], [], False),
        ([], ["203.0.113.0/24"], True),  # this vantage sits in an administrators' network
        ([], ["198.51.100.0/24"], False),
        ([{"port": 22, "proto": "tcp", "from": "any"}], [], True),
        ([{"port": 22, "proto": "udp", "from": "any"}], [], False),
        ([{"port": 22, "proto": "tcp", "from": "admin"}], [], False),
        ([{"port": 22, "proto": "tcp", "from": "vpn"}], [], False),
    ],
)
def test_ssh_is_listed_for_whom_it_is_listed(ingress: list[Mapping[str, Any]], admins: list[str], listed: bool) -> None:
    assert (outside(opened(22)).answering_beyond(ingress, admins) == []) is listed


def test_a_gateway_port_is_told_with_what_it_said() -> None:
    def change(facts: dict[str, Any]) -> None:
        opened(3000)(facts)
        facts["healthz"]["203.0.113.10:3000"] = "HTTP 200"

    assert outside(change).answering(GUARDED) == ["203.0.113.10:3000 answers outside (GET /healthz: HTTP 200)"]


def test_an_answer_that_no_socket_gives_is_told() -> None:
    assert outside(opened(22)).unexplained() == []
    assert len(outside(opened(8080)).unexplained()) == 1


def test_a_scanner_that_sees_nothing_anywhere_proves_nothing() -> None:
    with pytest.raises(Unmeasured, match="did not see the site's public endpoint"):
        outside(lambda facts: facts["control"]["ipv4"].update(state="filtered")).answering_beyond([], [])


def test_a_site_without_an_endpoint_proves_nothing() -> None:
    with pytest.raises(Unmeasured, match="did not see the site's public endpoint"):
        outside(lambda facts: facts["control"].clear()).answering(GUARDED)


@pytest.mark.parametrize("arrived", [0, 129_000])
def test_probes_that_never_arrived_prove_nothing(arrived: int) -> None:
    def change(facts: dict[str, Any]) -> None:
        facts["counters"]["after"] = worlds.counters(input_drop=110 + arrived)

    with pytest.raises(Unmeasured, match=f"{131_070 - arrived} probes from outside never reached the host"):
        outside(change).answering_beyond([], [])


def test_a_violation_needs_no_counters() -> None:
    def change(facts: dict[str, Any]) -> None:
        opened(8080)(facts)
        del facts["counters"]

    assert len(outside(change).answering_beyond([], [])) == 1
    with pytest.raises(Unmeasured, match="no counter input_drop"):
        outside(lambda facts: facts.pop("counters")).answering_beyond([], [])


def test_resets_prove_the_path_by_themselves() -> None:
    def change(facts: dict[str, Any]) -> None:
        facts["tcp"]["203.0.113.10"]["states"] = {"closed": 65535}
        del facts["counters"]

    assert outside(change).answering_beyond([], []) == []


def test_an_address_that_is_not_the_hosts_is_unmeasured() -> None:
    def change(facts: dict[str, Any]) -> None:
        facts["not-scanned"]["203.0.113.99"] = "not scanned: 203.0.113.99 is not an address of the host"

    with pytest.raises(Unmeasured, match=r"203\.0\.113\.99 is not an address of the host"):
        outside(change).answering_beyond([], [])


def test_a_public_address_that_nobody_scanned_is_unmeasured() -> None:
    own = worlds.inside()
    own["commands"]["ip-addr"]["json"][1]["addr_info"].append({"local": "2001:db8:113::10", "prefixlen": 64})
    with pytest.raises(Unmeasured, match="2001:db8:113::10, which was not scanned"):
        outside(own=own).answering_beyond([], [])


def test_a_port_that_nobody_probed_is_unmeasured() -> None:
    with pytest.raises(Unmeasured, match="port 6080 of"):
        neighbour().answering({*GUARDED, 6080})


@pytest.mark.parametrize("outcome", ["answered", "reset"])
def test_what_only_misrouting_reaches_is_told(outcome: str) -> None:
    def change(facts: dict[str, Any]) -> None:
        for frame in facts["frames"]:
            frame["outcome"] = outcome

    world = neighbour(change)
    assert len(world.reached_loopback()) == 2
    assert len(world.reached_containers()) == 1


def test_packets_that_nobody_would_answer_prove_nothing() -> None:
    world = neighbour(lambda facts: facts["instrument"]["ipv4"].update(outcome="silent"))
    with pytest.raises(Unmeasured, match="get no answer from the public endpoint"):
        world.reached_loopback()


def test_packets_that_the_guard_never_counted_prove_nothing() -> None:
    """Of the three targets the IPv6 loopback is not counted: the kernel drops it before any firewall."""

    def change(facts: dict[str, Any]) -> None:
        facts["counters"]["after"] = worlds.counters(input_drop=131_090, guard_drop=3)

    with pytest.raises(Unmeasured, match="sent 4 packets that got no answer, but guard_drop grew by 3"):
        neighbour(change).reached_containers()


def test_a_container_that_is_silent_to_the_host_proves_nothing() -> None:
    own = worlds.inside()
    own["facts"]["reach"]["host"][-1]["outcome"] = "timeout"
    with pytest.raises(Unmeasured, match=r"172\.30\.0\.2:18789 does not answer the host itself"):
        neighbour(own=own).reached_containers()


def test_a_dead_gateway_proves_nothing_to_a_neighbour() -> None:
    own = worlds.inside()
    own["facts"]["reach"]["host"][0]["outcome"] = "refused"
    own["facts"]["reach"]["host"][0]["detail"] = ""
    with pytest.raises(Unmeasured, match="does not answer 200"):
        neighbour(own=own).reached_loopback()
