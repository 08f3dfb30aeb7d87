"""LOG-01's and LOG-02's subjects: what is recorded is green, what is missing is red, what was not tried is neither."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.measure.probes import siem
from clawkeep.subjects.logs.agent_records import AgentRecords
from clawkeep.subjects.logs.log_store import LogStore
from clawkeep_host.log import redact as redactor

World = dict[str, Any]

RECORDED: World = {
    **{"runs": ["started", "succeeded"], "agents": ["main"], "identity": True, "prompt": True, "answer": True},
    **{"sessions": 1, "same": True, "tools": {"tool_search": ["started", "succeeded"]}},
    "results": {"tool_search": False, "exec": True},
}
TURN: World = {"agent": "main", "tried": "", "permitted": "tool_search", "refused": "exec", "recorded": RECORDED}
DECIDED: World = {
    name: {
        **{"id": f"clawkeep-{name}", "at": 0.0, "tried": ""},
        "recorded": {"decision": name, "status": status, "source_agent_id": "main", "resolver_kind": "runtime"},
    }
    for name, status in (("allow-once", "allowed"), ("deny", "denied"))
}
GATEWAY: World = {
    **{"name": "openclaw", "tried": "", "skipped": 0, "agents": ["main"], "turns": [TURN], "approvals": DECIDED},
    "settings": {
        **{"audit": True, "identity": True, "messages": "all", "prune-after": None, "reset-after": None},
        "file": "/home/node/.openclaw/logs/gateway.log",
    },
    "http": {"wrong": "401 unauthorized", "tools": {"main": {"exec": "404 not_found", "web_fetch": "404 not_found"}}},
}


def changed(path: str, value: Any) -> AgentRecords:
    """What the good gateway would tell if one of its facts were another."""
    world = copy.deepcopy(GATEWAY)
    *keys, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    place: Any = world
    for key in keys:
        place = place[key]
    place[last] = value
    return records([world])


def records(turns: Any) -> AgentRecords:
    inside = {"schema": 1, "commands": {}, "facts": {"turns": turns}}
    return HostEvidence("h", {"schema": 1, "host": "h", "inside": inside}).subject(AgentRecords)


def prompts(found: AgentRecords) -> list[str]:
    return [*found.unrecorded_words(), *found.short_lived(30)]


def calls(found: AgentRecords) -> list[str]:
    every = [found.switched_off, found.unrecorded_calls, found.unrecorded_decisions, found.open_over_http]
    return [sentence for one in every for sentence in one()]


def test_what_is_recorded_is_green() -> None:
    assert prompts(records([GATEWAY])) + calls(records([GATEWAY])) == []


R = "turns/0/recorded"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (f"{R}/prompt", False, "what was said to main is not in its transcript"),
        (f"{R}/answer", False, "what the model answered main is not in its transcript"),
        (f"{R}/sessions", 2, "scattered"),
        ("settings/prune-after", "1d", "keeps transcripts for 1 days, the tier wants 30"),
        ("settings/prune-after", "719h", "the tier wants 30"),
        ("settings/reset-after", "1w", "resetArchiveRetention"),
    ],
)
def test_missing_words_are_red(path: str, value: Any, said: str) -> None:
    (sentence,) = prompts(changed(path, value))
    assert said in sentence


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("settings/audit", False, "logging.audit.enabled False"),
        ("settings/identity", None, "executionIdentity None"),
        ("settings/messages", "direct", "messages direct"),
        ("settings/file", None, "set logging.file"),
        ("settings/file", "/tmp/openclaw/a.log", "set logging.file"),  # noqa: S108 - what is refused
        (f"{R}/runs", [], "does not tell of a run"),
        (f"{R}/runs", ["started"], "does not tell of a run"),
        (f"{R}/agents", ["other"], "was its own"),
        (f"{R}/same", False, "another session"),
        (f"{R}/identity", False, "nothing tells who caused"),
        (f"{R}/tools", {}, "called tool_search and how it ended"),
        (f"{R}/tools/tool_search", ["started"], "called tool_search and how it ended"),
        (f"{R}/results", {"tool_search": False}, "called exec and was refused"),
        (f"{R}/results/exec", False, "was not refused"),
        ("approvals/deny/recorded", None, "the decision deny of a moment ago is not recorded"),
        ("approvals/deny/recorded/decision", "allow-once", "recorded as allow-once"),
        ("approvals/allow-once/recorded/resolver_kind", None, "by whom"),
        ("http/tools/main/web_fetch", "400 tool_error", "web_fetch of main can be called over HTTP"),
        ("http/tools/main/web_fetch", "200", "web_fetch of main can be called over HTTP"),
        ("http/tools/main/web_fetch", "403 tool_call_blocked", "web_fetch of main can be called over HTTP"),
    ],
)
def test_missing_records_are_red(path: str, value: Any, said: str) -> None:
    (sentence,) = calls(changed(path, value))
    assert said in sentence


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("tried", "OSError: no", "could not be tried"),
        ("turns", [], "only 0 of 1 agents"),
        ("agents", ["main", "second"], "only 1 of 2 agents"),
        ("turns/0/tried", "agent did not end within 300 s", "did not end"),
        ("turns/0/permitted", None, "nothing was called"),
        ("turns/0/refused", None, "nothing was called"),
        ("skipped", 1, "libzstd"),
    ],
)
@pytest.mark.parametrize("judge", [prompts, calls])
def test_what_was_not_tried_is_not_measured(
    judge: Callable[[AgentRecords], list[str]], path: str, value: Any, said: str
) -> None:
    with pytest.raises(Unmeasured, match=said):
        judge(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("approvals/deny/tried", "exec.approval.request: unknown method"),
        ("http/wrong", "404 not_found"),
        ("http/wrong", "ConnectionRefusedError"),
        ("http/tools", {}),
        ("http/tools/main/exec", "401 unauthorized"),
        ("http/tools/main/exec", "400 invalid_request"),
        ("http/tools/main/exec", "TimeoutError"),
        ("settings", {"problem": "it is not JSON"}),
    ],
)
def test_a_refusal_without_its_control_experiment_is_not_measured(path: str, value: Any) -> None:
    with pytest.raises(Unmeasured):
        calls(changed(path, value))


def test_no_gateway_and_an_illegible_span_are_not_measured() -> None:
    with pytest.raises(Unmeasured, match="no agent container"):
        records([])
    with pytest.raises(Unmeasured, match="cannot be read"):
        changed("settings/prune-after", 30).short_lived(30)


# --- at the log store ------------------------------------------------------------------------------------------------

RUN, SESSION = "clawkeep-r", "6b1c"
EVENTS: World = {
    "prompt of main": ("transcript", {"role": "user", "content": f"{'Test. ' * 400} ckmark01"}),
    "answer of main": ("transcript", {"role": "assistant", "content": [{"type": "text", "text": "ckmark02"}]}),
    "call of main": ("audit", {"run_id": RUN, "tool_name": "tool_search", "agent_id": "main", "session_id": SESSION}),
    "refusal of main": ("transcript", {"role": "toolResult", "toolName": "exec", "__openclaw": {"runId": RUN}}),
    "approval deny": ("approval", {"approval_id": "ckmark03", "decision": "deny", "source_agent_id": "main"}),
}
HOLDS = {
    "prompt of main": ("ckmark01", '"role":"user"'),
    "answer of main": ("ckmark02", '"role":"assistant"'),
    "call of main": (RUN, '"tool_name":"tool_search"'),
    "refusal of main": (RUN, '"toolName":"exec"'),
    "approval deny": ("ckmark03", '"decision"'),
}
AT = 1795410000.0
SENT = AT + 5


def line(text: str) -> str:
    """The store's line of what a program said, shaped and redacted as the log agent does it."""
    raw = json.dumps({"msg": text, "syslogtag": "clawkeep-openclaw-export:", "programname": "clawkeep-openclaw-export"})
    record = redactor.Shaper("h", "b").record(raw)
    return json.dumps(
        {"received": "2026-11-23T05:00:09+00:00", "from": "203.0.113.10", "record": record}, separators=(",", ":")
    )


