"""What a command printed is kept line by line as it stands: nothing but a line feed ends a line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clawkeep.collector import mounts, recorder
from clawkeep.collector.recorder import Recorder

ENDS = ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r"]


@pytest.mark.parametrize("end", ENDS)
def test_no_letter_of_a_comment_begins_a_line(end: str) -> None:
    """A name that holds one of these would otherwise write lines of its own into whatever is parsed from it."""
    rec = Recorder()
    rec.run("x", [sys.executable, "-c", f"import sys; sys.stdout.buffer.write({f'a{end}#b; c;'!r}.encode())"])
    assert rec.commands["x"]["lines"] == [f"a{end}#b; c;"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [("", []), ("a", ["a"]), ("a\n", ["a"]), ("a\n\n", ["a", ""]), ("\na\r\nb\n", ["", "a", "b"])],
)
def test_the_last_line_feed_begins_no_line(text: str, lines: list[str]) -> None:
    assert recorder.lines(text) == lines


@pytest.mark.parametrize("end", ENDS)
def test_a_mount_points_name_writes_no_second_line(tmp_path: Path, end: str) -> None:
    row = f"36 35 98:0 / /mnt/a{end}1 0 0:0 / / rw - ext4 /dev/root rw rw - tmpfs tmpfs rw"
    (tmp_path / "mountinfo").write_bytes(f"{row}\n".encode())
    assert mounts.mountinfo(f"..{tmp_path}") == [row]
