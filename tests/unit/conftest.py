"""What all unit tests share: the command line, and Ansible asked once for each inventory, for its start is slow."""

from __future__ import annotations

import copy
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base.repo import Repo
from clawkeep.cli import app
from clawkeep.site import inventory

Listing = dict[str, Any]
CommandLine = Callable[..., tuple[int, str, str]]  # status, standard output, standard error
VARS = ("group_vars", "host_vars")


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what is imported and collected, for it stays: a tenth less work."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture
def clawkeep(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    """Run the command line; gives exit status, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["clawkeep", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture(scope="session")
def asked_once() -> Callable[[Path, Repo, str | None], Listing]:
    """`inventory._list` that remembers by content what Ansible reads; what it refuses is asked again."""
    ask, known = inventory._list, {}

    def listing(source: Path, checkout: Repo, limit: str | None) -> Listing:
        beside = source if source.is_dir() else source.parent
        roots = [source, *(folder / name for folder in (beside, checkout.playbooks) for name in VARS)]
        key = (
            limit,
            tuple(content(root) for root in roots),
            content(checkout.root / "ansible.cfg"),
            tuple(sorted(pair for pair in os.environ.items() if pair[0].startswith("ANSIBLE_"))),
        )
        if key not in known:
            known[key] = ask(source, checkout, limit)
        return copy.deepcopy(known[key])

    return listing


def content(root: Path) -> tuple[tuple[str, int, bytes], ...]:
    """Name, mode and bytes of every file at and below `root`; nothing when there is none."""
    paths = sorted(root.rglob("*")) if root.is_dir() else [root]
    return tuple((str(p.relative_to(root.parent)), p.stat().st_mode, p.read_bytes()) for p in paths if p.is_file())


@pytest.fixture(autouse=True)
def _one_listing(monkeypatch: pytest.MonkeyPatch, asked_once: Callable[[Path, Repo, str | None], Listing]) -> None:
    monkeypatch.setattr(inventory, "_list", asked_once)
