"""`clawkeep diff`: what changed between two reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clawkeep.cli import console
from clawkeep.report import terminal
from clawkeep.verify import drift
from clawkeep.verify.report import Exit

app = typer.Typer()


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(metavar="A.json", help="The earlier report.json.")],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="The later report.json, of the same hosts.")],
) -> None:
    """Tell how a later report differs from an earlier one; ends with 3 when it is worse, 0 otherwise."""
    found = drift.compare(drift.read(before), drift.read(after))
    terminal.show_drift(found, console.stdout())
    raise typer.Exit(int(Exit.DRIFT if found.worse else Exit.GREEN))
