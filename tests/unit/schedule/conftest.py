"""A control node in a temporary folder: its clock is turned by hand, and `clawkeep verify` is played."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base import clock
from clawkeep.schedule import job
from clawkeep.schedule.config import Config
from clawkeep.schedule.job import Outcome
from clawkeep.site import ledger

KEY = "SHA256:abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
BEGIN = "2026-11-01T00:00:00Z"

# Plays `clawkeep verify`: writes the report that the test wants, prints a line, ends with a status.
PLAYER = """\
import json, os, pathlib, signal, subprocess, sys
wish = json.loads(pathlib.Path(__file__).with_name("wish.json").read_text())
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
pathlib.Path(__file__).with_name("seen.json").write_text(
    json.dumps({"argv": sys.argv[1:], "environment": dict(os.environ)})
)
print(wish.get("says", "measured"))
pathlib.Path(options["--save-evidence"]).mkdir()
if wish.get("child"):
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    pathlib.Path(__file__).with_name("child").write_text(str(child.pid))
if wish.get("hangs"):
    sys.stdout.flush()
    signal.pause()
if wish.get("report") is not None:
    folder = pathlib.Path(options["--report"])
    folder.mkdir()
    text = wish["report"] if isinstance(wish["report"], str) else json.dumps(wish["report"])
    (folder / "report.json").write_text(text)
sys.exit(wish["status"])
"""


def report(*statuses: str, status: int = 0, host: str = "alpha", reached: bool = True, **more: Any) -> dict[str, Any]:
    """A report.json of one host, with one result a status."""
    results: list[dict[str, Any]] = [
        {
            "control": f"NET-{number:02}",
            "title": "It holds",
            "severity": "high",
            "host": host,
            "tier": "tier1_personal",
            "status": one,
            "message": f"message {number}",
            "remedy": "play",
            "evidence": [],
            "waiver": None,
        }
        for number, one in enumerate(statuses, 1)
    ]
    return {
        "schema": 1,
        "tool": {"name": "clawkeep", "version": "9"},
        "exit_status": status,
        "hosts": [{"name": host, "tier": "tier1_personal", "reached": reached, "message": "" if reached else "gone"}],
        "results": results,
        "left_out": [],
        "bundle": {"digest": "sha256:0", "key": KEY},
        "later": "a key that this Clawkeep does not know",
        **more,
    }


GREEN = report("pass", "not_applicable")
RED = report("pass", "fail", "inconclusive", status=2)


class Node:
    """The node: `verify(...)` is one scheduled run, `after(seconds)` turns the clock."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        (folder / "state").mkdir()
        (folder / "metrics").mkdir()
        self.config = Config.model_validate(
            {
                "schema": 1,
                "node": "watcher",
                "inventory": str(folder / "inventory"),
                "state": str(folder / "state"),
                "period": "daily",
                "sign_key": str(folder / "evidence-key"),
                "metrics": str(folder / "metrics"),
                "syslog": False,
                **settings,
            }
        )
        self.time = BEGIN
        self.player = folder / "player.py"
        self.player.write_text(PLAYER)

    def now(self) -> str:
        return self.time

    def after(self, seconds: float) -> None:
        self.time = (clock.moment(self.time) + datetime.timedelta(seconds=seconds)).strftime(clock.FORMAT)

    def settings(self, **changed: Any) -> None:
        self.config = self.config.model_copy(update=changed)

    def verify(
        self, document: Mapping[str, Any] | str | None = GREEN, status: int | None = None, **wish: Any
    ) -> Outcome:
        said = document.get("exit_status", 0) if isinstance(document, Mapping) else 0
        wish = {"report": document, "status": said if status is None else status, **wish}
        (self.folder / "wish.json").write_text(json.dumps(wish))
        return job.run(self.config, program=(sys.executable, str(self.player)), now=self.now)

    @property
    def seen(self) -> dict[str, Any]:
        """What `clawkeep verify` was called with."""
        found: dict[str, Any] = json.loads((self.folder / "seen.json").read_text())
        return found

    @property
    def ledger(self) -> ledger.Ledger:
        return ledger.read(self.config.ledger)

    @property
    def runs(self) -> list[str]:
        return sorted(path.name for path in self.config.runs.iterdir())


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def make_node(tmp_path: Path) -> Callable[..., Node]:
    return lambda **settings: Node(tmp_path, **settings)
