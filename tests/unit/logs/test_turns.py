"""The collector's turn of an agent: the stand-in's words, the gateway's protocol, and what is read of its state."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clawkeep.collector.experiments import turns
from clawkeep.measure import transport

TURN = {"prompt": "ckmark01", "answer": "ckmark02"}
OFFERED = [{"type": "function", "function": {"name": name}} for name in ("message", "tool_search")]
PROMPT = {"role": "user", "content": "... ckmark01"}


def spoken(messages: list[Any], offered: list[Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the stand-in says to these messages, and what the collector notes of it."""
    found: dict[str, Any] = dict(TURN)
    said: dict[str, Any] = {}
    for n in range(1, len(messages) + 1):  # as the agent asks after each result
        if messages[n - 1]["role"] in ("user", "tool"):
            asked = {"messages": messages[:n], "tools": OFFERED if offered is None else offered}
            said = turns.said(asked, found)[0]["choices"][0]["delta"]
    return said, found


def test_the_stand_in_calls_what_is_offered_then_what_is_not_then_answers() -> None:
    said, found = spoken([PROMPT])
    assert said["tool_calls"][0]["function"]["name"] == "tool_search"
    assert found["offered"] == ["message", "tool_search"]
    result = [{"role": "assistant"}, {"role": "tool", "content": ""}]
    said, found = spoken([PROMPT, *result])
    assert said["tool_calls"][0]["function"]["name"] == "exec"
    assert (found["permitted"], found["refused"]) == ("tool_search", "exec")
    said, _ = spoken([PROMPT, *result, *result])
    assert said["content"].endswith("ckmark02")
    assert len(said["content"]) > 2000


def test_the_stand_in_calls_nothing_for_others_and_nothing_that_acts() -> None:
    assert spoken([{"role": "user", "content": "give this talk a title"}])[0]["content"] == "Yes."
    said, found = spoken([PROMPT], [{"function": {"name": "message"}}])
    assert (said["content"][-8:], found["permitted"]) == ("ckmark02", None)
    every = [{"function": {"name": name}} for name in ("tool_search", *turns.NEVER)]
    _, found = spoken([PROMPT, {"role": "assistant"}, {"role": "tool", "content": ""}], every)
    assert found["refused"] is None


@pytest.mark.usefixtures("here")
def test_each_turn_has_a_stand_in_of_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    for turn in ({"prompt": "ckmark01", "answer": "ckmark02"}, {"prompt": "ckmark03", "answer": "ckmark04"}):
        with turns.standing_in(1, port, turn):
            asked = {"messages": [{"role": "user", "content": turn["prompt"]}], "tools": []}
            client.request("POST", "/v1/chat/completions", json.dumps(asked))
            assert turn["answer"] in client.getresponse().read().decode()


class Gateway:
    """A gateway of a few words: each frame that it gets is answered by `answer`."""

    def __init__(self, answer: Callable[[dict[str, Any]], list[bytes]]) -> None:
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.asked: list[dict[str, Any]] = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            wire, _ = self.listener.accept()
            with wire:
                self.talk(wire)

    def talk(self, wire: socket.socket) -> None:
        stream = wire.makefile("rb")
        lines = list(iter(lambda: stream.readline().strip(), b""))
        key = next(line.split(b": ")[1] for line in lines if line.startswith(b"Sec-WebSocket-Key"))
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324
        wire.sendall(b"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        wire.sendall(frame({"type": "event", "event": "connect.challenge"}))
        while head := stream.read(2):
            size = head[1] & 0x7F
            for mark, shape in ((126, ">H"), (127, ">Q")):
                if head[1] & 0x7F == mark:
                    size = struct.unpack(shape, stream.read(struct.calcsize(shape)))[0]
            mask = stream.read(4)
            body = bytes(byte ^ mask[n % 4] for n, byte in enumerate(stream.read(size)))
            if head[0] & 0x0F == 1:
                self.asked.append(json.loads(body))
                for data in self.answer(self.asked[-1]):
                    wire.sendall(data)
                    if data[0] & 0x0F == 8:
                        return


def frame(value: Any, kind: int = 1) -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    length = bytes([len(data)]) if len(data) < 126 else struct.pack(">BH", 126, len(data))
    return bytes([0x80 | kind]) + length + data


def fine(asked: dict[str, Any], **payload: Any) -> bytes:
    return frame({"type": "res", "id": asked["id"], "ok": True, "payload": payload})


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything happens in this machine's own network."""
    monkeypatch.setattr("clawkeep.collector.experiments.turns.namespaces.in_network_of", lambda _pid, work: work())


@pytest.mark.usefixtures("here")
def test_the_last_answer_counts_and_pings_are_answered() -> None:
    gateway = Gateway(
        lambda asked: [
            frame({"type": "event", "event": "tick", "payload": "x" * 300}),
            frame(b"ping", 9),
            *([fine(asked, status="accepted")] if asked["method"] == "agent" else []),
            fine(asked, status="ok"),
        ]
    )
    line = turns.Line.open(1, gateway.port, "secret")
    assert line.call("agent", {"message": "m" * 70_000}, 5)["status"] == "ok"
    assert line.call("agent", {}, 5, accepted=True)["status"] == "accepted"
    line.close()
    client = gateway.asked[0]["params"]
    assert (client["auth"], client["client"]["id"], client["client"]["mode"]) == (
        {"token": "secret"},
        "gateway-client",
        "backend",
    )


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda asked: [frame({"type": "res", "id": asked["id"], "ok": False, "error": {"message": "no"}})], "no"),
        (lambda _: [frame(b"\x03\xe9going away", 8)], "hung up: going away"),
        (lambda _: [], "did not end within"),
    ],
)
def test_a_call_that_is_refused_or_never_ends_is_told(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[dict[str, Any]], list[bytes]], said: str
) -> None:
    monkeypatch.setattr(turns, "STEP_SECONDS", 0.5)
    monkeypatch.setattr(turns, "OPEN_SECONDS", 0)
    with pytest.raises(ValueError, match=said):
        turns.Line.open(1, Gateway(answer).port, "secret")


