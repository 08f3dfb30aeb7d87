"""What the collector makes of settings that the agent may have put there, and of a gateway that talks at length."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from clawkeep.collector import docker, proc
from clawkeep.collector.experiments import gateways, turns

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
READERS: tuple[Callable[[int], dict[str, object]], ...] = (gateways.settings, turns.settings)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of the gateway, which runs in our own root here, in a folder of the agent's."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "state"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 1000, 1000)
    monkeypatch.setattr(gateways, "CONFIG", str(folder / "openclaw.json"))
    return folder / "openclaw.json"


@pytest.mark.parametrize("read", READERS)
def test_settings_are_read(config: Path, read: Callable[[int], dict[str, object]]) -> None:
    config.write_text(json.dumps({"gateway": {"auth": {"mode": "token"}}, "logging": {"file": "/x.log"}}))
    found = read(os.getpid())
    assert "problem" not in found
    assert "/x.log" in (found.get("file"), (found.get("log") or {}).get("file"))  # type: ignore[attr-defined]


@as_root
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["pipe", "link", "nested", "endless", "list", "nothing", "device"])
def test_whatever_lies_in_their_place_is_a_problem_and_no_more(
    config: Path, read: Callable[[int], dict[str, object]], kind: str
) -> None:
    """Root neither waits for a writer, nor reads a file of the host's in the agent's stead, nor breaks."""
    if kind == "pipe":
        os.mkfifo(config)
    elif kind == "link":
        (config.parent.parent / "host").write_text("{}")
        config.symlink_to(config.parent.parent / "host")
    elif kind == "nested":
        config.write_text("[" * 100_000)
    elif kind == "endless":
        with config.open("wb") as file:
            file.truncate(1 << 40)
    elif kind == "list":
        config.write_text("[]")
    elif kind == "device":
        os.mknod(config, 0o020666, os.makedev(1, 5))  # /dev/zero
    found: list[dict[str, object]] = []
    thread = threading.Thread(target=lambda: found.append(read(os.getpid())), daemon=True)
    thread.start()
    thread.join(20)
    assert found, "it waits"
    assert set(found[0]) == {"problem"}


def test_the_name_servers_of_a_container_are_read_in_its_own_root(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    assert proc.read_inside(os.getpid(), str(tmp_path / "resolv.conf")) == "nameserver 192.0.2.1\n"
    assert proc.read_inside(os.getpid(), str(tmp_path / "none")) is None
    assert proc.read_inside(2**22 + 1, "/etc/resolv.conf") is None


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "{", ""])
def test_anybodys_settings_of_docker_desktop_break_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    homes = {"ada": '{"FileSharingDirectories": ["/srv"]}', "agent": text}
    for name, content in homes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.json").write_text(content)
    (tmp_path / "eve").mkdir()
    os.mkfifo(tmp_path / "eve/settings.json")
    monkeypatch.setattr(
        docker, "DESKTOP_SETTINGS", tuple(f"{tmp_path}/{name}/settings.json" for name in (*homes, "eve"))
    )
    assert docker.desktop_sharing() == {f"{tmp_path}/ada/settings.json": ["/srv"]}


def test_a_frame_without_end_is_not_read_to_it() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"\x81\x7f" + struct.pack(">Q", 1 << 50) + bytes(1000))
    line = turns.Line(ours)
    with pytest.raises(ValueError, match=r"^the gateway sends a frame of 1125899906842624 bytes$"):
        line.receive()
    line.close()
    theirs.close()


@pytest.mark.parametrize(("said", "size"), [("10", 10), ("-1", 0), ("x", 0), ("9" * 12, turns.MOST_FRAME), (None, 0)])
def test_of_a_request_no_more_is_read_than_is_kept(said: str | None, size: int) -> None:
    assert turns._length({"Content-Length": said}) == size
