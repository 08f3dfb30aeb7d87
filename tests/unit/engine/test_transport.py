"""The way to a host: every way in which it can go wrong has a sentence, an end, and sends no secret astray.

`ssh` and `sudo` are stubs on PATH: the far end is a shell on this machine, so the real bootstrap and collector run.
"""

from __future__ import annotations

import io
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from clawkeep.measure import transport
from clawkeep.measure.transport import Connection, TransportError

# Runs the remote command, which is the last argument, as ssh would: by the far end's shell.
FAR_END = 'eval "far=\\${$#}"; exec sh -c "$far"'


pytestmark = pytest.mark.usefixtures("stub")


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put a shell script on PATH, before everything else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def write(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    write("ssh", FAR_END)
    return write


def way(*, become: bool = False, sudo: str | None = None) -> Connection:
    return Connection("alpha", ("ssh", "alpha"), become or sudo is not None, become_password=sudo)


def trouble(connection: Connection, *, limit: float = 20) -> str:
    with pytest.raises(TransportError) as raised:
        connection.collect({}, limit=limit)
    sentence = str(raised.value)
    assert "\n" not in sentence
    assert sentence.startswith("alpha ")
    return sentence


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Send a package of one line in the collector's place."""

    def replace(body: str) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("clawkeep/__init__.py", "")
            archive.writestr("clawkeep/collector/__init__.py", "")
            archive.writestr("clawkeep/collector/__main__.py", body)
        monkeypatch.setattr(transport, "collector", buffer.getvalue)

    return replace


GOOD = 'import json, sys\nprint(json.dumps({"schema": 1, "identity": {"uid": 0}, "said": sys.stdin.read()}))'


def test_the_package_runs_from_memory_and_gets_its_parameters(package: Callable[[str], None]) -> None:
    package(GOOD)
    assert way().collect({"a": "ü"})["said"] == '{"a": "\\u00fc"}'


def test_the_shipped_collector_is_a_runnable_package() -> None:
    names = zipfile.ZipFile(io.BytesIO(transport.collector())).namelist()
    package = "clawkeep/collector/"
    assert {f"{package}__init__.py", f"{package}__main__.py", f"{package}recorder.py"} <= set(names)
    assert transport.collector() == transport.collector()


def test_the_collector_takes_along_what_it_imports_of_the_host_programs_and_no_more(tmp_path: Path) -> None:
    """Imported from the archive alone, by the host's own Python: no module of ours is missing there."""
    archive = tmp_path / "collector.zip"
    archive.write_bytes(transport.collector())
    program = (
        "import sys; sys.path[:0] = [sys.argv[1]]; import clawkeep.collector.__main__ as main\n"
        "import importlib, pkgutil, clawkeep.collector as package\n"
        "found = pkgutil.walk_packages(package.__path__, package.__name__ + '.')\n"
        "for module in found: importlib.import_module(module.name)\n"
        "print(*sorted(name for name in sys.modules if name.startswith('clawkeep_host')))"
    )
    argv = [sys.executable, "-IS", "-c", program, str(archive)]
    imported = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    sent = [name for name in zipfile.ZipFile(archive).namelist() if name.startswith("clawkeep_host/")]
    assert "clawkeep_host/files.py" in sent
    assert sorted(sent) == sorted(_path(name) for name in imported)


def _path(module: str) -> str:
    name = module.replace(".", "/")
    return f"{name}/__init__.py" if (transport.SOURCES / name).is_dir() else f"{name}.py"


def test_a_module_of_a_package_brings_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "clawkeep/__init__.py": "",
        "clawkeep/collector/a.py": "def late():\n    from clawkeep_host.log import send as s\n",
        "clawkeep_host/__init__.py": "",
        "clawkeep_host/log/__init__.py": "import clawkeep_host.base",
        "clawkeep_host/log/send.py": "import clawkeep_host_of_others, json",
        "clawkeep_host/base.py": "",
        "clawkeep_host/kill.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(transport, "SOURCES", tmp_path)
    assert zipfile.ZipFile(io.BytesIO(transport.collector())).namelist() == [
        "clawkeep/__init__.py",
        "clawkeep/collector/a.py",
        "clawkeep_host/__init__.py",
        "clawkeep_host/base.py",
        "clawkeep_host/log/__init__.py",
        "clawkeep_host/log/send.py",
    ]


def test_a_greeting_of_the_login_shell_is_dropped(
    stub: Callable[[str, str], Path], package: Callable[[str], None]
) -> None:
    package(GOOD)
    stub("ssh", f"echo 'Welcome to alpha'; echo '{{}}'; {FAR_END}")
    assert way().collect({})["schema"] == 1


def test_one_connection_serves_the_whole_collection(
    stub: Callable[[str, str], Path], package: Callable[[str], None], tmp_path: Path
) -> None:
    package(GOOD)
    stub("ssh", f"echo once >> {tmp_path}/connections; {FAR_END}")
    way().collect({})
    assert (tmp_path / "connections").read_text() == "once\n"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("ssh: connect to host alpha port 22: Connection refused", "is unreachable by ssh: ssh: connect"),
        ("alpha: Permission denied (publickey).", "refuses our ssh login"),
        ("Host key verification failed.", "host key that is not known"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "another ssh host key"),
    ],
)
def test_ssh_that_does_not_connect(stub: Callable[[str, str], Path], said: str, sentence: str) -> None:
    stub("ssh", f"echo '{said}' >&2; exit 255")
    assert sentence in trouble(way())


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("sudo: a password is required", "wants a sudo password"),
        ("ops is not in the sudoers file.", "does not let this account use sudo"),
        ("sudo: python3: command not found", "has no python3"),
    ],
)
def test_sudo_that_refuses(stub: Callable[[str, str], Path], said: str, sentence: str) -> None:
    stub("sudo", f"echo '{said}' >&2; exit 1")
    assert sentence in trouble(way(become=True))


