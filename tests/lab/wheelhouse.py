"""A wheelhouse for the lab's control node, which reaches no package index: wheels for Debian 13's own Python.

Ansible's collections are left out: verification asks `ansible-inventory` alone, and unpacking them takes an emulated
processor a quarter of an hour.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from clawkeep.lab import cache

PYTHON = "3.13"
PLATFORMS = ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64")
TOOLS = ("pip", "editables")  # editables: what hatchling asks for when it installs a checkout in place
ONLY_AS_SOURCE = "python-nmap"


def ensure(checkout: Path) -> Path:
    """The folder of the wheels from the lab's cache; it is filled first (some 15 MB) when the dependencies changed."""
    recipe = (checkout / "pyproject.toml", Path(__file__))
    name = f"wheels-{cache.key(_core(), *(path.read_bytes() for path in recipe))}"
    return cache.product(name, lambda folder: build(folder, checkout))


def build(folder: Path, checkout: Path) -> None:
    """Fill `folder` with every wheel that role `verifier` needs; the machine that calls it has a package index."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"], *TOOLS]
    (source,) = (one for one in wanted if one.startswith(f"{ONLY_AS_SOURCE}=="))
    (ansible,) = (one for one in wanted if one.startswith("ansible=="))
    _pip("wheel", "--no-deps", f"--wheel-dir={folder}", source)
    _empty_wheel(folder, "ansible", ansible.partition("==")[2], _core())
    rest = [_core(), *(one for one in wanted if one not in {source, ansible})]
    target = ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp"]
    target += [f"--abi={abi}" for abi in ("cp" + PYTHON.replace(".", ""), "abi3", "none")]
    target += [f"--platform={platform}" for platform in PLATFORMS]
    _pip("download", f"--dest={folder}", *target, *rest)


def _core() -> str:
    """What Ansible's distribution would bring beside its collections: the version that runs here."""
    return f"ansible-core=={importlib.metadata.version('ansible-core')}"


def _pip(command: str, *arguments: str) -> None:
    argv = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", "--no-input", *arguments]
    subprocess.run(argv, check=True)


def _empty_wheel(folder: Path, name: str, version: str, needs: str) -> None:
    """A wheel that holds nothing and requires `needs`."""
    info = f"{name}-{version}.dist-info"
    texts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: {needs}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: clawkeep\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*texts, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in {**texts, f"{info}/RECORD": record}.items():
            wheel.writestr(path, text)
