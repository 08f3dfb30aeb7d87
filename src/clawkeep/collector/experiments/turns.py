"""One turn of each agent with a model that the collector plays, calls over HTTP, approvals; what was recorded of them.

The gateway's settings name a provider `clawkeep` on the container's loopback address, where nobody listens. For the
time of a turn the collector does: it has the agent call one tool that does nothing, then one that it is refused, and
answers. No site's model is asked and nothing leaves the container. Of the state only the words that were sent here,
roles, names and outcomes are told. Standard library only.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import os
import re
import secrets
import socket
import struct
import sys
import threading
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from clawkeep.collector import docker, namespaces
from clawkeep.collector.experiments import gateways
from clawkeep.collector.recorder import Recorder, short
from clawkeep_host import files, foreign_json, openclaw_state
from clawkeep_host.agents import name_of

PROVIDER, MODEL = "clawkeep", "probe"
AGENTS_MOST = 4  # agents that are asked; a gateway with more says so
TURN_SECONDS = 300.0  # a gateway's first turn takes minutes on an emulated processor, each further one some 30 s
STEP_SECONDS = 60.0
OPEN_SECONDS = 180.0  # a busy gateway hangs up on whoever it had no time to greet
SETTLE_SECONDS = 20.0  # OpenClaw writes its ledger from a queue
HARMLESS: Tuple[Tuple[str, Dict[str, Any]], ...] = (
    ("tool_search", {"query": "clawkeep"}),
    ("session_status", {}),
    ("agents_list", {}),
    ("web_fetch", {"url": "http://127.0.0.1:9/"}),  # OpenClaw fetches nothing from its own machine
)
MOST_FRAME = 16 << 20  # bytes that the gateway may send at once: both sides of its talk are in the agent's hands
NEVER = ("exec", "gateway", "cron", "write")  # the first that is not offered is called nevertheless
FILLER = "This is a test of what is recorded. " * 60  # OpenClaw keeps what is longer than a kilobyte in another way
NOT_YET = ("gateway starting", "the gateway hung up")

# Runs in a process of its own: as the agent, with its state for a root, so that nothing in it leads anywhere else.
READER = r"""
import glob, json, os, resource, sys

want = json.load(sys.stdin)
sys.path.insert(0, want["package"])
from clawkeep_host import foreign_json, openclaw_state

openclaw_state.unpacked(b"")  # loads its library while there is one to be found
resource.setrlimit(resource.RLIMIT_DATA, (1 << 29, 1 << 29))
os.chroot(want["state"])
os.chdir("/")
os.setgroups([])
os.setresgid(want["uid"], want["uid"], want["uid"])
os.setresuid(want["uid"], want["uid"], want["uid"])
skipped = 0

def rows(path, table, columns, rest, values):
    try:
        with openclaw_state.Database(path) as database:
            return database.rows(table, columns, "WHERE " + rest, values)
    except openclaw_state.StateError as problem:
        json.dump({"problem": "%s: %s" % (path, problem)}, sys.stdout)
        sys.exit(0)

def event(row):
    global skipped
    text = openclaw_state.event_text(row)
    if text is None:
        skipped += 1
        return {}, ""
    try:
        whole = foreign_json.loads(text)
    except ValueError:
        whole = None
    return whole if isinstance(whole, dict) else {}, text

def marks(names):
    return ",".join("?" * len(names))

found = {"events": [], "old": []}
runs, words, base = want["runs"], want["words"], "/state/openclaw.sqlite"
found["audit"] = rows(base, "audit_events", "run_id, agent_id, session_id, kind, status, tool_name",
    "run_id IN (%s) ORDER BY sequence LIMIT 5000" % marks(runs), runs)
found["identity"] = rows(base, "execution_identity_contexts", "run_id", "run_id IN (%s) LIMIT 5000" % marks(runs), runs)
found["approvals"] = rows(base, "operator_approvals",
    "approval_id, status, decision, source_agent_id, resolver_kind, resolver_id",
    "approval_id IN (%s) LIMIT 5000" % marks(want["approvals"]), want["approvals"])
