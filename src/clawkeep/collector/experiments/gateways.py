"""Each agent's gateway: its settings as its process reads them, and how it answers right, wrong and repeated tokens.

No token leaves the host: of secrets there are lengths and counts. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import math
import secrets
from typing import Any, Dict, Optional

from clawkeep.collector import docker, namespaces
from clawkeep.collector.recorder import Recorder
from clawkeep_host import files, foreign_json
from clawkeep_host.agents import name_of

CONFIG = "/etc/openclaw/openclaw.json"  # as the gateway's process sees it
MOST_SETTINGS = 4 << 20  # bytes
VARIABLE = "OPENCLAW_GATEWAY_TOKEN"
PLACEHOLDERS = (
    "changeme",
    "change-me",
    "placeholder",
    "example",
    "password",
    "secret",
    "token",
    "openclaw",
    "default",
    "test",
)
ATTEMPTS = 12  # one more than the limit lets through, and one more
FORGED = "203.0.113.77"  # RFC 5737: nobody's


def collect(rec: Recorder) -> None:
    """Ask each gateway in its own network."""
    agents = [(one, port_of(one)) for one in docker.agents(rec)]
    rec.note("gateways", [gateway(one, port) for one, port in agents if port])


def port_of(container: Dict[str, Any]) -> Optional[int]:
    """The port in the container of its gateway, which is the one that the host publishes."""
    for inner, bindings in ((container.get("NetworkSettings") or {}).get("Ports") or {}).items():
        if bindings and inner.partition("/")[0].isdigit():
            return int(inner.partition("/")[0])
    return None


def gateway(container: Dict[str, Any], port: int) -> Dict[str, Any]:
    """One gateway: its settings as its process reads them, the quality of its token, and how it answers."""
    pid = int(container["State"]["Pid"])
    token = environment(container).get(VARIABLE, "")
    return {
        "name": name_of(container),
        "pid": pid,
        "settings": settings(pid),
        "strength": strength(token),
        "answers": answers(pid, port, token),
        "burst": burst(pid, port, token),
    }


def environment(container: Dict[str, Any]) -> Dict[str, str]:
    """The environment that the engine gave the container's processes."""
    pairs = [str(item).partition("=") for item in (container.get("Config") or {}).get("Env") or []]
    return {name: value for name, _, value in pairs}


def written_settings(pid: int) -> Any:
    """The gateway's settings as its process reads them; raises OSError or ValueError."""
    return foreign_json.loads(files.content_beneath("/proc/%d/root" % pid, CONFIG, MOST_SETTINGS).decode("utf-8"))


def settings(pid: int) -> Dict[str, Any]:
    """The part of the gateway's settings that WEB is about; a secret in it is told by its kind alone."""
    try:
        whole = written_settings(pid)
        section = whole.get("gateway") or {}
        auth = section.get("auth") or {}
        hooks = whole.get("hooks") or {}
        logging = whole.get("logging") or {}
        return {
            "log": {
                "patterns": len(logging.get("redactPatterns") or []),
                "file": logging.get("file"),
                "bytes": logging.get("maxFileBytes"),
            },
            "mode": auth.get("mode"),
            "by-reference": isinstance(auth.get("token"), dict) and not auth.get("password"),
            "rate": auth.get("rateLimit"),
            "proxies": section.get("trustedProxies") or [],
            "real-ip-fallback": section.get("allowRealIpFallback"),
            "ui": (section.get("controlUi") or {}).get("enabled"),
            "origins": (section.get("controlUi") or {}).get("allowedOrigins") or [],
            "host-header-fallback": bool(
                (section.get("controlUi") or {}).get("dangerouslyAllowHostHeaderOriginFallback")
            ),
            "hooks": bool(hooks.get("enabled")),
            "hooks-apart": not isinstance(hooks.get("token"), str),
        }
    except (OSError, ValueError, AttributeError) as problem:
        return {"problem": "%s" % problem}


def strength(value: str) -> Dict[str, Any]:
    """How good a secret is, without the secret: length, different characters, Shannon bits, whether it is a filler."""
    counts = [value.count(character) for character in set(value)]
    bits = -sum(count * math.log2(count / len(value)) for count in counts) if value else 0.0
    plain = any(word in value.lower() for word in PLACEHOLDERS)
    return {"length": len(value), "different": len(counts), "bits": int(bits), "filler": plain}


def answers(pid: int, port: int, token: str) -> Dict[str, Any]:
    """The status of a tool call by what it is accompanied with; the right token never leaves this process.

    Asked from the container's own loopback, which no tier trusts to forward for others: what comes by the published
    port has the proxy's address at tier 2.
    """
    right = {"Authorization": "Bearer " + token}
    calls: Dict[str, Dict[str, str]]
    calls = {"nothing": {}, "wrong": {"Authorization": "Bearer " + secrets.token_hex(32)}}
    if token:
        calls["right"] = right
        calls["forged"] = dict(right, **{"X-Forwarded-For": FORGED})
    try:
        return namespaces.in_network_of(pid, lambda: {name: ask(port, headers) for name, headers in calls.items()})
    except OSError as problem:
        return {"problem": str(problem)}


def burst(pid: int, port: int, token: str) -> Dict[str, Any]:
    """The statuses of a row of wrong attempts, and of a right one from another address afterwards.

    The attempts come from one address of the container's loopback that nobody else uses: it alone is locked out.
    """
    attempts = "127.%d.%d.%d" % (64 + secrets.randbelow(64), secrets.randbelow(256), 1 + secrets.randbelow(254))

    def tried() -> Dict[str, Any]:
        wrong = {"Authorization": "Bearer " + secrets.token_hex(32)}
        found = [ask(port, wrong, attempts) for _ in range(ATTEMPTS)]
        return {"attempts": found, "beside": ask(port, {"Authorization": "Bearer " + token})}

    try:
        return namespaces.in_network_of(pid, tried)
    except OSError as problem:
        return {"problem": str(problem)}


def ask(port: int, headers: Dict[str, str], source: str = "127.0.0.1") -> Any:
    """The status of a call of a tool that does not exist or does nothing, or why there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))
    try:
        body = json.dumps({"tool": "session_status", "args": {}})
        connection.request("POST", "/tools/invoke", body, dict(headers, **{"Content-Type": "application/json"}))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as problem:
        return "%s" % type(problem).__name__
    finally:
        connection.close()
