"""The container engine's HTTP API over its socket: an order of magnitude faster than its command line."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

from clawkeep_host.command import Refusal

SOCKET = "/run/docker.sock"
SECONDS = 20.0
LIMIT = 256 << 20  # bytes of one answer: far more than a busy host's longest, and an end for what has none


class EngineError(Refusal):
    """The engine refused with the HTTP status `code`, or did not answer (None)."""

    def __init__(self, sentence: str, code: int | None = None) -> None:
        """Keep the sentence and the code; the program's own exit status is 1."""
        super().__init__(sentence)
        self.code = code


class Missing(EngineError):
    """The engine has no such container, image, network or volume."""


class Connection(http.client.HTTPConnection):
    """HTTP over the engine's socket; each step may take `seconds`."""

    def __init__(self, path: str, seconds: float) -> None:
        """Prepare for the socket `path`; the host's name goes into a header that the engine does not read."""
        super().__init__("docker", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    seconds: float = SECONDS,
    engine: str = SOCKET,
    limit: int = LIMIT,
) -> bytes:
    """The body of the engine's answer, unversioned API; raises EngineError with its words for 4xx (Missing
    for 404), 5xx and silence.

    `seconds` is the silence that is borne, not the length of the answer; what is beyond `limit` bytes is left unread.
    """
    connection = Connection(engine, seconds)
    try:
        text = json.dumps(body) if body is not None else None
        connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
        answer = connection.getresponse()
        content = answer.read(limit)
        if len(content) < limit and answer.length:
            raise http.client.IncompleteRead(content, answer.length)
    except (OSError, http.client.HTTPException) as trouble:
        raise EngineError(f"Docker does not answer: {trouble}") from trouble
    finally:
        connection.close()
    if answer.status >= 400:
        what = f"{method} {path.partition('?')[0]}"
        kind = Missing if answer.status == 404 else EngineError
        raise kind(f"Docker refuses {what}: {content.decode('utf-8', 'replace').strip()}", answer.status)
    return content


def get(path: str, *, seconds: float = SECONDS, engine: str = SOCKET) -> Any:
    """What the engine answers to a GET, decoded; raises Missing and EngineError."""
    return decoded(ask("GET", path, seconds=seconds, engine=engine))


def decoded(content: bytes) -> Any:
    """The value of an answer of the engine; raises EngineError when it is no JSON."""
    try:
        return json.loads(content)
    except ValueError as problem:
        raise EngineError(f"Docker's answer cannot be read: {problem}") from None
