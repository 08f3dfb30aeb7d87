"""clawkeep_host.engine_api: what the engine says over its socket, and one sentence when it says no or nothing."""

from __future__ import annotations

import http.server
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clawkeep_host import engine_api
from clawkeep_host.engine_api import EngineError, Missing


class Engine(http.server.BaseHTTPRequestHandler):
    """Answers by path, and repeats what it was asked."""

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        asked = f"{self.command} {self.path} {self.headers.get('Content-Type')} {self.rfile.read(length).decode()}"
        status = int(self.path.rpartition("/")[2].partition("?")[0])
        body = b'["yes"]' if self.path.startswith("/json") else asked.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "engine.sock")
    with socketserver.ThreadingUnixStreamServer(path, Engine) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def test_a_question_has_a_body_only_when_one_is_given(engine: str) -> None:
    assert engine_api.ask("GET", "/200?all=1", engine=engine) == b"GET /200?all=1 None "
    said = engine_api.ask("POST", "/201", {"Name": "n"}, engine=engine)
    assert said == b'POST /201 application/json {"Name": "n"}'


def test_an_answer_is_decoded(engine: str) -> None:
    assert engine_api.get("/json/200", engine=engine) == ["yes"]
    with pytest.raises(EngineError, match=r"^Docker's answer cannot be read: "):
        engine_api.get("/200", engine=engine)


def test_a_refusal_has_the_engines_words(engine: str) -> None:
    with pytest.raises(EngineError, match=r"^Docker refuses GET /500: GET /500\?x=1 None$") as refusal:
        engine_api.ask("GET", "/500?x=1", engine=engine)
    assert not isinstance(refusal.value, Missing)
    with pytest.raises(Missing, match=r"^Docker refuses GET /404: "):
        engine_api.ask("GET", "/404", engine=engine)
    with pytest.raises(EngineError, match=r"^Docker refuses GET /400: "):
        engine_api.ask("GET", "/400", engine=engine)


def test_silence_is_a_refusal_too(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"^Docker does not answer: .*No such file"):
        engine_api.get("/200", engine=str(tmp_path / "none"))