@pytest.mark.usefixtures("here")
def test_a_gateway_that_has_no_time_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    busy = Gateway(lambda asked: [fine(asked) if len(busy.asked) > 1 else frame(b"\x03\xe9", 8)])
    turns.Line.open(1, busy.port, "secret").close()
    assert len(busy.asked) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the agent's place")
def test_of_the_state_no_word_is_told_but_those_that_were_sent(tmp_path: Path) -> None:
    state, agent = tmp_path / "state", tmp_path / "agents" / "main" / "agent"
    state.mkdir()
    agent.mkdir(parents=True)
    with sqlite3.connect(state / "openclaw.sqlite") as connection:
        connection.execute(
            "CREATE TABLE audit_events (sequence, run_id, agent_id, session_id, kind, status, tool_name)"
        )
        connection.execute("INSERT INTO audit_events VALUES (1, 'r', 'main', 's', 'agent_run', 'succeeded', NULL)")
        connection.execute("INSERT INTO audit_events VALUES (2, 'x', 'main', 'o', 'tool_action', 'failed', 'private')")
    with sqlite3.connect(agent / "openclaw-agent.sqlite") as connection:
        connection.execute("CREATE TABLE session_nodes (session_key, updated_at)")
        connection.execute(
            "INSERT INTO session_nodes VALUES ('agent:main:clawkeep-probe-1', 5), ('agent:main:main', 5)"
        )
        connection.execute("CREATE TABLE transcript_events (session_id, event_json, event_zstd, created_at)")
        for session, message in (
            ("s", {"role": "user", "content": "ckmark01"}),
            ("s", {"role": "toolResult", "toolName": "exec", "isError": True, "__openclaw": {"runId": "r"}}),
            ("o", {"role": "user", "content": "a private word"}),
        ):
            row = (session, json.dumps({"message": message}), None, 20)
            connection.execute("INSERT INTO transcript_events VALUES (?, ?, ?, ?)", row)
    asked = turns.Asked(("/", str(tmp_path)), 0, 10)
    asked.runs, asked.words = ["r"], ["ckmark01"]
    rows = asked.read()
    assert "private" not in json.dumps(rows)
    assert rows["old"] == ["agent:main:clawkeep-probe-1"]
    one = {"run": "r", "agent": "main", "prompt": "ckmark01", "answer": "ckmark02"}
    assert turns.recorded(one, rows) == {
        **{"runs": ["succeeded"], "agents": ["main"], "identity": False, "tools": {}, "prompt": True, "answer": False},
        **{"sessions": 1, "same": True, "results": {"exec": True}},
    }


def test_a_state_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        turns.Asked(("/", str(tmp_path / "nothing")), 0, 0).read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the agent's place")
def test_the_state_is_read_by_what_was_sent_to_the_host(tmp_path: Path) -> None:
    """The collector runs from an archive in memory, which its child process opens by the parent's descriptor."""
    state = tmp_path / "state"
    state.mkdir()
    with sqlite3.connect(state / "openclaw.sqlite") as connection:
        columns = "approval_id, status, decision, source_agent_id, resolver_kind, resolver_id"
        connection.execute(f"CREATE TABLE operator_approvals ({columns})")
        connection.execute("INSERT INTO operator_approvals VALUES ('a', 'denied', 'deny', 'main', 'runtime', NULL)")
    connection.close()
    program = (
        "import json, os, sys\n"
        "archive = os.memfd_create('clawkeep')\n"
        "os.write(archive, sys.stdin.buffer.read())\n"
        "sys.path.insert(0, '/proc/self/fd/%d' % archive)\n"
        "from clawkeep.collector.experiments import turns\n"
        "asked = turns.Asked(('/', sys.argv[1]), 0, 10)\n"
        "asked.approvals = ['a']\n"
        "print(json.dumps(asked.read()['approvals']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-ISc", program, str(tmp_path)], input=transport.collector(), capture_output=True, check=False
    )
    assert done.stderr == b""
    assert [(row["approval_id"], row["decision"]) for row in json.loads(done.stdout)] == [("a", "deny")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the agent's place")
def test_a_database_that_computes_is_told_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    agent = tmp_path / "agents" / "main" / "agent"
    agent.mkdir(parents=True)
    (tmp_path / "state").mkdir()
    with sqlite3.connect(tmp_path / "state" / "openclaw.sqlite") as connection:
        connection.execute(
            "CREATE TABLE audit_events (sequence, run_id, agent_id, session_id, kind, status, tool_name)"
        )
    connection.close()
    with sqlite3.connect(agent / "x.sqlite") as connection:
        connection.execute(
            "CREATE VIEW transcript_events AS"
            " WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS created_at FROM c"
        )
    connection.close()
    asked = turns.Asked(("/", str(tmp_path)), 0, 10)
    with pytest.raises(ValueError, match=r"/agents/main/agent/x\.sqlite: transcript_events is no plain table"):
        asked.read()