for path in sorted(glob.glob("/agents/*/agent/*.sqlite")):
    agent = path.split("/")[2]
    for row in rows(path, "transcript_events", "*", "created_at >= ? ORDER BY created_at LIMIT 5000", [want["since"]]):
        whole, text = event(row)
        message = whole.get("message") if isinstance(whole.get("message"), dict) else {}
        of = message.get("__openclaw") if isinstance(message.get("__openclaw"), dict) else {}
        run = of.get("runId")
        held = [word for word in words if word in text]
        if not held and run not in runs:
            continue
        found["events"].append({
            "agent": agent, "session": row["session_id"], "run": run if run in runs else None, "words": held,
            "role": message.get("role"), "tool": message.get("toolName"), "error": message.get("isError"),
        })
    found["old"] += [row["session_key"] for row in rows(path, "session_nodes", "session_key",
        "session_key LIKE ? AND updated_at < ? LIMIT 50", ["agent:%:clawkeep-probe-%", want["since"]])]
found["skipped"] = skipped
json.dump(found, sys.stdout)
"""


def collect(rec: Recorder) -> None:
    """Try every gateway that is there; a host without one tells of none, and one that is not to be asked has none."""
    if not rec.parameters.get("turns", True):
        rec.note("turn-marks", {})
        return
    agents = [(one, gateways.port_of(one)) for one in docker.agents(rec)]
    found, sent = [], {}
    for container, port in agents:
        if not port:
            continue
        told, marks = gateway(rec, container, port)
        found.append(told)
        sent.update(marks)
    rec.note("turns", found)
    rec.note("turn-marks", sent)


def gateway(rec: Recorder, container: Dict[str, Any], port: int) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """What was tried at one gateway and what its state tells of it, and the words for which the log store is asked."""
    pid = int(container["State"]["Pid"])
    token = gateways.environment(container).get(gateways.VARIABLE, "")
    set_up = settings(pid)
    found: Dict[str, Any] = {"name": name_of(container), "settings": set_up, "turns": [], "tried": ""}
    since = int(time.time() * 1000)
    asked = Asked(state(container, pid), docker.service_uid(rec), since)
    try:
        with contextlib.closing(Line.open(pid, port, token)) as line:
            found["approvals"] = {name: approve(line, asked, name) for name in ("allow-once", "deny")}
            found["agents"] = agents_of(line)
            for agent in found["agents"][:AGENTS_MOST]:
                found["turns"].append(turn(line, pid, set_up, asked, agent))
        found["http"] = namespaces.in_network_of(
            pid, lambda: over_http(rec, port, token, found["agents"][:AGENTS_MOST])
        )
        rows = asked.settle(found)
        forget(pid, port, token, rows["old"])
    except (OSError, ValueError, KeyError, http.client.HTTPException) as problem:
        found["tried"] = short("%s: %s" % (type(problem).__name__, problem), 200)
    return found, marks(found, since / 1000)


def forget(pid: int, port: int, token: str, sessions: List[str]) -> None:
    """Delete the sessions of earlier measurements; what cannot be deleted now is tried the next time."""
    with contextlib.suppress(OSError, ValueError), contextlib.closing(Line.open(pid, port, token)) as line:
        for key in sessions:
            line.call("sessions.delete", {"key": key, "deleteTranscript": True}, STEP_SECONDS)


def settings(pid: int) -> Dict[str, Any]:
    """The part of the gateway's settings that recording hangs on, as its process sees them, or `problem`."""
    try:
        whole = gateways.written_settings(pid)
        audit = (whole.get("logging") or {}).get("audit") or {}
        keeping = (whole.get("session") or {}).get("maintenance") or {}
        provider = ((whole.get("models") or {}).get("providers") or {}).get(PROVIDER) or {}
        place = re.fullmatch(r"http://127\.0\.0\.1:(\d{2,5})/v1", str(provider.get("baseUrl")))
        return {
            "audit": audit.get("enabled"),
            "identity": audit.get("executionIdentity"),
            "messages": audit.get("messages"),
            "file": (whole.get("logging") or {}).get("file"),
            "prune-after": keeping.get("pruneAfter"),
            "reset-after": keeping.get("resetArchiveRetention"),
            "stand-in": int(place.group(1)) if place else None,
        }
    except (OSError, ValueError, AttributeError) as problem:
        return {"problem": "%s" % problem}


