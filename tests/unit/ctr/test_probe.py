"""The probe inside a container, run here as the agent's uid by an engine that is none, with the agent beside it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from clawkeep.collector import api
from clawkeep.collector.experiments import inside, probe_script
from clawkeep.collector.inside import authentic, rows

AGENT = 1000
LONG = "d" * 250
MARK = "0123abcd"
NONCE = ".clawkeep-canary-0123456789ab"
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or not Path(inside.PERL).exists(), reason="only root can become the agent, with perl"
)


class Engine:
    """Starts what it is told to as the agent, and `beside` at the same time with the number of the process."""

    def __init__(self) -> None:
        self.beside: Callable[[int], None] = lambda _pid: None
        self.process: subprocess.Popen[bytes] | None = None
        self.wish: dict[str, Any] = {}
        self.argv: list[str] = []

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if method == "POST" and path.endswith("/exec"):
            self.wish = json.loads(body)
            return 201, {"Id": "e1"}
        if method == "POST":
            assert json.loads(body) == {"Detach": True, "Tty": False}
            words = self.argv or self.wish["Cmd"]
            try:
                self.process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd=self.wish["WorkingDir"],
                    env=dict(item.split("=", 1) for item in self.wish["Env"]),
                    user=AGENT,
                    group=AGENT,
                    extra_groups=[AGENT],
                )
            except FileNotFoundError:
                return 400, {"message": f'exec: "{words[0]}": no such file or directory'}
            self.beside(self.process.pid)
            return 200, {}
        assert self.process is not None
        status = self.process.poll()
        return 200, {"Running": status is None, "ExitCode": status, "Pid": self.process.pid if status is None else 0}


@pytest.fixture(autouse=True)
def _gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway of the machine that runs the tests may be mute, and is not what they are about."""
    monkeypatch.setattr(probe_script, "GATEWAY_SECONDS", 0.05)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    found = Engine()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, value = found.answer(self.command, self.path, body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(value).encode() if value else b"")

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(api, "SOCKET", f"{folder}/docker.sock")
        with socketserver.ThreadingUnixStreamServer(api.SOCKET, Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            yield found
            server.shutdown()
            thread.join()
    if found.process:
        found.process.kill()
        found.process.wait()


@pytest.fixture
def tree() -> Iterator[Path]:
    """What the probe walks in place of `/`: somebody else's, with one folder of the agent's."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    for name, mode in (("etc", 0o755), ("home", 0o755), ("home/agent", 0o700), ("closed", 0o700)):
        (folder / name).mkdir(mode=mode)
    os.chown(folder / "home/agent", AGENT, AGENT)
    yield folder
    shutil.rmtree(folder)


def of(kind: str, found: dict[str, Any]) -> list[list[str]]:
    return [row[1:] for row in found["rows"] if row[0] == kind]


def awaited(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def undumpable(pid: int) -> bool:
    return Path(f"/proc/{pid}/fd").stat().st_uid == 0


def as_agent(program: str, *arguments: object) -> str:
    """What a Perl program of the agent's prints."""
    argv = [inside.PERL, "-e", program, *map(str, arguments)]
    return subprocess.run(
        argv, stdout=subprocess.PIPE, text=True, check=True, user=AGENT, group=AGENT, extra_groups=[]
    ).stdout


# --- what it finds ----------------------------------------------------------------------------------------------------


@as_root
@pytest.mark.usefixtures("engine")
def test_it_tells_what_the_agent_can_do(tree: Path) -> None:
    (tree / "etc" / NONCE).touch()
    found = inside.probe("c1", AGENT, NONCE, str(tree))
    assert (found["error"], found.get("tampering")) == (None, None)
    assert of("identity", found) == [["1000", "1000", "1000 1000", "1000 1000"]]
    assert of("writable", found) == [[f"{tree}/home/agent"]]
    assert of("canary", found) == [[f"{tree}/etc", "0"]]
    assert of("walk", found) == [["5"]]
    assert of("refused", found) == [["13", "4"]]
    assert {name for name, _ in of("try", found)} == {
        *("tcp", "raw-socket", "mount", "getpid", "keyctl", "bpf", "unshare")
    }
    assert dict(of("try", found))["getpid"] == "0"
    assert found["rows"][-1] == ["done"]
    assert list((tree / "home/agent").iterdir()) == []


@as_root
@pytest.mark.usefixtures("engine")
def test_the_agents_own_directory_is_writable_whatever_its_mode(tree: Path) -> None:
    """Its owner opens it again as soon as nobody looks."""
    for name, mode in (("shut", 0o500), ("gone", 0o000)):
        (tree / "etc" / name).mkdir(mode=mode)
        os.chown(tree / "etc" / name, AGENT, AGENT)
    found = inside.probe("c1", AGENT, NONCE, str(tree))
    assert {path for (path,) in of("writable", found)} == {
        *(f"{tree}/home/agent", f"{tree}/etc/shut", f"{tree}/etc/gone")
    }
    assert oct((tree / "etc/gone").stat().st_mode) == "0o40000"


@as_root
@pytest.mark.usefixtures("engine")
def test_no_path_is_too_long_for_it(tree: Path) -> None:
    """Neither a writable directory nor an engine's socket can be put out of its sight."""
    base, listener = Path.cwd(), socket.socket(socket.AF_UNIX)
    os.chdir(tree / "etc")
    try:
        for _ in range(20):
            os.mkdir(LONG)  # noqa: PTH102 - no path leads here
            os.chdir(LONG)
        os.chmod(".", 0o777)  # noqa: PTH101, S103
        listener.bind("docker.sock")
        os.chmod("docker.sock", 0o777)  # noqa: PTH101, S103
        listener.listen()
        Path(NONCE).touch()
    finally:
        os.chdir(base)
    with listener:
        found = inside.probe("c1", AGENT, NONCE, str(tree))
    deep = f"{tree}/etc/" + "/".join([LONG] * 20)
    assert [deep] in of("writable", found)
    assert of("socket", found) == [[f"{deep}/docker.sock", "0", ""]]
    assert of("canary", found) == [[deep, "0"]]
    assert found["error"] is None


@as_root
@pytest.mark.usefixtures("engine")
def test_sockets_that_never_answer_do_not_keep_it_from_the_others(tree: Path) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(260):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(f"{tree}/home/agent/{number}")
            os.chown(f"{tree}/home/agent/{number}", AGENT, AGENT)
            listener.listen(1)
        full = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2)]
        for client in full:
            client.connect(f"{tree}/home/agent/7")
        found = inside.probe("c1", AGENT, NONCE, str(tree))
    answers = {Path(path).name: error for path, error, _ in of("socket", found)}
    assert (len(answers), answers["7"], answers["8"]) == (260, "11", "0")
    assert found["error"] is None


