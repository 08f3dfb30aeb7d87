"""What the collector reads and writes on behalf of the log controls, where the agent owns the place."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clawkeep.collector import logs
from clawkeep.collector.experiments import audit_canary, log_marks

NONCE = "0123456789abcdef"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
SECONDS = 20


def soon(work: object, *arguments: str) -> str:
    """What `work` returns; fails when it waits for somebody who may never come."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(work(*arguments)), daemon=True)  # type: ignore[operator]
    thread.start()
    thread.join(SECONDS)
    assert found, "it waits for somebody"
    return found[0]


# --- a mark on the gateway's own output ------------------------------------------------------------------------------


@pytest.fixture
def output() -> Iterator[tuple[int, str]]:
    """A pipe as the engine gives it: where it is read, and its path as that of a process's output."""
    reader, writer = os.pipe()
    yield reader, f"/proc/self/fd/{writer}"
    os.close(reader)
    os.close(writer)


def test_a_line_is_written_to_the_engines_pipe(output: tuple[int, str]) -> None:
    reader, path = output
    assert log_marks.written(path, "a line\n") == ""
    assert os.read(reader, 100) == b"a line\n"


def test_a_file_in_the_place_of_the_output_keeps_its_content(tmp_path: Path) -> None:
    """The gateway may have opened anything as its output, also what only root may write to."""
    (tmp_path / "file").write_text("of the host")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        assert (
            log_marks.written(f"/proc/self/fd/{descriptor}", "x\n") == "the gateway's output is no pipe of the engine's"
        )
    finally:
        os.close(descriptor)
    assert (tmp_path / "file").read_text() == "of the host"


def test_nobody_is_waited_for(tmp_path: Path, output: tuple[int, str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "No such device" in soon(log_marks.written, str(tmp_path / "pipe"), "x\n")
    writer = int(output[1].rpartition("/")[2])
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    assert "cannot be written" in soon(log_marks.written, output[1], "x\n")


@pytest.mark.parametrize("kind", ["socket", "terminal", "device", "nothing"])
def test_what_is_no_pipe_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = {"device": "/dev/null", "nothing": str(tmp_path / "none")}.get(kind, str(tmp_path / "it"))
    master, slave = os.openpty()
    listener = socket.socket(socket.AF_UNIX)
    if kind == "socket":
        listener.bind(path)
    elif kind == "terminal":
        path = os.ttyname(slave)
    assert log_marks.written(path, "x\n")
    listener.close()
    os.close(slave)
    os.set_blocking(master, False)
    with pytest.raises(OSError):
        os.read(master, 100)
    os.close(master)


# --- a file in the agent's workspace ---------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A root with a workspace of the agent's in it."""
    for folder in (tmp_path, tmp_path / "root", tmp_path / "root/work"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    os.chown(tmp_path / "root/work", 1000, 1000)
    return tmp_path / "root/work"


@as_root
@pytest.mark.parametrize("uid", [0, 1000])
def test_a_file_is_made_changed_moved_and_removed(workspace: Path, uid: int) -> None:
    assert audit_canary.touch(str(workspace.parent), "/work", NONCE, uid) == ""
    assert list(workspace.iterdir()) == []


@as_root
def test_what_the_agent_puts_in_the_way_is_not_touched(workspace: Path) -> None:
    """By the name that is made, root would write through it, or wait for a reader."""
    (workspace.parent / "host").write_text("of the host")
    os.mkfifo(workspace / f"clawkeep-{NONCE}.made")
    (workspace / f"clawkeep-{NONCE}.moved").symlink_to("../host")
    assert audit_canary.touch(str(workspace.parent), "/work", NONCE, 0) == ""
    assert (workspace.parent / "host").read_text() == "of the host"
    assert len(list(workspace.iterdir())) == 2


@as_root
def test_a_workspace_is_not_found_through_a_link_of_the_agents(workspace: Path) -> None:
    (workspace.parent / "etc").mkdir()
    (workspace / "link").symlink_to("../etc")
    said = audit_canary.touch(str(workspace.parent), "/work/link", NONCE, 0)
    assert said == "/work/link cannot be entered: Too many levels of symbolic links"
    assert "No such file" in audit_canary.touch(str(workspace.parent), "/none", NONCE, 0)


@as_root
def test_a_workspace_that_takes_no_file_says_so(workspace: Path) -> None:
    os.chown(workspace, 0, 0)
    assert "Permission denied" in audit_canary.touch(str(workspace.parent), "/work", NONCE, 1000)


# --- log files in the agent's own volume -----------------------------------------------------------------------------


def test_the_agents_log_files_are_listed_as_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "gateway.log").write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/inner").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    found = {Path(one["path"]).name: one["kind"] for one in logs.agents_own(str(tmp_path))}
    assert found == {"gateway.log": "file", "link": "other", "folder": "directory", "pipe": "other"}


def test_a_folder_of_logs_that_is_a_link_or_has_no_end_is_not_read_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "link").symlink_to("logs")
    for number in range(9):
        (tmp_path / f"logs/{number}").write_text("")
    monkeypatch.setattr(logs, "MOST_FILES", 5)
    assert len(logs.agents_own(str(tmp_path / "logs"))) == 5
    assert logs.agents_own(str(tmp_path / "link")) == []
    assert logs.agents_own(str(tmp_path / "none")) == []
