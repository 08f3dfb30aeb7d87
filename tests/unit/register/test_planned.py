"""What is only planned is told by name, in the summary too, and is never a result."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from clawkeep.base import repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.verdict import Status
from clawkeep.register import register
from clawkeep.register.register import Proof
from clawkeep.report import terminal
from clawkeep.verify.evaluate import select
from clawkeep.verify.report import HostRow, Report, Result


def test_the_summary_names_every_planned_control_on_a_narrow_terminal() -> None:
    planned = tuple(f"AGT-{n:02}" for n in range(1, 72))
    row = Result("NET-01", "It holds", "high", "alpha", "tier1_x", Status.PASS, "", "play")
    report = Report("0", "t", "t", (HostRow("alpha", "tier1_x", True),), (row,), planned)
    out = Console(file=io.StringIO(), width=60)
    terminal.show(report, out)
    printed = out.file.getvalue()  # type: ignore[attr-defined]
    assert "planned, not verified yet (71): AGT-01, " in printed
    words = printed.replace(",", " ").split()
    assert [name for name in planned if name not in words] == []
    assert max(len(line) for line in printed.splitlines()) <= 60


def test_a_planned_control_of_the_register_is_never_selected() -> None:
    controls = register.load(repo.find(Path(__file__)).controls)
    chosen = select(controls, ())
    assert {control.proof for control in chosen.values()} <= {Proof.AUTOMATED, Proof.MANUAL}
    planned = {name for name, control in controls.items() if control.proof is Proof.PLANNED}
    assert chosen.keys() == controls.keys() - planned
    for name in planned:
        with pytest.raises(ClawkeepError, match=f"the control {name} is planned: it has no proof yet"):
            select(controls, [name])
