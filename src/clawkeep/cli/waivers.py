"""`clawkeep waivers`: are the exceptions of a site in order? No host is contacted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clawkeep.base import clock, repo
from clawkeep.base.printable import clean
from clawkeep.cli.options import InventoryPath
from clawkeep.register import register
from clawkeep.site import inventory
from clawkeep.verify import exceptions
from clawkeep.verify.report import Exit

app = typer.Typer(help="The exceptions of a site.", no_args_is_help=True)


@app.callback()
def waivers() -> None:
    """Stay a group, though there is one sub-command only."""


@app.command("check")
def check(
    inventory_path: InventoryPath,
    file: Annotated[
        Path | None, typer.Option("--waivers", metavar="FILE", help="Instead of waivers.yml beside the inventory.")
    ] = None,
) -> None:
    """Say what can be said without a host about waivers and attestations; ends with 4 when one is not in order.

    Whether a waiver is stale only `clawkeep verify` can tell.
    """
    checkout = repo.find()
    files = exceptions.read(inventory_path, file)
    known = inventory.load(inventory_path, checkout)
    found = files.review(register.load(checkout.controls), known.hosts, known.site, clock.day(clock.now()))
    for objection in found.objections:
        typer.echo(clean(objection, 1000))
    for waiver in found.waivers:
        days = waiver.days_left(found.today)
        line = f"{waiver.where}: {waiver.control} for {waiver.scope}, {days} days left: {waiver.reason}"
        typer.echo(clean(line, 1000))
    typer.echo(
        f"waivers {len(files.waivers)}   attestations {len(files.attestations)}   objections {len(found.objections)}"
    )
    raise typer.Exit(int(Exit.WAIVERS if found.objections else Exit.GREEN))