def told(name: str) -> str:
    """What the exporter tells of one of the events."""
    kind, event = EVENTS[name]
    if kind == "transcript":
        event = {"session_id": SESSION, "event_json": {"message": event}}
    agent = "main" if kind == "transcript" else ""
    return json.dumps({"kind": kind, "agent": agent, "seq": 1, "event": event}, separators=(",", ":"))


def store(lines: dict[str, str], at: float = AT, sent: float = SENT) -> LogStore:
    """The store, asked by its probe for the marks of a turn, with these lines beside what the gateway itself said."""
    marks = {name: {"mark": m, "at": at, "tried": "", "holds": h} for name, (m, h) in HOLDS.items()}
    noise = [line(f'{{"message":"reply {mark}"}}') for mark, _ in HOLDS.values()]
    found: dict[str, list[dict[str, str]]] = {mark: [] for mark, _ in HOLDS.values()}
    for text in [*noise, *lines.values()]:
        for mark in found:
            if mark in text:
                found[mark].append({"file": "2026-11-23.jsonl", "line": text})
    beside = {"journal": {"mark": "m", "at": sent, "tried": ""}}  # sent and received by clocks that agree
    inside = {"schema": 1, "commands": {}, "facts": {"turn-marks": marks, "log-marks": beside}}
    arrived = {**siem.arrived(found, marks), "journal": {"file": "2026-11-23.jsonl", "line": line('{"message":"m"}')}}
    outside = {"schema": 1, "facts": {"arrived": arrived}}
    host = HostEvidence("h", {"schema": 1, "host": "h", "inside": inside, "vantages": {"siem": outside}})
    return LogStore(host.inside, host.vantage("siem"))