def state(container: Dict[str, Any], pid: int) -> Tuple[str, str]:
    """The gateway's root as the host reaches it, and its state in there."""
    place = gateways.environment(container).get("OPENCLAW_STATE_DIR") or "/home/node/.openclaw"
    return "/proc/%d/root" % pid, place


def package() -> str:
    """Where another process finds `clawkeep_host`: a folder, or the archive that this one was sent."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(openclaw_state.__file__)))
    return folder.replace("/proc/self/", "/proc/%d/" % os.getpid(), 1)


class Asked:
    """What was sent, and what the state tells of it."""

    def __init__(self, place: Tuple[str, str], uid: int, since: int) -> None:
        """Nothing was sent yet; `place` is a root and the state below it, `since` the time in milliseconds."""
        self.place = place
        self.wishes: Dict[str, Any] = {"uid": uid, "since": since}
        self.runs: List[str] = []
        self.words: List[str] = []
        self.approvals: List[str] = []

    def word(self) -> str:
        """A new random word that the state may hold."""
        self.words.append("ckmark" + secrets.token_hex(10))
        return self.words[-1]

    def read(self) -> Dict[str, Any]:
        """The rows; raises ValueError when the state cannot be read."""
        wishes = dict(self.wishes, runs=self.runs, words=self.words, approvals=self.approvals, package=package())
        argv = [sys.executable or "python3", "-I", "-S", "-c", READER]
        try:
            folder = files.pin_beneath(*self.place)
        except OSError as problem:
            raise ValueError("the state cannot be read: %s" % problem.strerror) from None
        try:
            wishes["state"] = "/proc/%d/fd/%d" % (os.getpid(), folder)
            result = Recorder().run("", argv, stdin=json.dumps(wishes), timeout=60, keep=False)
        finally:
            os.close(folder)
        if not result.ok:
            raise ValueError("the state cannot be read: %s" % (result.error or "status %s" % result.status))
        rows = dict(json.loads(result.text))
        if "problem" in rows:
            raise ValueError("the state cannot be read: %s" % rows["problem"])
        return rows

    def settle(self, found: Dict[str, Any]) -> Dict[str, Any]:
        """Add to what was tried what is recorded of it, once all is there or the time is up; returns the last rows."""
        limit = time.monotonic() + SETTLE_SECONDS
        while True:
            rows = self.read()
            ended = {
                row["run_id"] for row in rows["audit"] if row["kind"] == "agent_run" and row["status"] != "started"
            }
            if ended >= set(self.runs) or time.monotonic() > limit:
                break
            time.sleep(1.0)
        found["skipped"] = rows["skipped"]
        for one in found["turns"]:
            one["recorded"] = recorded(one, rows)
        decided = {row.pop("approval_id"): row for row in rows["approvals"]}
        for one in found["approvals"].values():
            one["recorded"] = decided.get(one["id"])
        return rows


def recorded(one: Dict[str, Any], rows: Dict[str, Any]) -> Dict[str, Any]:
    """What the state tells of one turn."""
    ledger = [row for row in rows["audit"] if row["run_id"] == one["run"]]
    events = [row for row in rows["events"] if row["agent"] == one["agent"]]
    sessions = {row["session_id"] for row in ledger}
    tools: Dict[str, List[Any]] = {}
    for row in ledger:
        if row["kind"] == "tool_action":
            tools.setdefault(str(row["tool_name"]), []).append(row["status"])
    return {
        "runs": [row["status"] for row in ledger if row["kind"] == "agent_run"],
        "agents": sorted({str(row["agent_id"]) for row in ledger}),
        "identity": any(row["run_id"] == one["run"] for row in rows["identity"]),
        "tools": tools,
        # A transcript may hold a word several times: the prompt is what the user said, the answer what the model did.
        "prompt": any(one["prompt"] in row["words"] and row["role"] == "user" for row in events),
        "answer": any(one["answer"] in row["words"] and row["role"] == "assistant" for row in events),
        "sessions": len({row["session"] for row in events}),
        "same": bool(sessions) and {row["session"] for row in events} <= sessions,
        "results": {str(row["tool"]): row["error"] for row in events if row["run"] == one["run"] and row["tool"]},
    }


def marks(found: Dict[str, Any], at: float) -> Dict[str, Any]:
    """The words to look for at the log store, by what they are: `{"mark", "at", "tried", "holds"}`.

    A line is the one that is meant when it also holds `holds`: the gateway's own output may have the word, too.
    """
    sent = {}
    for one in found["turns"]:
        ended, tried = float(one.get("ended") or at), str(one["tried"])
        for name in ("prompt", "answer"):
            held = '"role":"%s"' % {"prompt": "user", "answer": "assistant"}[name]
            sent["%s of %s" % (name, one["agent"])] = {"mark": one[name], "at": ended, "tried": tried, "holds": held}
        held = '"tool_name":"%s"' % one.get("permitted")
        sent["call of %s" % one["agent"]] = {"mark": one["run"], "at": ended, "tried": tried, "holds": held}
        held = '"toolName":"%s"' % one.get("refused")
        sent["refusal of %s" % one["agent"]] = {"mark": one["run"], "at": ended, "tried": tried, "holds": held}
    for name, one in (found.get("approvals") or {}).items():
        sent["approval %s" % name] = {"mark": one["id"], "at": one["at"], "tried": one["tried"], "holds": '"decision"'}
    return sent


# --- what is tried ---------------------------------------------------------------------------------------------------


def over_http(rec: Recorder, port: int, token: str, agents: List[str]) -> Dict[str, Any]:
    """How each tool's call without arguments ends, which does nothing, by agent; and one with a wrong token."""
    allowed = rec.parameters.get("tier", {}).get("openclaw_tools_allowed") or []
    tools = sorted({str(name) for name in allowed} | {"session_status", "exec"})
    return {
        "wrong": invoke(port, secrets.token_hex(32), tools[0], agents[0]),
        "tools": {agent: {name: invoke(port, token, name, agent) for name in tools} for agent in agents},
    }


