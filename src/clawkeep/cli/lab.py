"""`clawkeep lab`: the safe lab on the command line."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from clawkeep.cli.lazy import Lazy, group
from clawkeep.lab import image as host_image
from clawkeep.lab import inventory as lab_inventory
from clawkeep.lab import lab as labs
from clawkeep.lab import state, tools
from clawkeep.lab.errors import LabError
from clawkeep.lab.topology import SCENARIOS

SABOTAGE = Lazy(
    "sabotage",
    "clawkeep.cli.sabotage",
    "Break the lab host in the declared ways; each must turn exactly its controls red, or the exit status is 1.",
)
BENCH = Lazy(
    "bench",
    "clawkeep.cli.bench",
    "Run a tier's gateway on this machine: the lab's image and the tier's configuration, isolated, in seconds.",
)

app = typer.Typer(
    cls=group(SABOTAGE, BENCH),
    help="Boot, break and put back a safe lab host and the world around it.",
    no_args_is_help=True,
)

Scenario = Annotated[str, typer.Argument(help=f"One of: {', '.join(SCENARIOS)}.", metavar="SCENARIO")]
Name = Annotated[str, typer.Argument(help="The snapshot's name.", metavar="NAME")]


@app.callback()
def main() -> None:
    """Let SIGTERM unwind as Ctrl-C does, so that a stopped command cleans up behind itself."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@app.command()
def up(
    scenario: Scenario,
    proven: Annotated[
        str | None,
        typer.Option(metavar="TIER", help="Not a fresh host: the one kept when it was last proven as TIER."),
    ] = None,
) -> None:
    """Boot the scenario's host and the world around it; ready when ssh, world and Docker answer."""
    if proven is not None:
        labs.up_proven(state.lab(scenario), proven)
    else:
        labs.up(state.lab(scenario))


@app.command()
def keep(scenario: Scenario) -> None:
    """Keep the host of the snapshot `green` for `up --proven`, under the digest of all that went into it."""
    labs.keep(state.lab(scenario))


@app.command()
def down(scenario: Scenario) -> None:
    """End the lab and remove everything of it."""
    labs.down(state.lab(scenario))


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def ssh(
    scenario: Scenario,
    command: Annotated[list[str] | None, typer.Argument(help="One word is a shell's text.", metavar="[CMD]...")] = None,
) -> None:
    """Open a root shell on the host, or run a command with stdin passed through and its exit status returned."""
    words = command or []
    raise typer.Exit(labs.shell(state.lab(scenario), words[1:] if words[:1] == ["--"] else words))


@app.command()
def snapshot(scenario: Scenario, name: Name) -> None:
    """Keep the running machine, memory included."""
    labs.snapshot(state.lab(scenario), name)


@app.command()
def restore(scenario: Scenario, name: Name) -> None:
    """Put the machine back to a snapshot."""
    labs.restore(state.lab(scenario), name)


@app.command()
def inventory(scenario: Scenario) -> None:
    """Print the path of the inventory that reaches the host."""
    path = lab_inventory.folder(state.lab(scenario))
    if not path.is_dir():
        raise LabError(f"the lab {scenario} is not up: run `clawkeep lab up {scenario}`")
    typer.echo(path)


@app.command()
def tier(
    scenario: Scenario,
    name: Annotated[str | None, typer.Argument(metavar="[TIER]", help="The tier that it is to have.")] = None,
) -> None:
    """Print the tier of the host in the inventory; with TIER, give it that one, and the next play makes it so."""
    lab = state.lab(scenario)
    if name is not None:
        labs.set_tier(lab, name)
    typer.echo(state.tier(lab))


@app.command()
def status(scenario: Annotated[str | None, typer.Argument(metavar="[SCENARIO]")] = None) -> None:
    """Tell what runs."""
    for name in [scenario] if scenario else SCENARIOS:
        typer.echo(labs.status(state.lab(name)))


@app.command()
def image() -> None:
    """Build the host's image and nothing else."""
    tools.need_root()
    typer.echo(host_image.ensure().disk)