@as_root
@pytest.mark.usefixtures("engine")
def test_a_link_is_not_entered(tree: Path) -> None:
    (tree / "etc/link").symlink_to("/")
    assert of("walk", inside.probe("c1", AGENT, NONCE, str(tree))) == [["5"]]


@pytest.fixture
def scratch(tree: Path) -> Iterator[Callable[[str], Path]]:
    """Mount scratch space with these options."""
    place = tree / "scratch"
    place.mkdir()

    def mounted(options: str) -> Path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=1777,{options}", "none", str(place)], check=True)
        return place

    yield mounted
    subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)


@as_root
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("options", "error"), [("noexec", "13"), ("exec", "0")])
def test_scratch_space_that_runs_a_program_is_told_from_one_that_does_not(
    scratch: Callable[[str], Path], tree: Path, options: str, error: str
) -> None:
    place = scratch(options)
    found = inside.probe("c1", AGENT, NONCE, str(tree))
    assert of("execute", found) == [[str(place), error, "0"]]
    assert list(place.iterdir()) == []


@as_root
@pytest.mark.usefixtures("engine")
def test_full_scratch_space_refuses_nothing(scratch: Callable[[str], Path], tree: Path) -> None:
    """A script that could not be written does not run either."""
    place = scratch("exec,size=4k")
    (place / "full").write_bytes(bytes(4096))
    assert of("execute", inside.probe("c1", AGENT, NONCE, str(tree))) == [[str(place), "28", "1"]]


@as_root
@pytest.mark.usefixtures("engine")
def test_space_without_room_for_a_file_is_not_refused_for_want_of_permission(
    scratch: Callable[[str], Path], tree: Path
) -> None:
    scratch("nr_inodes=1")
    assert ["28", "1"] in of("refused", inside.probe("c1", AGENT, NONCE, str(tree)))


# --- the agent beside it ----------------------------------------------------------------------------------------------

OPENS_ALL = r"""
my $process = "/proc/$ARGV[0]";
my @places = ((map { "fd/$_" } 0 .. 19), qw(mem environ maps auxv root cwd));
for my $place (@places) {
  for my $how ("<", ">>", "+<") { print "$how $place\n" if open(my $opened, $how, "$process/$place") }
}
print "end\n";
"""
ATTACHES = """
import ctypes, sys, time
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(0x4206, int(sys.argv[1]), None, None) == 0  # PTRACE_SEIZE
print("ready", flush=True)
time.sleep(60)
"""


@as_root
def test_the_agent_opens_nothing_of_it_once_it_has_begun(engine: Engine, tree: Path) -> None:
    said = []

    def beside(pid: int) -> None:
        awaited(lambda: undumpable(pid))
        said.append(as_agent(OPENS_ALL, pid))

    engine.beside = beside
    found = inside.probe("c1", AGENT, NONCE, str(tree))
    assert said == ["end\n"]
    assert found["rows"][-1] == ["done"]


