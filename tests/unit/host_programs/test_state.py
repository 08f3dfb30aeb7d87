"""clawkeep-state: the agent's files are closed to everyone else, and nothing of the host's goes with them."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clawkeep_host import engine_api, files, state
from clawkeep_host.command import Refusal

AGENT = 1000
NOBODY = 2**32 - 1
ACL = struct.pack(
    "<I", 2
)  # version, then tag, permissions and uid: of the owner, uid 1001, the group, the mask, others
for entry in ((0x01, 6, NOBODY), (0x02, 6, 1001), (0x04, 0, NOBODY), (0x10, 6, NOBODY), (0x20, 4, NOBODY)):
    ACL += struct.pack("<HHI", *entry)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files of two accounts")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def owners(path: Path) -> tuple[int, int]:
    return path.lstat().st_uid, path.lstat().st_gid


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """An agent's volume: a private folder of its own."""
    root = tmp_path / "volume"
    root.mkdir(mode=0o700)
    os.chown(root, AGENT, AGENT)
    yield root
    subprocess.run(["rm", "-rf", str(root)], check=True)


def put(path: Path, bits: int = 0o600, uid: int = AGENT, gid: int = AGENT) -> Path:
    path.touch()
    os.chown(path, uid, gid)
    path.chmod(bits)
    return path


# --- closing --------------------------------------------------------------------------------------------------------


@as_root
def test_a_closed_volume_is_left_as_it_is(volume: Path) -> None:
    put(volume / "file", 0o700)
    (volume / "link").symlink_to("/etc/passwd")
    os.chown(volume / "link", AGENT, AGENT, follow_symlinks=False)
    assert list(state.close(volume, AGENT)) == []


@as_root
def test_every_foreign_owner_and_permission_goes(volume: Path) -> None:
    volume.chmod(0o755)
    (volume / "folder").mkdir(mode=0o2755)
    (volume / "folder").chmod(0o3775)
    put(volume / "folder" / "open", 0o644)
    put(volume / "folder" / "roots", 0o4755, 0, 0)
    put(volume / "group", 0o600, AGENT, 0)
    (volume / "link").symlink_to("/etc/passwd")
    before = Path("/etc/passwd").stat()
    assert list(state.close(volume, AGENT)) == [
        f"closed {volume} (0755 is now 0700)",
        f"gave {volume}/folder to the service account",
        f"closed {volume}/folder (3775 is now 1700)",
        f"closed {volume}/folder/open (0644 is now 0600)",
        f"gave {volume}/folder/roots to the service account",
        f"closed {volume}/folder/roots (0755 is now 0700)",
        f"gave {volume}/group to the service account",
        f"gave {volume}/link to the service account",
    ]
    for path in (volume, *volume.rglob("*")):
        assert owners(path) == (AGENT, AGENT)
        assert path.is_symlink() or mode(path) & 0o6077 == 0
    assert Path("/etc/passwd").stat() == before
    assert list(state.close(volume, AGENT)) == []


@as_root
def test_setuid_and_setgid_go_from_the_agents_own_files(volume: Path) -> None:
    put(volume / "file", 0o6700)
    assert list(state.close(volume, AGENT)) == [f"closed {volume}/file (6700 is now 0700)"]
    assert mode(volume / "file") == 0o700


@as_root
def test_sockets_and_pipes_are_closed_too(volume: Path) -> None:
    os.mkfifo(volume / "pipe")
    (volume / "pipe").chmod(0o622)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(volume / "sock"))
    (volume / "sock").chmod(0o777)
    assert list(state.close(volume, AGENT)) == [
        f"gave {volume}/pipe to the service account",
        f"closed {volume}/pipe (0622 is now 0600)",
        f"gave {volume}/sock to the service account",
        f"closed {volume}/sock (0777 is now 0700)",
    ]