KINDS = ["prompt", "answer", "call", "refusal", "approval"]
WHOLE = {name: line(told(name)) for name in EVENTS}
RECEIVED = 1795410009.0


def test_what_agents_did_is_at_the_store() -> None:
    assert store(WHOLE, RECEIVED - 5).untold(KINDS, 60) == []


@pytest.mark.parametrize("name", EVENTS)
def test_what_the_exporter_left_out_is_missed_although_the_gateways_output_has_the_word(name: str) -> None:
    left = {other: text for other, text in WHOLE.items() if other != name}
    assert store(left, RECEIVED - 5).untold(KINDS, 60) == [f"the {name} does not reach the log store"]


@pytest.mark.parametrize("sent", [RECEIVED + 30, float("nan"), float("inf")])
def test_a_host_that_is_ahead_of_the_store_is_never_late_and_so_not_measured(sent: float) -> None:
    with pytest.raises(Unmeasured, match="before it was sent"):
        store(WHOLE, RECEIVED - 5, sent).untold(KINDS, 60)


def test_late_and_nameless_records_are_red() -> None:
    late = store(WHOLE, RECEIVED - 90).untold(KINDS, 60)
    assert sorted(late) == sorted(f"the {name} reaches the log store after 90 s, the tier wants 60" for name in EVENTS)
    nameless = told("prompt of main").replace('"agent":"main"', '"agent":""')
    (sentence,) = store({**WHOLE, "prompt of main": line(nameless)}, RECEIVED - 5).untold(KINDS, 60)
    assert "without agent or session" in sentence


def test_what_was_not_sent_is_not_missed() -> None:
    with pytest.raises(Unmeasured, match="not each of"):
        store(WHOLE).untold(["prompt", "other"], 60)
