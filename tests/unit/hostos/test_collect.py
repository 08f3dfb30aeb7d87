"""What the collector makes of unit files, time tables, sockets and access lists."""

from __future__ import annotations

import os
import shutil
import socket
import socketserver
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from clawkeep.collector import accounts, api, engine, proc, sshd
from clawkeep.collector.recorder import Recorder

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
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
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
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


# --- what an account of the host may call itself ---------------------------------------------------------------------

CONTAINER = "a" * 64


@as_root
@pytest.mark.parametrize(
    ("cgroup", "contained"),
    [
        (f"/system.slice/docker-{CONTAINER}.scope", True),
        (f"/docker/{CONTAINER}/init", True),
        (f"/user.slice/user-1000.slice/docker-{CONTAINER}.scope", False),
        (f"/user.slice/user-1000.slice/docker/{CONTAINER}/inner", False),
        (f"/system.slice/docker-{'b' * 64}.scope", False),
        ("/system.slice/ssh.service", False),
        ("", False),
    ],
)
def test_a_containers_cgroup_is_one_that_root_has_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cgroup: str, contained: bool
) -> None:
    """An account with a slice of its own makes cgroups of any name below it."""
    for place in (f"system.slice/docker-{CONTAINER}.scope", f"docker/{CONTAINER}/init"):
        (tmp_path / place).mkdir(parents=True)
    for place in (f"docker-{CONTAINER}.scope", f"docker/{CONTAINER}/inner"):
        (tmp_path / "user.slice/user-1000.slice" / place).mkdir(parents=True)
    own = tmp_path / "user.slice/user-1000.slice"
    for path in (own, *own.rglob("*")):
        os.chown(path, 1000, 1000)
    monkeypatch.setattr(accounts, "CGROUPS", (str(tmp_path / "none"), str(tmp_path)))
    assert accounts.is_contained(cgroup) is contained


@pytest.fixture
def home() -> Iterator[Path]:
    """The home of an account."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    if os.geteuid() == 0:
        os.chown(folder, 1000, 1000)
    yield folder
    shutil.rmtree(folder)


def test_all_that_lies_in_a_folder_of_user_units_is_told(home: Path) -> None:
    units = home / ".config/systemd/user"
    (units / "default.target.wants").mkdir(parents=True)
    (units / "a.service").write_text("")
    (units / "b.service.d").mkdir()
    (units / "b.service.d/own.conf").write_text("")
    (units / "default.target.wants/c.timer").symlink_to("/usr/lib/systemd/user/c.timer")
    names = ("a.service", "b.service.d/own.conf", "default.target.wants/c.timer")
    assert accounts.units_below(str(units)) == {f"{units}/{name}" for name in names}
    assert accounts.units_below(str(home / ".local/share/systemd/user")) == set()


@as_root
@pytest.mark.parametrize("link", [".config", ".config/systemd", ".config/systemd/user"])
def test_a_link_in_the_place_of_user_units_is_told_and_not_followed(home: Path, link: str) -> None:
    """It would lead root through the whole host, or round in circles."""
    (home / link).parent.mkdir(parents=True, exist_ok=True)
    (home / link).symlink_to("/")
    units = str(home / ".config/systemd/user")
    assert accounts.units_below(units) == {units}


def test_user_units_without_end_are_not_read_to_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = home / "units"
    units.mkdir()
    for number in range(5):
        (units / f"{number}.service").write_text("")
    (units / "circle").symlink_to(".")
    monkeypatch.setattr(accounts, "MOST_UNITS", 3)
    found = accounts.units_below(str(units))
    assert str(units) in found
    assert len(found) == 4


LISTENS = """
use Socket;
socket($made, PF_INET, SOCK_STREAM, 6) or die;
bind($made, pack_sockaddr_in(0, INADDR_LOOPBACK)) or die;
listen($made, 1) or die;
$| = 1;
print "ready\\n";
sleep 60;
"""


@as_root
@pytest.mark.skipif(not Path("/usr/bin/perl").exists(), reason="a program that can be called sshd is needed")
@pytest.mark.parametrize("uid", [0, 1000])
def test_what_is_only_called_sshd_is_never_run_by_root(home: Path, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """The collector asks each listening sshd for its settings, by its own file: the agent's would run as root."""
    program = home / "sshd"
    shutil.copy("/usr/bin/perl", program)
    home.chmod(0o755)
    argv = [str(program), "-e", LISTENS, "--", "-o", "PermitRootLogin=no"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, user=uid, group=uid)
    ran: list[str] = []
    recorder = Recorder()
    run = recorder.run
    monkeypatch.setattr(recorder, "run", lambda key, argv, **more: ran.append(argv[0]) or run(key, ["true"], **more))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (found,) = [one for one in sshd.listeners() if one["pid"] == process.pid]
        assert found["problem"]
        assert found["flags"] == []
        sshd.collect(recorder)
    finally:
        process.kill()
        process.communicate()
    assert str(program) not in ran
    (spec,) = [one for one in recorder.facts["sshd-specs"] if str(process.pid) in one["why"]]
    assert spec["problem"] == "root does not run it from a file that is root's alone"


def test_the_hosts_own_sshd_comes_first_and_is_root_s() -> None:
    listening = [
        {"pid": 7, "exe": "/tmp/sshd", "flags": [], "ports": [21], "problem": "it is not root's"},  # noqa: S108
        {"pid": 8, "exe": "/usr/sbin/sshd", "flags": [], "ports": [22]},
        {"pid": 9, "exe": "/usr/sbin/sshd", "flags": [], "ports": [22]},
    ]
    assert [daemon["pid"] for daemon in sshd._distinct(listening)] == [7, 8]


# --- what a socket may be called -------------------------------------------------------------------------------------


def test_a_sockets_name_hides_no_other_socket(tmp_path: Path) -> None:
    """Its path may hold line ends, and so a second line about the socket of somebody else."""
    with socket.socket(socket.AF_UNIX) as own, socket.socket(socket.AF_UNIX) as other:
        own.bind(str(tmp_path / "engine.sock"))
        own.listen()
        inode = os.fstat(own.fileno()).st_ino
        line = f"0: 00000002 00000000 00010000 0001 01 {inode} /x"
        (tmp_path / "0").mkdir()
        other.bind(f"\0y\n{line}")
        other.listen()
        assert str(tmp_path / "engine.sock") in proc.unix_listeners()[inode]


@pytest.mark.parametrize("name", ["\0a\nb", "\0a\n1: 2 3", "\0a\n\n x y z"])
def test_a_sockets_name_breaks_no_listing(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        assert isinstance(proc.unix_listeners(), dict)


def test_listeners_that_speak_slowly_are_not_waited_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PROBE_SECONDS", 0.5)
    monkeypatch.setattr(engine, "_ask", lambda _answer: time.sleep(5))
    sockets = [{"proto": "tcp", "address": "127.0.0.1", "port": n, "inode": n} for n in range(5)]
    monkeypatch.setattr(proc, "bound_sockets", lambda: sockets)
    began = time.monotonic()
    assert len(engine.answers()) == 5
    assert time.monotonic() - began < 4