def invoke(port: int, token: str, tool: str, agent: str) -> str:
    """The status of a call over HTTP and the type of its error (`404 not_found`), or why there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STEP_SECONDS)
    try:
        headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
        connection.request("POST", "/tools/invoke", json.dumps({"tool": tool, "args": {}, "agentId": agent}), headers)
        answer = connection.getresponse()
        error = json.loads(answer.read(100_000).decode("utf-8", "replace")).get("error") or {}
        return ("%d %s" % (answer.status, error.get("type") or "")).strip()
    except (OSError, ValueError, AttributeError, http.client.HTTPException) as problem:
        return type(problem).__name__
    finally:
        connection.close()


def agents_of(line: "Line") -> List[str]:
    """The agents that the gateway knows, its default one first."""
    found = line.call("agents.list", {}, STEP_SECONDS)
    names = [str(one.get("id")) for one in found.get("agents") or []]
    first = str(found.get("defaultId") or "main")
    return [first, *(name for name in names if name != first)]


def approve(line: "Line", asked: Asked, decision: str) -> Dict[str, Any]:
    """Ask for a command's approval and decide at once. Nothing runs: whoever asks would have to run it."""
    name = "clawkeep-" + asked.word()
    asked.approvals.append(name)
    found = {"id": name, "at": time.time(), "tried": ""}
    wish = {
        **{"id": name, "command": "clawkeep", "commandArgv": ["clawkeep"], "host": "gateway", "agentId": "main"},
        **{"security": "allowlist", "ask": "always", "timeoutMs": 60000, "twoPhase": True},
        "requireDeliveryRoute": False,
    }
    try:
        line.call("exec.approval.request", wish, STEP_SECONDS, accepted=True)
        line.call("exec.approval.resolve", {"id": name, "decision": decision}, STEP_SECONDS)
    except ValueError as problem:
        found["tried"] = "%s" % problem
    return found