@as_root
def test_access_lists_go_from_files_and_folders(volume: Path) -> None:
    (volume / "folder").mkdir(mode=0o700)
    os.chown(volume / "folder", AGENT, AGENT)
    put(volume / "folder" / "file")
    for path, kinds in ((volume / "folder", ("access", "default")), (volume / "folder" / "file", ("access",))):
        for kind in kinds:
            try:
                os.setxattr(path, f"system.posix_acl_{kind}", ACL)
            except OSError as trouble:
                if trouble.errno != errno.ENOTSUP:
                    raise
                pytest.skip("this file system has no access lists")
    os.setxattr(volume / "folder" / "file", "user.note", b"kept")
    assert list(state.close(volume, AGENT)) == [
        f"removed an access list from {volume}/folder",
        f"removed an access list from {volume}/folder",
        f"closed {volume}/folder (0664 is now 0600)",
        f"removed an access list from {volume}/folder/file",
        f"closed {volume}/folder/file (0664 is now 0600)",
    ]
    assert os.listxattr(volume / "folder") == []
    assert os.listxattr(volume / "folder" / "file") == ["user.note"]


@as_root
def test_a_file_system_without_access_lists_can_be_closed(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(volume / "file", 0o640)

    def unsupported(_: str) -> list[str]:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "listxattr", unsupported)
    assert list(state.close(volume, AGENT)) == [f"closed {volume}/file (0640 is now 0600)"]

    def broken(_: str) -> list[str]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "listxattr", broken)
    with pytest.raises(Refusal, match="Input/output error"):
        list(state.close(volume, AGENT))


@as_root
def test_files_below_the_longest_path_are_closed(volume: Path) -> None:
    folder = os.open(volume, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, 0o755, dir_fd=folder)
        folder, former = os.open("d" * 250, os.O_RDONLY, dir_fd=folder), folder
        os.close(former)
    os.close(os.open("credentials.json", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=folder))
    done = list(state.close(volume, AGENT))
    assert done[-1].endswith("/credentials.json (0644 is now 0600)")
    assert len(done) == 42
    found = os.stat("credentials.json", dir_fd=folder)
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (AGENT, 0o600)
    os.close(folder)


# --- what is not the agent's ------------------------------------------------------------------------------------------


