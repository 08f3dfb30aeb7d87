"""What the collector makes of unit files, time tables, sockets and access lists."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from clawkeep.collector import accounts, api, engine, proc

GATED = """\
[Unit]
ConditionPathExists=!/var/lib/clawkeep/kill/active
[Service]
User=openclaw
ExecStart=/usr/local/sbin/clawkeep-release start
"""


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("User=openclaw", True),
        ('User = "1000"', True),
        ("ExecStart=/usr/bin/setpriv --reuid openclaw node", True),
        ("ExecStart=/sbin/runuser -u openclaw -- node", True),
        ("User=openclaw-proxy", False),
        ("ExecStart=/usr/bin/du /srv/openclaw", False),
    ],
)
def test_a_unit_of_the_account_is_told_from_its_text(text: str, runs: bool) -> None:
    assert accounts._runs_as(text, 1000, ["openclaw"]) is runs


def test_a_gate_holds_until_a_drop_in_takes_it_away() -> None:
    (gated,) = accounts.revivers({"openclaw.service": GATED})
    assert (gated["words"], gated["gates"]) == ("clawkeep-release start", ["/var/lib/clawkeep/kill/active"])
    (opened,) = accounts.revivers({"openclaw.service": GATED + "[Unit]\nConditionPathExists=\n"})
    assert opened["gates"] == []


def test_a_script_is_looked_into(tmp_path: Path) -> None:
    script = tmp_path / "keep-up"
    script.write_text("#!/bin/sh\n# docker start nothing\ndocker inspect openclaw || docker start openclaw\n")
    (found,) = accounts.revivers({"keep-up.service": f"ExecStart={script} --quiet"})
    assert found["words"] == f"{script}: docker start openclaw"


@pytest.mark.parametrize("line", ["/usr/bin/dockerd -H fd://", "/usr/bin/docker ps --all", "/bin/echo start docker"])
def test_what_starts_no_container_is_no_reviver(line: str) -> None:
    assert accounts.revivers({"x.service": f"ExecStart={line}"}) == []


@pytest.mark.parametrize(
    ("word", "where"),
    [
        ("0100007F:0947", ("127.0.0.1", 2375)),
        ("00000000000000000000000000000000:0016", ("::", 22)),
        ("B80D0120000000000000000010000000:0050", ("2001:db8::10", 80)),
    ],
)
def test_the_kernels_addresses_are_read(word: str, where: tuple[str, int]) -> None:
    assert proc.address(word) == where


def test_named_entries_of_an_access_list_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [(1, 6, 0xFFFFFFFF), (2, 6, 2000), (4, 6, 0xFFFFFFFF), (16, 6, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)]
    raw = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    monkeypatch.setattr("os.getxattr", lambda *_: raw, raising=False)
    assert proc.acl("/run/docker.sock") == [{"whom": "user", "id": 2000, "bits": 6}]


class _Engine(BaseHTTPRequestHandler):
    """An engine that says its version on a ping, and otherwise what is no JSON."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"OK" if self.path == "/_ping" else b"{"
        self.send_response(200)
        self.send_header("Api-Version", "1.45")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def engine_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    path = str(tmp_path / "docker.sock")
    monkeypatch.setattr(api, "SOCKET", path)
    with socketserver.ThreadingUnixStreamServer(path, _Engine) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def test_an_engine_answers_a_ping_with_its_version(engine_socket: str) -> None:
    assert engine.ping() == {"socket": engine_socket, "status": 200, "engine": "1.45"}
    with pytest.raises(ValueError, match="Expecting property name"):
        api.get("/info")


def test_what_does_not_answer_a_ping_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "docker.sock")
    monkeypatch.setattr(api, "SOCKET", path)
    assert engine.ping() == {"socket": path, "status": None, "problem": f"there is no engine socket {path}"}

    class Other(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"SSH-2.0-x\r\n")

    with socketserver.UnixStreamServer(path, Other) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        found = engine.ping()
        thread.join()
    assert (found["status"], found["problem"][:31]) == (None, "the engine does not speak HTTP:")