@as_root
def test_what_the_agent_had_opened_before_leads_nowhere(engine: Engine, tree: Path) -> None:
    """Its output is what it was forged through."""
    engine.argv = ["sh", "-c", 'read line; exec "$0" "$@"', inside.PERL, "-e"]
    forged = "".join(f"try\t{name}\t1\n" for name in ("keyctl", "bpf", "unshare")) + "done\n"
    reader, writer = os.pipe()
    held: list[Any] = []

    def beside(pid: int) -> None:
        held.extend(os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR) for number in (1, 2))
        os.write(writer, b"go\n")
        awaited(lambda: undumpable(pid))
        for descriptor in held:
            os.write(descriptor, forged.encode())

    start = subprocess.Popen

    def popen(words: list[str], **options: Any) -> subprocess.Popen[bytes]:
        words = [*words, engine.wish["Cmd"][2]] if words[0] == "sh" else words
        return start(words, **{**options, "stdin": reader} if words[0] == "sh" else options)

    engine.beside = beside
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", popen)
        found = inside.probe("c1", AGENT, NONCE, str(tree))
    for descriptor in (reader, writer, *held):
        os.close(descriptor)
    assert found.get("tampering") is None
    assert found["error"] is None
    assert len(of("try", found)) == 7


@as_root
def test_whoever_traces_it_is_seen_and_told_nothing(engine: Engine, tree: Path) -> None:
    tracers = []

    def beside(pid: int) -> None:
        tracer = subprocess.Popen([sys.executable, "-c", ATTACHES, str(pid)], stdout=subprocess.PIPE, text=True)
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == "ready\n"
        tracers.append(tracer)

    engine.beside = beside
    found = inside.probe("c1", AGENT, NONCE, str(tree))
    (tracer,) = tracers
    tracer.kill()
    tracer.communicate()
    assert found["tampering"] == [f"process {tracer.pid} of the host traces it"]
    assert found["rows"] == []
    assert found["error"]


@as_root
@pytest.mark.parametrize("late", [False, True])
def test_a_probe_that_is_stopped_has_an_end(
    engine: Engine, tree: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    monkeypatch.setattr(inside, "PROBE_SECONDS", 2.0)

    def beside(pid: int) -> None:
        if late:
            awaited(lambda: undumpable(pid))
        os.kill(pid, signal.SIGSTOP)

    engine.beside = beside
    found = inside.probe("c1", AGENT, NONCE, str(tree))
    assert found["error"].endswith("within 2 s")
    assert engine.process is not None
    assert engine.process.wait(10) == -signal.SIGKILL


@as_root
def test_a_probe_that_is_ended_was_not_completed(engine: Engine, tree: Path) -> None:
    engine.beside = lambda pid: os.kill(pid, signal.SIGKILL)
    found = inside.probe("c1", AGENT, NONCE, str(tree))
    assert found == {"rows": [], "error": "the probe ended with status -9 before it began"}


# --- how it is started ------------------------------------------------------------------------------------------------


@as_root
def test_it_is_started_by_its_own_path_and_without_the_containers_loader_settings(engine: Engine, tree: Path) -> None:
    inside.probe("c1", AGENT, NONCE, str(tree))
    assert engine.wish["Cmd"][0] == "/usr/bin/perl"
    assert {"LD_PRELOAD=", "LD_LIBRARY_PATH=", "PERL5LIB=", "PERL5OPT="} <= set(engine.wish["Env"])
    assert engine.wish["User"] == "1000:1000"
    assert NONCE not in json.dumps(engine.wish)


@as_root
def test_a_container_without_perl_says_so(engine: Engine) -> None:
    engine.argv = ["/nowhere/perl"]
    assert inside.probe("c1", AGENT, NONCE) == {
        "rows": [],
        "error": 'the engine refuses /exec/e1/start: exec: "/nowhere/perl": no such file or directory',
    }


def test_an_engine_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(api, "SOCKET", str(tmp_path / "docker.sock"))
    found = inside.probe("c1", AGENT, NONCE)
    assert found == {"rows": [], "error": f"there is no engine socket {tmp_path}/docker.sock"}


# --- rows -------------------------------------------------------------------------------------------------------------


def line(number: int, *fields: str, mark: str = MARK) -> str:
    return "\t".join([mark, str(number), *fields]) + "\n"


def test_rows_keep_tabs_and_line_ends_of_hostile_names() -> None:
    assert rows("writable\t/srv/a%09b%0Ac\ndone\n") == [["writable", "/srv/a\tb\nc"], ["done"]]


def test_rows_with_the_token_and_their_numbers_are_the_probes_own() -> None:
    text = line(1, "try", "bpf", "1") + line(2, "done")
    assert authentic(text, MARK) == ([["try", "bpf", "1"], ["done"]], [])
    assert authentic("", MARK) == ([], [])


@pytest.mark.parametrize(
    "foreign",
    [
        "try\tbpf\t1\n",
        line(2, "try", "bpf", "1", mark="guessed"),
        line(1, "try", "bpf", "1"),
        line(3, "try", "bpf", "1"),
        line(2),
        "x\n",
        "x" + line(2, "try", "bpf", "1"),
    ],
)
def test_any_other_line_is_somebody_elses(foreign: str) -> None:
    found, complaints = authentic(line(1, "walk", "7") + foreign, MARK)
    assert found == [["walk", "7"]]
    assert complaints == ["what it printed holds a line that is not its own, behind row 1"]


def test_a_line_that_was_cut_off_is_nobodys() -> None:
    assert authentic(line(1, "walk", "7") + "0123ab", MARK) == ([["walk", "7"]], [])