@as_root
def test_a_folder_swapped_for_a_link_gives_nothing_of_the_host_away(volume: Path, tmp_path: Path) -> None:
    """The swap happens between two files of the folder, when its names are already known."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (volume / "folder").mkdir()
    for name in ("a", "b", "c"):
        (outside / name).touch(mode=0o644)
        (volume / "folder" / name).touch(mode=0o644)
    swapped = False
    for sentence in state.close(volume, AGENT):
        if "/folder/" in sentence and not swapped:
            swapped = True
            (volume / "folder").rename(volume / "elsewhere")
            (volume / "folder").symlink_to(outside)
    assert swapped
    assert [owners(outside / name) for name in "abc"] == [(0, 0)] * 3
    assert [mode(outside / name) for name in "abc"] == [0o644] * 3
    assert [mode(volume / "elsewhere" / name) for name in "abc"] == [0o600] * 3


@as_root
def test_a_hard_link_to_a_file_of_the_host_stays_the_hosts_and_the_rest_is_closed(volume: Path, tmp_path: Path) -> None:
    shadow = put(tmp_path / "shadow", 0o640, 0, 42)
    (volume / "a").hardlink_to(shadow)
    put(volume / "b", 0o644)
    done: list[str] = []
    with pytest.raises(Refusal) as refusal:
        done.extend(state.close(volume, AGENT))
    assert str(refusal.value) == f"{volume}/a cannot be closed: it is a file of uid 0 that has another name too"
    assert (owners(shadow), mode(shadow)) == ((0, 42), 0o640)
    assert mode(volume / "b") == 0o600


@as_root
def test_complaints_are_few_and_counted(volume: Path, tmp_path: Path) -> None:
    for number in range(8):
        put(tmp_path / f"of{number}", 0o640, 0, 0)
        (volume / f"file{number}").hardlink_to(tmp_path / f"of{number}")
    with pytest.raises(Refusal) as refusal:
        list(state.close(volume, AGENT))
    assert str(refusal.value).count("cannot be closed") == 5
    assert str(refusal.value).endswith("another name too; and 3 more")


@as_root
def test_a_name_made_to_deceive_moves_no_cursor(volume: Path, tmp_path: Path) -> None:
    put(tmp_path / "host", 0o640, 0, 0)
    (volume / "\x1b[2Jdone\n").hardlink_to(tmp_path / "host")
    with pytest.raises(Refusal) as refusal:
        list(state.close(volume, AGENT))
    assert rf"{volume}/\x1b[2Jdone cannot be closed: it is" in str(refusal.value)


@as_root
def test_a_tree_that_is_not_walked_to_its_end_is_a_failure(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (volume / "folder").mkdir(mode=0o755)
    put(volume / "folder" / "file", 0o644)
    monkeypatch.setattr(files, "Walk", partial(files.Walk, depth=1))
    with pytest.raises(Refusal) as refusal:
        list(state.close(volume, AGENT))
    assert str(refusal.value) == f"{volume}/folder cannot be read: it lies deeper than 1 folders"
    assert mode(volume / "folder") == 0o700


def test_a_volume_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"volume cannot be closed: No such file or directory$"):
        list(state.close(tmp_path / "volume", AGENT))


RENAME_EXCHANGE = 2


@as_root
def test_an_agent_that_swaps_all_the_time_gets_no_file_of_the_host() -> None:
    """The agent is a process of uid 1000 that can write below `volume` alone; `outside` stands for /etc."""
    base = Path(tempfile.mkdtemp())
    child, parent = 0, os.getpid()
    ready, started = os.pipe()
    try:
        base.chmod(0o755)
        for folder in (base / "outside", base / "volume", base / "volume" / "folder"):
            folder.mkdir(mode=0o755)
        for number in range(2000):
            for folder in (base / "outside", base / "volume" / "folder"):
                (folder / f"f{number}").touch(mode=0o644)
        (base / "volume" / "link").symlink_to(base / "outside")
        os.chown(base / "volume", AGENT, AGENT)
        child = os.fork()
        if not child:
            try:
                swap_for_ever(base / "volume", parent, started)
            finally:
                os._exit(0)
        assert os.read(ready, 1)
        for _ in range(3):
            list(state.close(base / "volume", AGENT))
            assert {path.lstat().st_uid for path in (base / "outside").iterdir()} == {0}
            assert {mode(path) for path in (base / "outside").iterdir()} == {0o644}
    finally:
        os.close(ready)
        os.close(started)
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        shutil.rmtree(base)


def swap_for_ever(volume: Path, parent: int, started: int) -> None:
    os.setgroups([])
    os.setgid(AGENT)
    os.setuid(AGENT)
    libc = ctypes.CDLL(None)
    folder, link = os.fsencode(volume / "folder"), os.fsencode(volume / "link")
    swapped = 0
    while os.getppid() == parent:
        swapped += libc.renameat2(-100, folder, -100, link, RENAME_EXCHANGE) == 0
        if swapped == 1:
            os.write(started, b"x")
            swapped += 1


# --- volumes --------------------------------------------------------------------------------------------------------


class Engine:
    """Docker as far as volumes go."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.present: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []

    def add(self, name: str, **more: Any) -> Path:
        folder = self.base / name / "_data"
        folder.mkdir(parents=True)
        self.present[name] = {"Name": name, "Mountpoint": str(folder), **more}
        return folder

    def __call__(self, method: str, path: str, body: Any = None, **_: Any) -> bytes:
        self.asked.append((method, path, body))
        name = path.removeprefix("/volumes/")
        if method == "POST":
            name = body["Name"]
            self.add(name)
        if name not in self.present:
            raise engine_api.Missing("Docker refuses it: no such volume")
        return json.dumps(self.present[name]).encode()


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    fake = Engine(tmp_path / "volumes")
    monkeypatch.setattr(engine_api, "ask", fake)
    return fake


@as_root
def test_missing_volumes_are_made_for_the_agent_and_closed(engine: Engine) -> None:
    engine.add("openclaw-workspace").chmod(0o755)
    base = engine.base
    assert state.volumes(AGENT) == [
        "made volume openclaw-state",
        f"gave {base}/openclaw-state/_data to the service account",
        f"closed {base}/openclaw-state/_data (0755 is now 0700)",
        f"gave {base}/openclaw-workspace/_data to the service account",
        f"closed {base}/openclaw-workspace/_data (0755 is now 0700)",
    ]
    assert engine.asked == [
        ("GET", "/volumes/openclaw-state", None),
        ("POST", "/volumes/create", {"Name": "openclaw-state", "Labels": {"clawkeep.role": "agent"}}),
        ("GET", "/volumes/openclaw-workspace", None),
    ]
    assert state.volumes(AGENT) == []


