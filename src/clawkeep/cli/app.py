"""The command line: the table of its sub-commands, each in a module of its own that is imported when it is called."""

from __future__ import annotations

import importlib.metadata
import io
import sys
from typing import Annotated

import typer

from clawkeep.base.errors import ClawkeepError, NotInOrder
from clawkeep.base.printable import clean
from clawkeep.cli.lazy import Lazy, group
from clawkeep.verify.report import Exit

COMMANDS = (
    Lazy(
        "verify",
        "clawkeep.cli.verify",
        "Measure the hosts of an inventory and judge every control that their tier requires.",
    ),
    Lazy(
        "diff",
        "clawkeep.cli.diff",
        "Tell how a later report differs from an earlier one; ends with 3 when it is worse, 0 otherwise.",
    ),
    Lazy(
        "controls",
        "clawkeep.cli.controls",
        "The register of controls: what is promised, to whom, how it is proved, and which frameworks ask for it.",
    ),
    Lazy(
        "evidence",
        "clawkeep.cli.evidence",
        "Saved evidence: prove that it is as it was recorded, and by whom.",
    ),
    Lazy("waivers", "clawkeep.cli.waivers", "The exceptions of a site."),
    Lazy(
        "attest",
        "clawkeep.cli.attest",
        "Sign an attestation and print it as an entry for attestations.yml; nothing is written and no host contacted.",
    ),
    Lazy(
        "schedule",
        "clawkeep.cli.schedule",
        "What a control node's timers run: verify, keep, tell, and watch over it.",
    ),
    Lazy("vpn", "clawkeep.cli.vpn", "Let a colleague's device into the VPN, and out again."),
    Lazy(
        "lab",
        "clawkeep.cli.lab",
        "Boot, break and put back a safe lab host and the world around it.",
        needs=("aiosmtpd", "qemu.qmp"),
    ),
)

app = typer.Typer(
    name="clawkeep",
    cls=group(*COMMANDS),
    help="Prove on the live host that an OpenClaw deployment keeps its security tier's promises.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clawkeep {importlib.metadata.version('clawkeep')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", metavar="", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; an error that a person can mend is one sentence on standard error and status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows few characters must not end a run
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except NotInOrder as problem:
        for sentence in problem.sentences:
            typer.echo(f"clawkeep: {clean(sentence, 1000)}", err=True)
        sys.exit(int(Exit.WAIVERS))
    except ClawkeepError as problem:
        typer.echo(f"clawkeep: {clean(str(problem), 1000)}", err=True)
        sys.exit(int(Exit.UNMEASURED))
    except KeyboardInterrupt:
        typer.echo("clawkeep: interrupted", err=True)
        sys.exit(130)
