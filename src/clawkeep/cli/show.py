"""`clawkeep controls show`: one control's page and thread."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from clawkeep.base import repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.cli import console
from clawkeep.cli import thread as thread_view
from clawkeep.register import register
from clawkeep.sabotage import thread

app = typer.Typer()

SHOW_HELP = """
Print a control's page (the promise, why, how it is set, proved, broken, and what to do by hand) and its thread.

The thread names all that carries the id: the tasks that remedy it, its test, the subjects that it asks, what these \
read on the recorded good hosts and which module records it, the experiments that act on a host for that, and the \
sabotages. Of a control that is planned it says what is missing.

[bold]Examples[/bold]

  clawkeep controls show NET-04

  clawkeep controls show NET-04 --json
"""


@app.command(help=SHOW_HELP)
def show(
    control: Annotated[str, typer.Argument(metavar="ID", help="Such as NET-04.")],
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="The thread alone, for machines.")] = False,
) -> None:
    """Print a control's page and thread."""
    checkout = repo.find()
    found = register.load(checkout.controls).get(control.upper())
    if found is None:
        raise ClawkeepError(f"there is no control {control}: `clawkeep controls list` names them all")
    whole = thread.of(found, checkout)
    if as_json:
        typer.echo(json.dumps(thread_view.document(whole, checkout), indent=1, ensure_ascii=False))
        return
    typer.echo(found.page.read_text(encoding="utf-8"), nl=False)
    thread_view.show(whole, checkout, console.stdout())