@as_root
def test_one_volume_that_stays_open_does_not_keep_the_other_from_being_closed(engine: Engine) -> None:
    first, second = engine.add("openclaw-state"), engine.add("openclaw-workspace")
    os.mknod(first / "disk", stat.S_IFBLK | 0o666, os.makedev(7, 200))
    put(second / "file", 0o644)
    with pytest.raises(Refusal) as refusal:
        state.volumes(AGENT)
    assert str(refusal.value) == f"{first}/disk cannot be closed: it is a device"
    assert owners(first / "disk") == (0, 0)
    assert mode(second / "file") == 0o600
    os.mknod(second / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with pytest.raises(Refusal, match=r"_data/disk cannot .* a device; .*_data/null cannot .* a device$"):
        state.volumes(AGENT)


@as_root
def test_a_long_list_of_changes_is_cut_and_counted(engine: Engine) -> None:
    for name in state.VOLUMES:
        os.chown(engine.add(name), AGENT, AGENT)
    for number in range(130):
        put(engine.base / "openclaw-state/_data" / f"{number:03}", 0o640)
    (engine.base / "openclaw-state/_data").chmod(0o700)
    (engine.base / "openclaw-workspace/_data").chmod(0o700)
    done = state.volumes(AGENT)
    assert len(done) == 101
    assert done[99].endswith("/099 (0640 is now 0600)")
    assert done[100] == "and 30 changes more"


@pytest.mark.parametrize("mountpoint", ["", None, "relative", "/", "//"])
def test_a_volume_that_lies_nowhere_on_this_host_is_refused(
    engine: Engine, mountpoint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume driver that keeps files elsewhere answers with an empty path, which would be the current folder."""
    for name in state.VOLUMES:
        engine.add(name)
    engine.present["openclaw-workspace"]["Mountpoint"] = mountpoint
    monkeypatch.setattr(state, "close", lambda *_: pytest.fail("something was closed"))
    with pytest.raises(Refusal, match=r"^the volume openclaw-workspace has no folder on this host; remove it, so "):
        state.volumes(AGENT)


def test_an_engine_that_answers_with_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for nonsense in (b"[]", b"null", b'"text"', b"{}"):
        monkeypatch.setattr(engine_api, "ask", lambda *_, nonsense=nonsense, **__: nonsense)
        with pytest.raises(Refusal, match="no folder on this host"):
            state.volumes(AGENT)


def test_an_engine_that_does_not_answer_makes_no_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any, **__: Any) -> bytes:
        raise engine_api.EngineError("Docker does not answer: x")

    monkeypatch.setattr(engine_api, "ask", silent)
    with pytest.raises(Refusal, match="Docker does not answer"):
        state.volumes(AGENT)


# --- token ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(state, "ENVIRONMENT", tmp_path / "gateway.env")
    monkeypatch.setattr(state, "LOCK", tmp_path / "run" / "clawkeep" / "state.lock")
    monkeypatch.setattr(secrets, "token_hex", lambda size: f"dummy{size}")
    return tmp_path / "gateway.env"


NEW = b"OPENCLAW_GATEWAY_TOKEN=dummy32\n"


@pytest.mark.parametrize(
    ("before", "rotate", "after", "said"),
    [
        (None, False, NEW, ["made the gateway's token"]),
        (None, True, NEW, ["made the gateway's token"]),
        (b"", False, NEW, ["made the gateway's token"]),
        (b"A=1\n", False, b"A=1\n" + NEW, ["made the gateway's token"]),
        (b"A=1", False, b"A=1\n" + NEW, ["made the gateway's token"]),
        (b"OPENCLAW_GATEWAY_TOKEN=old\nA=1\n", False, None, []),
        (b"A=1\nOPENCLAW_GATEWAY_TOKEN=old", False, None, []),
        (b"OPENCLAW_GATEWAY_TOKEN=old\nA=1\n", True, b"A=1\n" + NEW, ["replaced the gateway's token"]),
        (b"OPENCLAW_GATEWAY_TOKEN=\nA=1\n", False, b"A=1\n" + NEW, ["replaced the gateway's token"]),
        (b'OPENCLAW_GATEWAY_TOKEN=""\r\n', False, NEW, ["replaced the gateway's token"]),
        (b"OPENCLAW_GATEWAY_TOKEN=' \t'\n", False, NEW, ["replaced the gateway's token"]),
        (b"OPENCLAW_GATEWAY_TOKEN=old\nOPENCLAW_GATEWAY_TOKEN=\n", False, NEW, ["replaced the gateway's token"]),
        (
            b"OPENCLAW_GATEWAY_TOKEN=a\nX=1\nOPENCLAW_GATEWAY_TOKEN=b",
            True,
            b"X=1\n" + NEW,
            ["replaced the gateway's token"],
        ),
        (b"# OPENCLAW_GATEWAY_TOKEN=x\n", False, b"# OPENCLAW_GATEWAY_TOKEN=x\n" + NEW, ["made the gateway's token"]),
        (b"K=\xff\xfe\n", False, b"K=\xff\xfe\n" + NEW, ["made the gateway's token"]),
    ],
)
def test_there_is_one_token_and_other_lines_stay(
    environment: Path, before: bytes | None, rotate: bool, after: bytes | None, said: list[str]
) -> None:
    if before is not None:
        environment.write_bytes(before)
        environment.chmod(0o644)
    assert state.token(rotate) == said
    assert environment.read_bytes() == (before if after is None else after)
    assert mode(environment) == (0o644 if after is None else 0o600)


def test_a_token_is_random_bytes_of_the_kernel(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(state, "ENVIRONMENT", environment)
    monkeypatch.setattr(state, "LOCK", environment.with_name("lock"))
    tokens = set()
    for _ in range(2):
        state.token(True)
        name, _, token = environment.read_text().strip().partition("=")
        assert (name, len(bytes.fromhex(token))) == ("OPENCLAW_GATEWAY_TOKEN", 32)
        tokens.add(token)
    assert len(tokens) == 2


def test_two_changes_of_the_token_do_not_meet(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "LOCK_SECONDS", 0)
    state.LOCK.parent.mkdir(parents=True)
    with files.lock(state.LOCK, "test"), pytest.raises(Refusal, match=r"^another clawkeep-state is at work$"):
        state.token(True)
    assert not environment.exists()


# --- command line -----------------------------------------------------------------------------------------------------


def call(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr(sys, "argv", ["clawkeep-state", *argv])
    with pytest.raises(SystemExit) as end:
        state.main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_a_change_is_told_as_json(
    environment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "token") == 0
    assert json.loads(capsys.readouterr().out) == {"changed": True, "what": ["made the gateway's token"]}
    assert call(monkeypatch, "token") == 0
    assert json.loads(capsys.readouterr().out) == {"changed": False, "what": []}
    assert call(monkeypatch, "token", "--rotate") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["what"] == ["replaced the gateway's token"]
    assert "dummy" not in printed.out + printed.err
    assert environment.read_bytes() == NEW


def test_the_account_of_volumes_is_the_one_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(state, "volumes", lambda uid: [f"uid {uid}"])
    assert call(monkeypatch, "volumes") == 0
    assert json.loads(capsys.readouterr().out) == {"changed": True, "what": ["uid 1000"]}
    assert call(monkeypatch, "volumes", "--uid=1") == 0
    assert json.loads(capsys.readouterr().out)["what"] == ["uid 1"]


@pytest.mark.parametrize("uid", ["0", "-1", "4294967295", "node"])
def test_files_are_given_to_no_uid_that_is_no_account(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uid: str
) -> None:
    assert call(monkeypatch, "volumes", f"--uid={uid}") == 2
    assert "--uid" in capsys.readouterr().err


def test_a_failure_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: int) -> list[str]:
        raise Refusal("it stays open")

    monkeypatch.setattr(state, "volumes", refuse)
    assert call(monkeypatch, "volumes") == 1
    assert capsys.readouterr() == ("", "clawkeep-state: it stays open\n")


def test_the_version_and_a_missing_command_are_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("clawkeep-state 0.")
    assert call(monkeypatch) == 2


def test_the_token_lies_where_compose_reads_it() -> None:
    role = Path(__file__).resolve().parents[3] / "roles" / "openclaw"
    compose = (role / "templates/etc/clawkeep/openclaw/candidate/compose.yml.j2").read_text()
    assert f"env_file: {state.ENVIRONMENT}\n" in compose
    for name in state.VOLUMES:
        assert f"{{type: volume, source: {name}, " in compose
    assert state.LOCK.parent == Path("/run/clawkeep")
