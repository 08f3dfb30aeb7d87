"""clawkeep_host.version: the same sources have the same version everywhere, and other sources have another."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from clawkeep_host import package, version

FILES = {"p/a.py": b"one", "p/b.py": b"two"}
ASK = "import sys; sys.path.insert(0, sys.argv[1]); from clawkeep_host.version import version; print(version())"


def test_a_version_is_the_release_and_a_digest() -> None:
    assert re.fullmatch(r"0\.1\.0\+[0-9a-f]{16}", version.version())
    assert version.version() == version.named(version.sources())


def test_the_order_of_files_is_no_difference() -> None:
    assert version.named(FILES) == version.named(dict(reversed(FILES.items())))


@pytest.mark.parametrize(
    "other",
    [
        {**FILES, "p/a.py": b"onf"},
        {**FILES, "p/a.py": b"one\n"},
        {**FILES, "p/a.py": b""},
        {**FILES, "p/c.py": b""},
        {"p/a.py": b"one"},
        {"p/A.py": b"one", "p/b.py": b"two"},
        {"p/a.py": b"two", "p/b.py": b"one"},
        {"p/a.py": b"onep/b.pytwo"},
        {},
    ],
)
def test_any_other_byte_or_name_is_another_version(other: dict[str, bytes]) -> None:
    assert version.named(other) != version.named(FILES)


def ask(place: Path) -> str:
    done = subprocess.run([sys.executable, "-ISc", ASK, place], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_archive_and_the_folder_have_the_same_version(tmp_path: Path) -> None:
    archive = tmp_path / "clawkeep_host.zip"
    archive.write_bytes(package.archive())
    assert ask(archive) == ask(Path(version.__file__).parents[1]) == version.version()


def test_a_changed_byte_on_a_host_is_seen(tmp_path: Path) -> None:
    for name, content in version.sources().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert ask(tmp_path) == version.version()
    with (tmp_path / "clawkeep_host" / "command.py").open("ab") as file:
        file.write(b"#")
    assert ask(tmp_path) != version.version()


def test_what_python_leaves_beside_the_sources_is_no_difference(tmp_path: Path) -> None:
    for name, content in version.sources().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    cache = tmp_path / "clawkeep_host" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "command.cpython-313.pyc").write_bytes(b"compiled")
    (tmp_path / "clawkeep_host" / "py.typed").touch()
    assert ask(tmp_path) == version.version()
