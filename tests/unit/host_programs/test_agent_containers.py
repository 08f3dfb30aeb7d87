"""The agent's containers: found by label from the engine's list, and stopped one by one, whatever one of them does."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import pytest

from clawkeep_host import agent_containers, engine_api
from clawkeep_host.agent_containers import Container, containers, end, freeze, inspect, set_restart_policy, unlabelled
from clawkeep_host.engine_api import EngineError

from .engine import SILENCE, Engine, Fake, refusal

ONE = Container("a" * 64, "openclaw", "agent", "running", ("clawkeep0",))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine([], Fake("openclaw", "a" * 64))
    monkeypatch.setattr(engine_api, "ask", made.ask)
    return made


def test_containers_are_found_by_the_role_on_their_label(engine: Engine) -> None:
    engine.containers += [
        Fake("task", "b" * 64, state="exited", role="task"),
        Fake("check", "c" * 64, role="check"),
    ]
    assert containers(["agent", "task"]) == [ONE, Container("b" * 64, "task", "task", "exited", ("clawkeep0",))]
    (asked,) = engine.asked
    assert asked[:3] == ("GET", asked[1], 20.0)
    path, _, query = asked[1].partition("?")
    assert path == "/containers/json"
    assert urllib.parse.parse_qs(query) == {"all": ["true"], "filters": [json.dumps({"label": ["clawkeep.role"]})]}


def test_every_labelled_container_is_one_when_no_role_is_known(engine: Engine) -> None:
    engine.containers += [Fake("check", "c" * 64, role="check")]
    assert [one.name for one in containers([])] == ["openclaw", "check"]


def test_a_row_without_a_name_or_a_label_or_a_state_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    odd: list[dict[str, Any]] = [
        {"Id": "c" * 64, "Names": None, "Labels": None},
        {"Id": "d" * 64, "Labels": {"clawkeep.role": "agent"}},
        {"Id": "e" * 64, "Names": ["/web/alias", "/linked"], "Labels": {"clawkeep.role": "agent"}, "State": "dead"},
    ]
    monkeypatch.setattr(engine_api, "ask", lambda *_, **__: json.dumps(odd).encode())
    assert containers(["agent"]) == [
        Container("d" * 64, "d" * 12, "agent", ""),
        Container("e" * 64, "linked", "agent", "dead"),
    ]


def by_hand(name: str = "mine", **changed: Any) -> Fake:
    """What somebody started with `docker run`."""
    given: dict[str, Any] = {"role": None, "image": f"sha256:{name}", "environment": ["OPENCLAW_PROFILE=x"]}
    return Fake(name, name[0] * 64, **{**given, **changed})


def test_an_agent_without_the_label_is_found_by_what_it_is(engine: Engine) -> None:
    engine.containers += [
        by_hand(),
        by_hand("web", environment=["HOME=/"]),
        by_hand("twin", environment=None, image="sha256:agent", state="exited"),
        by_hand("check", role="check", image="sha256:agent", network="none"),
        by_hand("other", role="other"),
    ]
    mine, twin = (
        Container("m" * 64, "mine", "", "running", ("clawkeep0",)),
        Container("t" * 64, "twin", "", "exited", ("clawkeep0",)),
    )
    other = Container("o" * 64, "other", "other", "running", ("clawkeep0",))
    assert unlabelled(["agent"], lambda: 7) == ([mine, twin, other], [])
    assert unlabelled([]) == ([mine, twin], [])
    assert engine.asked[0] == ("GET", "/containers/json?all=true", 7, engine_api.LIMIT)
    assert {asked[2] for asked in engine.asked[:7]} == {7}
    assert {asked[2] for asked in engine.asked[7:]} == {20}


def test_one_that_cannot_be_looked_at_costs_no_other_and_is_named(engine: Engine) -> None:
    engine.containers += [by_hand("odd"), by_hand("gone"), by_hand(), by_hand("broken")]
    engine.trouble |= {
        "json odd": SILENCE,
        "json gone": refusal(404),
        "json openclaw": refusal(500),  # it has the label, so it is known
        "json broken": KeyError("State"),
    }
    assert unlabelled(["agent"]) == ([Container("m" * 64, "mine", "", "running", ("clawkeep0",))], ["odd", "broken"])
    engine.trouble["list"] = SILENCE
    with pytest.raises(EngineError):
        unlabelled(["agent"])


@pytest.mark.parametrize(
    ("state", "running"),
    [
        ("running", True),
        ("paused", True),
        ("restarting", True),
        ("", True),
        ("anything", True),
        ("created", False),
        ("exited", False),
        ("dead", False),
        ("removing", False),
    ],
)
def test_a_container_runs_unless_it_surely_does_not(state: str, running: bool) -> None:
    assert Container("a", "x", "agent", state).running is running


# --- a look -----------------------------------------------------------------------------------------------------


def test_a_look_takes_the_values_of_variables_out(engine: Engine) -> None:
    seen = inspect(ONE, 7)
    assert seen
    assert seen.settings["Config"]["Env"] == ["HOME", "MODEL_API_KEY"]
    assert seen.environment == ("HOME", "MODEL_API_KEY")
    assert seen.settings["Id"] == "a" * 64
    assert seen.restart == {"Name": "on-failure", "MaximumRetryCount": 5}
    assert seen.passing is False
    assert engine.asked[0][:3] == ("GET", f"/containers/{'a' * 64}/json", 7)


def test_a_container_without_variables_or_policy_is_looked_at(engine: Engine) -> None:
    (one,) = engine.containers
    one.environment, one.restart, one.passing = None, {}, True
    seen = inspect(ONE)
    assert seen
    assert (seen.environment, seen.restart, seen.passing) == ((), {}, True)
    assert engine.asked[0][2] == 20.0


@pytest.mark.parametrize(("name", "restarts"), [("no", False), ("", False), (None, False), ("always", True)])
def test_a_policy_restarts_unless_it_says_no(engine: Engine, name: str | None, restarts: bool) -> None:
    (one,) = engine.containers
    one.restart = {} if name is None else {"Name": name}
    seen = inspect(ONE)
    assert seen
    assert seen.restarts is restarts


def test_a_container_that_is_gone_is_none_and_any_other_refusal_is_told(engine: Engine) -> None:
    engine.trouble["json"] = refusal(404)
    assert inspect(ONE) is None
    for trouble in (refusal(500), SILENCE):
        engine.trouble["json"] = trouble
        with pytest.raises(EngineError):
            inspect(ONE)


# --- acts -------------------------------------------------------------------------------------------------------


def with_state(state: str) -> Container:
    return Container("a" * 64, "openclaw", "agent", state)


@pytest.mark.parametrize("state", ["running", ""])
def test_what_runs_is_frozen(engine: Engine, state: str) -> None:
    freeze(with_state(state), 7)
    assert engine.asked == [("POST", f"/containers/{'a' * 64}/pause", 7, engine_api.LIMIT)]


@pytest.mark.parametrize("state", ["paused", "restarting", "created", "exited", "dead", "removing"])
def test_what_does_not_move_is_not_frozen(engine: Engine, state: str) -> None:
    freeze(with_state(state))
    assert engine.asked == []


@pytest.mark.parametrize("state", ["running", "", "paused", "restarting"])
def test_what_has_a_process_is_killed(engine: Engine, state: str) -> None:
    end(with_state(state), 7)
    assert engine.asked == [("POST", f"/containers/{'a' * 64}/kill", 7, engine_api.LIMIT)]


@pytest.mark.parametrize("state", ["created", "exited", "dead", "removing"])
def test_what_has_no_process_is_not_killed(engine: Engine, state: str) -> None:
    end(with_state(state))
    assert engine.asked == []


@pytest.mark.parametrize(("act", "word"), [(freeze, "pause"), (end, "kill")])
def test_a_refusal_about_a_container_that_has_ended_is_no_failure(engine: Engine, act: Any, word: str) -> None:
    """It ended between the list and now: `container ... is not running`."""
    engine.trouble[word] = refusal(409, "is not running")
    engine.containers[0].state = "exited"
    act(ONE, 7)
    assert [asked[2] for asked in engine.asked] == [7, 7]
    engine.containers.clear()
    engine.trouble[word] = refusal(404)
    engine.asked.clear()
    act(ONE)
    assert len(engine.asked) == 1
    engine.trouble[word] = refusal(500)  # and gone when it is looked at
    act(ONE)


@pytest.mark.parametrize(("act", "word"), [(freeze, "pause"), (end, "kill")])
def test_a_refusal_about_a_container_that_runs_is_told(engine: Engine, act: Any, word: str) -> None:
    engine.trouble[word] = refusal(500, "cannot kill")
    with pytest.raises(EngineError, match="cannot kill"):
        act(ONE)
    engine.trouble["json"] = refusal(500, "nor look")  # and nobody knows whether it runs
    with pytest.raises(EngineError, match="cannot kill"):
        act(ONE)


@pytest.mark.parametrize(("act", "word"), [(freeze, "pause"), (end, "kill")])
def test_silence_is_told_at_once(engine: Engine, act: Any, word: str) -> None:
    engine.trouble[word] = SILENCE
    with pytest.raises(EngineError, match="does not answer"):
        act(ONE)
    assert len(engine.asked) == 1  # and not asked once more for as long


def test_a_policy_is_set(engine: Engine) -> None:
    set_restart_policy("a" * 64, {"Name": "always"}, 7)
    assert engine.containers[0].restart == {"Name": "always"}
    assert engine.asked[0][:3] == ("POST", f"/containers/{'a' * 64}/update", 7)
    assert agent_containers.NEVER == {"Name": "no"}


def test_a_container_that_is_gone_needs_no_policy(engine: Engine) -> None:
    set_restart_policy("f" * 64, {"Name": "no"})
    engine.trouble["update"] = refusal(409)
    with pytest.raises(EngineError):
        set_restart_policy("a" * 64, {"Name": "no"})


def test_a_question_about_a_container_has_its_time_and_its_limit(engine: Engine) -> None:
    assert agent_containers.ask(ONE, "logs?tail=5", 7, 3) == b"\1\0\0"
    assert engine.asked == [("GET", f"/containers/{'a' * 64}/logs?tail=5", 7, 3)]


def test_an_odd_id_stays_one_part_of_the_path(engine: Engine) -> None:
    engine.containers[0].id = "../images/x?y"
    end(Container("../images/x?y", "openclaw", "agent", "running"))
    assert engine.asked[0][1] == "/containers/..%2Fimages%2Fx%3Fy/kill"


def test_the_bridges_of_networks_are_those_of_the_bridge_driver(engine: Engine) -> None:
    assert agent_containers.bridges({"molbot_default", "host", "none"}) == ["br-" + "1" * 12]
    assert agent_containers.bridges({"bridge", "molbot_default"}, 3) == ["docker0", "br-" + "1" * 12]
    assert [asked[:3] for asked in engine.asked] == [("GET", "/networks", 20.0), ("GET", "/networks", 3)]
