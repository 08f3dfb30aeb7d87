"""The engine is asked over its socket: what it answers is given, what it refuses or keeps silent about is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from clawkeep_host import engine_api
from clawkeep_host.command import Refusal
from clawkeep_host.engine_api import EngineError, Missing, ask


class Server(ThreadingMixIn, UnixStreamServer):
    """An engine that answers with `status` and `content`, and keeps what it was asked."""

    daemon_threads = True
    status, content = 200, b"[]"
    asked: list[dict[str, Any]]

    def __init__(self, path: str) -> None:
        self.asked = []
        super().__init__(path, Handler)

    def handle_error(self, *_: Any) -> None:
        """Whoever hangs up early is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(
            {
                "method": self.command,
                "path": self.path,
                "host": self.headers["Host"],
                "type": self.headers["Content-Type"],
                "body": body,
            }
        )
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    do_GET = do_POST = answer

    def log_message(self, format: str, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place whose name leaves room for a socket's: 108 bytes are all it may have."""
    with TemporaryDirectory() as path:
        yield Path(path)


@pytest.fixture
def engine(folder: Path) -> Iterator[Server]:
    with Server(str(folder / "engine")) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def at(server: Server) -> str:
    return str(server.server_address)


def test_a_question_has_no_body_and_the_answer_is_given_as_it_is(engine: Server) -> None:
    engine.content = b'[{"Id": "a"}]'
    assert ask("GET", "/containers/json?all=true", engine=at(engine)) == engine.content
    assert engine.asked == [
        {"method": "GET", "path": "/containers/json?all=true", "host": "docker", "type": None, "body": b""}
    ]


@pytest.mark.parametrize("body", [{"RestartPolicy": {"Name": "no"}}, {}])
def test_a_body_is_sent_as_json(engine: Server, body: dict[str, Any]) -> None:
    ask("POST", "/containers/a/update", body, engine=at(engine))
    (asked,) = engine.asked
    assert asked["method"] == "POST"
    assert asked["type"] == "application/json"
    assert asked["body"] == (b'{"RestartPolicy": {"Name": "no"}}' if body else b"{}")


@pytest.mark.parametrize("status", [400, 404, 409, 500])
def test_a_refusal_tells_what_was_asked_and_the_engines_words(engine: Server, status: int) -> None:
    engine.status, engine.content = status, b' {"message":"no such container"}\n'
    with pytest.raises(EngineError) as refused:
        ask("POST", "/containers/a/kill?signal=KILL", engine=at(engine))
    assert str(refused.value) == 'Docker refuses POST /containers/a/kill: {"message":"no such container"}'
    assert refused.value.code == status
    assert refused.value.status == 1  # of a program that ends with it
    assert isinstance(refused.value, Refusal)


@pytest.mark.parametrize("status", [200, 204, 304, 399])
def test_every_other_status_is_an_answer(engine: Server, status: int) -> None:
    engine.status, engine.content = status, b""
    assert ask("POST", "/containers/a/kill", engine=at(engine)) == b""


def test_a_refusal_that_is_no_text_is_told_all_the_same(engine: Server) -> None:
    engine.status, engine.content = 500, b"\xff"
    with pytest.raises(EngineError, match=r"^Docker refuses GET /x: \ufffd$"):
        ask("GET", "/x", engine=at(engine))


def test_what_is_beyond_the_limit_is_left_unread(engine: Server) -> None:
    engine.content = b"0123456789"
    assert ask("GET", "/x", engine=at(engine), limit=4) == b"0123"
    assert engine_api.LIMIT == 256 * 1024 * 1024


def test_an_engine_that_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(EngineError, match=r"^Docker does not answer: \[Errno 2\] No such file or directory$") as silent:
        ask("GET", "/x", engine=str(folder / "none"))
    assert silent.value.code is None
    assert isinstance(silent.value.__cause__, OSError)


@pytest.fixture
def listening(folder: Path) -> Iterator[Callable[[bytes | None], str]]:
    """A socket that takes one connection and says some bytes, or (None) nothing as long as the test lasts."""
    over = threading.Event()
    with ExitStack() as open_:

        def listen(said: bytes | None) -> str:
            path = str(folder / "odd")
            server = open_.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(path)
            server.listen()

            def serve() -> None:
                connection, _ = server.accept()
                with connection:
                    if said is None:
                        over.wait(30)
                    else:
                        connection.recv(65_536)
                        connection.sendall(said)

            threading.Thread(target=serve, daemon=True).start()
            return path

        yield listen
        over.set()


def test_an_engine_that_hangs_is_not_waited_for(listening: Callable[[bytes | None], str]) -> None:
    with pytest.raises(EngineError, match=r"^Docker does not answer: timed out$") as silent:
        ask("GET", "/x", engine=listening(None), seconds=0.2)
    assert silent.value.code is None


@pytest.mark.parametrize("said", [b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"])
def test_an_answer_that_breaks_off_is_none(listening: Callable[[bytes | None], str], said: bytes) -> None:
    with pytest.raises(EngineError, match=r"^Docker does not answer: "):
        ask("GET", "/x", engine=listening(said))


def test_nothing_is_left_open(engine: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    really = engine_api.Connection.close

    def close(connection: engine_api.Connection) -> None:
        closed.append(True)
        really(connection)

    monkeypatch.setattr(engine_api.Connection, "close", close)
    ask("GET", "/x", engine=at(engine))
    assert closed
    closed.clear()
    with pytest.raises(EngineError):
        ask("GET", "/x", engine="/nowhere")
    assert closed


def test_the_engine_has_its_usual_place_and_twenty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_api.SOCKET == "/run/docker.sock"
    limits: list[float | None] = []

    def connect(connection: engine_api.Connection) -> None:
        limits.append(connection.timeout)
        raise OSError(f"no {connection._path}")

    monkeypatch.setattr(engine_api.Connection, "connect", connect)
    with pytest.raises(EngineError, match=r"^Docker does not answer: no /run/docker\.sock$"):
        ask("GET", "/x")
    assert limits == [20.0]


def test_an_answer_is_decoded(engine: Server) -> None:
    engine.content = b'["yes"]'
    assert engine_api.get("/containers/json", engine=at(engine)) == ["yes"]
    engine.content = b"no JSON"
    with pytest.raises(EngineError, match=r"^Docker's answer cannot be read: "):
        engine_api.get("/containers/json", engine=at(engine))


@pytest.mark.parametrize(("status", "missing"), [(404, True), (400, False), (409, False), (500, False)])
def test_what_is_missing_is_told_from_other_refusals(engine: Server, status: int, missing: bool) -> None:
    engine.status = status
    with pytest.raises(EngineError) as refusal:
        engine_api.get("/containers/x/json", engine=at(engine))
    assert isinstance(refusal.value, Missing) is missing