def turn(line: "Line", pid: int, set_up: Dict[str, Any], asked: Asked, agent: str) -> Dict[str, Any]:
    """Have one agent take a turn."""
    run = "clawkeep-" + secrets.token_hex(10)
    asked.runs.append(run)
    found: Dict[str, Any] = {"agent": agent, "run": run, "prompt": asked.word(), "answer": asked.word(), "tried": ""}
    if not set_up.get("stand-in"):
        found["tried"] = "the gateway's settings name no stand-in for a model"
        return found
    wish = {
        **{"message": "%s%s" % (FILLER, found["prompt"]), "agentId": agent, "idempotencyKey": run, "deliver": False},
        **{"sessionKey": "agent:%s:clawkeep-probe-%s" % (agent, run[-8:]), "model": "%s/%s" % (PROVIDER, MODEL)},
        "timeout": int(TURN_SECONDS),
    }
    began = time.monotonic()
    try:
        with standing_in(pid, int(set_up["stand-in"]), found):
            line.call("agent", wish, TURN_SECONDS)
    except (OSError, ValueError) as problem:
        found["tried"] = short("%s" % problem, 200) or type(problem).__name__
    found.update(seconds=round(time.monotonic() - began, 1), ended=time.time())
    return found


# --- the model's stand-in --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def standing_in(pid: int, port: int, found: Dict[str, Any]) -> Iterator[None]:
    """A model on the container's loopback address for as long as this lasts; raises OSError when the port is taken."""

    class Model(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = foreign_json.loads(self.rfile.read(_length(self.headers)).decode("utf-8", "replace"))
            body = "".join("data: %s\n\n" % json.dumps(piece) for piece in said(asked, found)) + "data: [DONE]\n\n"
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")  # a connection that stayed would bring the next agent's words here
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            """Nothing is said."""

    server = namespaces.in_network_of(pid, lambda: http.server.ThreadingHTTPServer(("127.0.0.1", port), Model))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _length(headers: Any) -> int:
    """How much of a request is read: what it says, and no more than MOST_FRAME."""
    written = str(headers.get("Content-Length") or "0")
    return min(int(written), MOST_FRAME) if re.fullmatch(r"[0-9]{1,12}", written) else 0


def said(asked: Dict[str, Any], found: Dict[str, Any]) -> List[Dict[str, Any]]:
    """The stand-in's next words: first a call of a tool that does nothing, then of one not offered, then the answer."""
    messages = asked.get("messages") or []
    last = max((n for n, one in enumerate(messages) if one.get("role") == "user"), default=0)
    results = [one for one in messages[last:] if one.get("role") == "tool"]
    offered = [str((one.get("function") or {}).get("name")) for one in asked.get("tools") or []]
    # What is asked beside the turn, such as a title, is none of it.
    ours = found["prompt"] in json.dumps(messages[last:])
    call: Optional[Tuple[str, Dict[str, Any]]] = None
    if ours and not results:
        call = next((one for one in HARMLESS if one[0] in offered), None)
        found.update(offered=sorted(offered), permitted=call[0] if call else None)
    elif ours and len(results) == 1 and found.get("permitted"):
        found["refused"] = next((name for name in NEVER if name not in offered), None)
        call = (found["refused"], {}) if found["refused"] else None
    if call:
        function = {"name": call[0], "arguments": json.dumps(call[1])}
        name = "call_%d" % len(messages)
        calls = [{"index": 0, "id": name, "type": "function", "function": function}]
        delta: Dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": calls}
    else:
        delta = {"role": "assistant", "content": "%s%s" % (FILLER, found["answer"]) if ours else "Yes."}
    common = {"id": "clawkeep", "object": "chat.completion.chunk", "created": 0, "model": MODEL}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return [
        {**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if call else "stop"}]},
        {**common, "choices": [], "usage": usage},
    ]


# --- the gateway's own protocol --------------------------------------------------------------------------------------


