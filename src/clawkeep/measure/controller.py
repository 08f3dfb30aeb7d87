"""What the machine that verifies knows of a host itself: its tiers, why it has them, and how the schedule goes.

It is a vantage like any other: each host's evidence has a document `controller`, so that a replay judges INV-04 and
LOG-09 by what was known when the host was measured.

    facts: {"asked": time, "measured": {"began": time, "ended": time}, "tiers": [group], "estate": entry | null,
            "schedule": {...} | null}

`asked` is when the run looked at what lies beside the inventory and at the schedule, `measured` from when to when this
host was asked for its own document; both are times of this machine. `estate` is the host's entry of estate.yml.
`schedule` is null where the inventory has no control node; otherwise `{"node", "period", "established", "watch":
{"looked", "complaints"}, "runs": [run]}`, with the last runs and the last complete one that measured this host:
`{"name", "finished", "expected", "reached", "measured", "left_out", "signed", "trouble", "here"}`. `expected`,
`reached` and `measured` count hosts, `here` says how far this one came.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clawkeep.base import clock
from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence.document import SCHEMA
from clawkeep.register import tiers
from clawkeep.site import estate, ledger
from clawkeep.site.inventory import ControlNode, Host, Inventory
from clawkeep.site.ledger import Attempt, Ledger

OWN_LEDGER = "CLAWKEEP_LEDGER"  # environment variable: this machine is the control node, and this is its ledger
RUNS = 5  # that are told of the last ones

Ask = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Controller:
    """What is known, for `document` to tell of each host. `schedule` is None without a control node; where there is one
    that could not be asked, `problem` says why."""

    asked: str
    estate: Mapping[str, estate.Entry]
    schedule: Ledger | None
    problem: str = ""

    @classmethod
    def look(cls, inventory: Inventory, ask: Ask | None) -> Controller:
        """Read what lies beside the inventory, and ask the control node for its ledger by `ask`.

        Raises ClawkeepError when estate.yml cannot be used; a node that does not answer is a problem in the documents.
        """
        entries = estate.load(inventory.folder / estate.FILE)
        schedule, problem = None, ""
        try:
            schedule = _ledger(inventory.control_node, ask)
        except ClawkeepError as why:
            problem = f"the schedule is not known: {why}"
        return cls(clock.now(), entries, schedule, problem)

    def document(self, host: Host, began: str, ended: str) -> dict[str, Any]:
        """The document of one host, which was asked for its own from `began` to `ended`."""
        return dated(self.known(host), began, ended)

    def known(self, host: Host) -> dict[str, Any]:
        """The document of one host before it is asked, to be `dated`."""
        entry = self.estate.get(host.name)
        facts: dict[str, Any] = {
            "asked": self.asked,
            "tiers": [group for group in host.groups if group.startswith(tiers.PREFIX)],
            "estate": entry.told() if entry is not None else None,
        }
        if not self.problem:
            facts["schedule"] = _told(self.schedule, host.name) if self.schedule is not None else None
        return {
            "schema": SCHEMA,
            "started": self.asked,
            "commands": {},
            "facts": facts,
            "problems": {"schedule": self.problem} if self.problem else {},
        }


def dated(known: Mapping[str, Any], began: str, ended: str) -> dict[str, Any]:
    """The document `known` of a host that was asked from `began` to `ended`."""
    return {**known, "finished": ended, "facts": {**known["facts"], "measured": {"began": began, "ended": ended}}}


def _ledger(node: ControlNode | None, ask: Ask | None) -> Ledger | None:
    own = os.environ.get(OWN_LEDGER)
    if own:
        return ledger.read(Path(own))
    if node is None:
        return None
    if ask is None:
        raise ClawkeepError(f"there is no way to the control node {node.name}")
    return ledger.parse(ask(["cat", "--", node.ledger]), f"{node.name}:{node.ledger}")


def _told(known: Ledger, host: str) -> dict[str, Any]:
    newest = known.attempts[-RUNS:]
    good = next((one for one in reversed(known.attempts) if one.complete and one.hosts.get(host) == "measured"), None)
    runs = [*([good] if good is not None and good not in newest else []), *newest]
    return {
        "node": known.node,
        "period": known.period,
        "established": known.established,
        "watch": {"looked": known.watch.looked, "complaints": list(known.watch.complaints)},
        "runs": [_run(one, host) for one in runs],
    }


def _run(attempt: Attempt, host: str) -> dict[str, Any]:
    return {
        "name": attempt.name,
        "finished": attempt.finished,
        "expected": len(attempt.hosts),
        "reached": attempt.count("measured", "reached"),
        "measured": attempt.count("measured"),
        "left_out": attempt.left_out,
        "signed": attempt.signed_by is not None,
        "trouble": attempt.trouble,
        "here": attempt.hosts.get(host),
    }
