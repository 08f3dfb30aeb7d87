"""The gate's fixtures."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clawkeep_host.gate import passwords, store

from .bench import Bench


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not wait for the disk: thousands of attempts in a second."""
    quick = "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY;"
    monkeypatch.setattr(store, "SCHEMA", quick + store.SCHEMA)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """A hash that costs nothing; the costs that were asked of it are kept, so that equal work can be seen."""
    asked: list[tuple[int, int, int]] = []

    def fake(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
        asked.append((log_n, r, p))
        return hashlib.sha256(salt + password.encode("utf-8", "surrogatepass")).digest()

    monkeypatch.setattr(passwords, "scrypt", fake)
    return asked


@pytest.fixture
def bench(tmp_path: Path, cheap: list[tuple[int, int, int]]) -> Bench:
    """A gate whose hashes cost nothing."""
    bench = Bench(tmp_path / "gate.sqlite")
    cheap.clear()
    return bench