class Line:
    """A connection to the gateway from its own loopback address, as its own helpers have one, by its token."""

    def __init__(self, wire: socket.socket) -> None:
        """Take over a connected socket, on which nothing was said yet."""
        self.wire, self.stream, self.count = wire, wire.makefile("rb"), 0

    @classmethod
    def open(cls, pid: int, port: int, token: str) -> "Line":
        """Connect in the container's network; a gateway that starts or is busy is given time. OSError or ValueError."""
        limit = time.monotonic() + OPEN_SECONDS
        while True:
            line = cls(namespaces.in_network_of(pid, lambda: socket.create_connection(("127.0.0.1", port), 30)))
            try:
                line.greet(port, token)
                return line
            except (OSError, ValueError) as problem:
                line.close()
                passing = isinstance(problem, ConnectionError) or any(word in str(problem) for word in NOT_YET)
                if not passing or time.monotonic() > limit:
                    raise
                time.sleep(3.0)

    def greet(self, port: int, token: str) -> None:
        """Make it a WebSocket (RFC 6455) and say who speaks."""
        key = base64.b64encode(os.urandom(16)).decode()
        self.wire.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % (port, key.encode())
        )
        if b" 101 " not in self.stream.readline(1000):
            raise ValueError("the gateway speaks no WebSocket")
        while self.stream.readline(1000).strip():
            pass
        client = {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "backend"}
        scopes = ["operator.admin", "operator.read", "operator.write", "operator.approvals"]
        wish = {
            **{"minProtocol": 4, "maxProtocol": 4, "client": client, "role": "operator", "scopes": scopes, "caps": []},
            "auth": {"token": token},
        }
        self.call("connect", wish, STEP_SECONDS)

    def close(self) -> None:
        """Hang up."""
        self.stream.close()
        self.wire.close()

    def call(self, method: str, wish: Dict[str, Any], seconds: float, *, accepted: bool = False) -> Dict[str, Any]:
        """The answer to one call, `accepted` if need be and else the last one; raises ValueError when it is refused."""
        self.count += 1
        name = "c%d" % self.count
        self.send(json.dumps({"type": "req", "id": name, "method": method, "params": wish}).encode())
        limit = time.monotonic() + seconds
        while True:
            left = limit - time.monotonic()
            if left <= 0:
                raise ValueError("%s did not end within %d s" % (method, seconds))
            self.wire.settimeout(left)
            try:
                frame = self.receive()
            except socket.timeout:
                raise ValueError("%s did not end within %d s" % (method, seconds)) from None
            if frame.get("type") != "res" or frame.get("id") != name:
                continue
            if not frame.get("ok"):
                raise ValueError("%s: %s" % (method, (frame.get("error") or {}).get("message")))
            payload = frame.get("payload") or {}
            if accepted or payload.get("status") != "accepted":
                return payload if isinstance(payload, dict) else {}

    def send(self, data: bytes) -> None:
        """One text frame, masked as a client's must be."""
        mask, size = os.urandom(4), len(data)
        if size < 126:
            length = struct.pack(">B", 0x80 | size)
        else:
            length = struct.pack(">BH", 0xFE, size) if size <= 0xFFFF else struct.pack(">BQ", 0xFF, size)
        body = bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))
        self.wire.sendall(b"\x81" + length + mask + body)

    def receive(self) -> Dict[str, Any]:
        """The next text frame's JSON; answers pings. Raises ValueError when the gateway hangs up."""
        while True:
            head = self.exactly(2)
            size = head[1] & 0x7F
            if size == 126:
                size = struct.unpack(">H", self.exactly(2))[0]
            elif size == 127:
                size = struct.unpack(">Q", self.exactly(8))[0]
            if size > MOST_FRAME:
                raise ValueError("the gateway sends a frame of %d bytes" % size)
            data = self.exactly(size)
            kind = head[0] & 0x0F
            if kind == 1:
                return dict(foreign_json.loads(data.decode("utf-8", "replace")))
            if kind == 8:
                raise ValueError("the gateway hung up: %s" % short(data[2:].decode("utf-8", "replace"), 100))
            if kind == 9:
                self.wire.sendall(struct.pack(">BB", 0x8A, 0x80 | len(data)) + bytes(4) + data)

    def exactly(self, size: int) -> bytes:
        """So many bytes; raises ValueError when there are fewer."""
        data = self.stream.read(size)
        if len(data) < size:
            raise ValueError("the gateway hung up")
        return data
