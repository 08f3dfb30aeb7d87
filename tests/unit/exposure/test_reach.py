"""What agent containers reach, and when their silence counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.exposure import worlds

from clawkeep.base.verdict import Unmeasured
from clawkeep.subjects.network.reach import Reach

Change = Callable[[dict[str, Any]], None]


def reach(change: Change | None = None) -> Reach:
    own = worlds.inside()
    if change:
        change(own)
    return Reach.read(worlds.host(own))


def agent(own: dict[str, Any]) -> dict[str, Any]:
    return own["facts"]["reach"]["containers"][0]  # type: ignore[no-any-return]


def ending(target: str, outcome: str, **more: Any) -> Change:
    """The agent's probes of `target` end otherwise."""

    def change(own: dict[str, Any]) -> None:
        for probe in agent(own)["probes"]:
            if probe["target"] == target:
                probe.update(outcome=outcome, **more)

    return change


def counted(**packets: int) -> Change:
    def change(own: dict[str, Any]) -> None:
        own["commands"]["reach-counters-after"]["json"] = worlds.counters(**packets)

    return change


def test_the_good_world_is_good() -> None:
    good = reach()
    good.require_gateway()
    assert good.metadata_answers() == good.other_metadata_answers() == []
    assert good.private_answers() == good.host_answers() == good.sibling_answers() == []


@pytest.mark.parametrize("outcome", ["open", "refused"])
def test_an_answer_is_told_whatever_it_says(outcome: str) -> None:
    found = reach(ending("169.254.169.254:80", outcome)).metadata_answers()
    assert [sentence.split()[3] for sentence in found] == ["GET", "PUT"]


def test_a_violation_needs_no_control_experiment() -> None:
    def change(own: dict[str, Any]) -> None:
        ending("169.254.169.254:80", "open")(own)
        ending("198.51.100.10:80", "timeout")(own)
        del own["commands"]["reach-counters-after"]

    assert len(reach(change).metadata_answers()) == 2


def test_other_endpoints_are_other_endpoints() -> None:
    world = reach(ending("169.254.170.2:80", "open", detail="HTTP 401"))
    assert world.other_metadata_answers() == ["container openclaw reaches 169.254.170.2:80 open: HTTP 401"]
    assert world.metadata_answers() == []


def test_a_packet_that_a_far_router_refused_was_let_through() -> None:
    found = reach(ending("100.77.213.9:9", "unreachable")).private_answers()
    assert found == [
        "container openclaw's packet to 100.77.213.9:9 left the host: a router beyond it answered unreachable"
    ]


def test_without_a_way_out_silence_proves_nothing() -> None:
    world = reach(ending("198.51.100.10:80", "timeout"))
    for ask in (world.metadata_answers, world.other_metadata_answers, world.private_answers, world.host_answers):
        with pytest.raises(Unmeasured, match="reaches no public control endpoint"):
            ask()


def test_without_the_counters_growth_silence_proves_nothing() -> None:
    world = reach(counted(metadata_forward_drop=12, private_forward_drop=9))
    with pytest.raises(Unmeasured, match="8 packets got no answer, yet metadata_forward_drop grew by 7"):
        world.metadata_answers()
    assert world.private_answers() == []


def test_without_the_counter_silence_proves_nothing() -> None:
    with pytest.raises(Unmeasured, match="no counter metadata_forward_drop"):
        reach(counted(private_forward_drop=9)).metadata_answers()


def test_a_ruleset_loaded_in_between_proves_nothing() -> None:
    with pytest.raises(Unmeasured, match="was reset"):
        reach(counted(metadata_forward_drop=0, private_forward_drop=0)).metadata_answers()


def test_a_family_without_a_route_sends_nothing_that_could_be_counted() -> None:
    def change(own: dict[str, Any]) -> None:
        for probe in agent(own)["probes"]:
            if probe["group"] != "public":
                probe.update(outcome="noroute", sent=0)

    with pytest.raises(Unmeasured, match="not one packet"):
        reach(change).metadata_answers()


@pytest.mark.parametrize(("target", "ask"), [("192.168.77.51:80", "private"), ("172.30.0.1:22", "host")])
def test_a_target_that_is_silent_to_the_host_too_proves_nothing(target: str, ask: str) -> None:
    def change(own: dict[str, Any]) -> None:
        for probe in own["facts"]["reach"]["host"]:
            if probe["target"] == target:
                probe["outcome"] = "timeout"

    with pytest.raises(Unmeasured, match=target):
        getattr(reach(change), f"{ask}_answers")()


def test_another_container_that_answers_is_told() -> None:
    def change(own: dict[str, Any]) -> None:
        agent(own)["probes"].append(worlds.probe("sibling", "172.17.0.2:80", "refused", label="web"))

    assert reach(change).sibling_answers() == ["container openclaw reaches 172.17.0.2:80 (web) refused"]


def test_an_agent_in_the_hosts_network_is_a_violation_of_its_own() -> None:
    def change(own: dict[str, Any]) -> None:
        agent(own).update(host_network=True, probes=[])

    world = reach(change)
    for ask in (world.metadata_answers, world.private_answers, world.host_answers, world.sibling_answers):
        assert len(ask()) == 1


def test_no_agent_container_is_unmeasured() -> None:
    with pytest.raises(Unmeasured, match="no agent container runs"):
        reach(lambda own: agent(own).update(agent=False))


def test_a_dead_gateway_is_unmeasured() -> None:
    def change(own: dict[str, Any]) -> None:
        own["facts"]["reach"]["host"][0]["detail"] = "HTTP 503"

    with pytest.raises(Unmeasured, match="HTTP 503"):
        reach(change).require_gateway()