def test_a_host_without_python(stub: Callable[[str, str], Path]) -> None:
    stub("timeout", "echo \"timeout: failed to run command 'python3': No such file or directory\" >&2; exit 127")
    assert "has no python3" in trouble(way())


SUDO_THAT_ASKS = """
echo "$@" > {log}/arguments
tries=0
while read -r line; do
    tries=$((tries + 1)); echo "$tries" > {log}/tries
    if [ "$line" = right ]; then shift; while [ "$1" != -- ]; do shift; done; shift; exec "$@"; fi
    echo 'Sorry, try again.' >&2
    [ $tries = 3 ] && break
done
echo 'sudo: no password was provided' >&2; exit 1
"""


def test_the_sudo_password_goes_over_standard_input_alone(
    stub: Callable[[str, str], Path], package: Callable[[str], None], tmp_path: Path
) -> None:
    package(GOOD)
    stub("sudo", SUDO_THAT_ASKS.format(log=tmp_path))
    connection = way(sudo="right")
    assert connection.collect({})["schema"] == 1
    assert "right" not in (tmp_path / "arguments").read_text()
    assert "right" not in " ".join(connection.command(["true"]))
    assert "right" not in repr(connection)


def test_a_wrong_sudo_password_is_tried_once(
    stub: Callable[[str, str], Path], package: Callable[[str], None], tmp_path: Path
) -> None:
    package(GOOD)
    stub("sudo", SUDO_THAT_ASKS.format(log=tmp_path))
    assert "refuses the sudo password" in trouble(way(sudo="wrong"))
    assert (tmp_path / "tries").read_text() == "1\n"


def test_a_password_that_sudo_did_not_ask_for_harms_nothing(
    stub: Callable[[str, str], Path], package: Callable[[str], None]
) -> None:
    package(GOOD)
    stub("sudo", 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
    assert way(sudo="idle").collect({})["said"] == "{}"


def test_output_without_end_is_cut_off(package: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "OUTPUT_CAP", 1024 * 1024)
    package("import sys\nwhile True:\n    sys.stdout.write('x' * 65536)")
    assert "sent more than 1 MB" in trouble(way())


def test_a_host_that_hangs_before_it_starts_is_given_up(
    stub: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(transport, "CONNECT_LIMIT", 1.5)
    stub("ssh", f"sleep 60 & echo $! > {tmp_path}/child; wait")
    assert "did not answer within 2 s" in trouble(way(), limit=0.5)
    command = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/cmdline")

    def runs() -> bool:
        return command.exists() and b"sleep" in command.read_bytes()

    deadline = time.monotonic() + 20  # a signal takes its time on a busy machine; the sleep would take 60 s
    while runs() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs()


def test_a_collection_that_hangs_is_ended_on_the_host(package: Callable[[str], None]) -> None:
    package("import time\ntime.sleep(60)")
    assert "did not finish within 2 s" in trouble(way(), limit=2)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("print('hello')", "not JSON"),
        ("print('[]')", "schema None"),
        ("print('{\"schema\": 7}')", "schema 7"),
        ('print(\'{"schema": 1, "identity": {"uid": 1000}}\')', "as uid 1000"),
        ('print(\'{"schema": 1, "identity": []}\')', "as uid None"),
        ("print('[' * 100000)", "not JSON"),
        ("raise SystemExit(3)", "broke off with status 3"),
        ("raise ValueError('strange')", "ValueError: strange"),
    ],
)
def test_a_collection_that_gives_no_document(package: Callable[[str], None], body: str, sentence: str) -> None:
    package(body)
    assert sentence in trouble(way())


def test_a_further_command_is_asked_as_root_and_bounded(stub: Callable[[str, str], Path]) -> None:
    stub("sudo", 'echo noise; while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
    assert way(become=True).ask(["printf", "%s\n", "it's $HOME"]) == "it's $HOME\n"
    assert way(sudo="idle").ask(["cat"]) == ""
    with pytest.raises(TransportError, match="alpha broke off with status 7"):
        way().ask(["sh", "-c", "exit 7"])
    with pytest.raises(TransportError, match=r"alpha did not finish within 1 s"):
        way().ask(["sleep", "60"], limit=1)


def test_no_ssh_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TransportError, match="ssh cannot be run here"):
        way().collect({})
