"""clawkeep_host.package: what reaches a host is this package, and it runs there on the standard library alone."""

from __future__ import annotations

import ast
import functools
import importlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clawkeep_host import package, version

SOURCES = version.sources()
EACH_MODULE = pytest.mark.parametrize("name", SOURCES)
YOUNGER = {"tomllib"}  # of the standard library, and not in Python 3.9


@functools.cache
def python39() -> str | None:
    """A Python of the oldest release that hosts have, or None."""
    homes = (Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions").glob("3.9.*/bin/python3.9")
    for found in (shutil.which("python3.9"), *map(str, homes)):
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return None


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("installed") / "clawkeep_host.zip"
    path.write_bytes(package.archive())
    return path


def test_the_archive_is_the_same_for_the_same_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    first = package.archive()
    monkeypatch.setattr(package, "sources", lambda: dict(reversed(SOURCES.items())))
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert package.archive() == first
    with zipfile.ZipFile(io.BytesIO(first)) as made:
        assert {name: made.read(name) for name in made.namelist()} == SOURCES
    monkeypatch.setattr(package, "sources", lambda: {**SOURCES, "clawkeep_host/more.py": b""})
    assert package.archive() != first


def test_the_archive_holds_nothing_but_the_package() -> None:
    assert "clawkeep_host/command.py" in SOURCES
    assert {name.partition("/")[0] for name in SOURCES} == {"clawkeep_host"}
    assert {name.rpartition(".")[2] for name in SOURCES} == {"py"}


@pytest.mark.parametrize("program", package.PROGRAMS)
def test_a_wrapper_starts_its_program(archive: Path, tmp_path: Path, program: str) -> None:
    path = tmp_path / program
    text = package.wrapper(program, archive=str(archive))
    path.write_text(text)
    first, options = text.splitlines()[0].split()
    assert (first, options) == ("#!/usr/bin/python3", "-ISu")
    environment = {"PYTHONPATH": "/nonexistent", "PATH": os.environ["PATH"]}
    for python in filter(None, (sys.executable, python39())):
        done = subprocess.run(
            [python, options, path, "--version"], capture_output=True, text=True, env=environment, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{program} {version.version()}\n", "")


def test_a_wrapper_of_no_program_is_refused() -> None:
    with pytest.raises(KeyError):
        package.wrapper("clawkeep-x")
    assert package.ARCHIVE in package.wrapper("clawkeep-kill")


@pytest.mark.parametrize("program", package.PROGRAMS)
def test_a_program_is_a_module_with_a_main(program: str) -> None:
    module = importlib.import_module(package.PROGRAMS[program])
    assert callable(getattr(module, "main", None))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


@EACH_MODULE
def test_a_module_is_python_3_9_and_needs_the_standard_library_alone(name: str) -> None:
    tree = ast.parse(SOURCES[name], name, feature_version=(3, 9))
    rooms = {module.partition(".")[0] for module in imported(tree)}
    assert rooms - set(sys.stdlib_module_names) - {"clawkeep_host"} == set()
    assert rooms & YOUNGER == set()
    postponed = "__future__" in rooms  # or a type written `X | Y` is an error in 3.9
    assert postponed or not any(isinstance(node, (ast.FunctionDef, ast.AnnAssign)) for node in ast.walk(tree))


@EACH_MODULE
def test_a_module_imports_on_the_oldest_python(archive: Path, name: str) -> None:
    python = python39()
    if not python:
        pytest.skip("there is no Python 3.9 here")
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    script = f"import sys; sys.path.insert(0, {str(archive)!r}); import {module}"
    done = subprocess.run([python, "-ISc", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
