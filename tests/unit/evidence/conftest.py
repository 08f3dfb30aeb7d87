"""Bundles of three hosts, throw-away keys, and the command line that proves the one and is given the other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clawkeep.evidence import document, store
from clawkeep.evidence.bundle import files, signature
from clawkeep.evidence.bundle.signature import Key
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register import tiers
from clawkeep.site.inventory import Host, Site

STARTED = "2026-01-02T03:04:05Z"
MakePath = Callable[..., Path]
TIER = tiers.parse("tier1_x", {"tier": {"name": "x", "rank": 1}}, "a test")


def observed(name: str, *, message: str = "", **facts: Any) -> Observation:
    """A host and what its inside document says of it."""
    inside = {"schema": 1, "commands": {}, "facts": {"ports": [], **facts}, "problems": {}}
    raw = {"schema": 1, "host": name, "inside": inside, "vantages": {}}
    evidence = None if message else HostEvidence(name, raw)
    return Observation(Host(name, TIER, ()), Site(name="a site"), evidence, message)


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test meets the keys that it makes, never those of whoever runs it."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def keygen(tmp_path: Path) -> MakePath:
    """A new ssh key's file."""

    def make(name: str = "ada", *, encrypted: bool = False) -> Path:
        path = tmp_path / "keys" / name
        path.parent.mkdir(exist_ok=True)
        argv = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-a",
            "1",
            "-C",
            name,
            "-N",
            "not known to anybody" if encrypted else "",
            "-f",
            str(path),
        ]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
        return path

    return make


@pytest.fixture
def key(keygen: MakePath) -> Key:
    return signature.ready(keygen())


@pytest.fixture
def allow(tmp_path: Path) -> MakePath:
    """An allowed signers file with one line for a key's file."""

    def write(key: Path, who: str = "ada@example.org", options: str = "") -> Path:
        path = tmp_path / f"allowed{len(list(tmp_path.glob('allowed*')))}"
        path.write_text(f"{who} {options} {key.with_name(key.name + '.pub').read_text()}")
        return path

    return write


@pytest.fixture
def save(tmp_path: Path) -> MakePath:
    """A new bundle of the hosts alpha, beta and gamma; delta was not reached."""

    def make(key: Key | None = None, **facts: Any) -> Path:
        folder = tmp_path / f"bundle{len(list(tmp_path.glob('bundle*')))}"
        hosts = [observed(name, owner=name, **facts) for name in ("alpha", "beta", "gamma")]
        store.save(folder, [*hosts, observed("delta", message="ssh says no")], STARTED, key)
        return folder

    return make


@pytest.fixture
def bundle(save: MakePath) -> Path:
    return save()


@pytest.fixture
def edit() -> Callable[..., None]:
    """Change a manifest by hand, and its own digest with it where `digest` says so, but nothing of its chain."""

    def change(folder: Path, how: Callable[[dict[str, Any]], object], *, digest: bool = True) -> None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        how(manifest)
        if digest:
            manifest.pop("sha256", None)
            manifest["sha256"] = document.digest(manifest)
        path.write_bytes(files.encode(manifest))

    return change
