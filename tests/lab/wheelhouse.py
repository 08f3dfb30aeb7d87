"""A wheelhouse for the lab's control node, which reaches no package index: wheels for Debian 13's own Python."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from clawkeep.lab import cache

PYTHON = "3.13"
PLATFORMS = ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64")
TOOLS = ("pip", "editables")  # editables: what hatchling asks for when it installs a checkout in place
ONLY_AS_SOURCE = "python-nmap"


def ensure(checkout: Path) -> Path:
    """The folder of the wheels from the lab's cache; it is filled first (some 15 MB) when the dependencies changed."""
    recipe = (checkout / "pyproject.toml", Path(__file__))
    name = f"wheels-{cache.key(*(path.read_bytes() for path in recipe))}"
    return cache.product(name, lambda folder: build(folder, checkout))


def build(folder: Path, checkout: Path) -> None:
    """Fill `folder` with every wheel that role `verifier` needs; the machine that calls it has a package index."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"], *TOOLS]
    (source,) = (one for one in wanted if one.startswith(f"{ONLY_AS_SOURCE}=="))
    _pip("wheel", "--no-deps", f"--wheel-dir={folder}", source)
    target = ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp"]
    target += [f"--abi={abi}" for abi in ("cp" + PYTHON.replace(".", ""), "abi3", "none")]
    target += [f"--platform={platform}" for platform in PLATFORMS]
    _pip("download", f"--dest={folder}", *target, *(one for one in wanted if one != source))


def _pip(command: str, *arguments: str) -> None:
    argv = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", "--no-input", *arguments]
    subprocess.run(argv, check=True)
