"""`clawkeep schedule`: what a control node's timers run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from clawkeep.base import clock
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.schedule import alarm as alarms
from clawkeep.schedule import config as settings
from clawkeep.schedule import job, syslog, watch
from clawkeep.site import ledger
from clawkeep.verify.report import Exit

app = typer.Typer(no_args_is_help=True, help="What a control node's timers run: verify, keep, tell, and watch over it.")

CONFIG = Path("/etc/clawkeep-verifier/schedule.yml")
File = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="The node's settings, which role `verifier` writes.")
]


@app.command()
def run(config: File = CONFIG) -> None:
    """Verify the inventory once: keep report and signed evidence, write metrics, tell people.

    Ends with the status of `clawkeep verify`; with 2 when that did not end by itself or does not count as a run.
    """
    outcome = job.run(settings.load(config))
    for said in outcome.attempt.shortcomings():
        _complain([f"the run does not count: {said}"])
    _complain(outcome.problems)
    _say(f"run {outcome.attempt.name}: exit status {outcome.status}{_told(outcome.told)}")
    raise typer.Exit(outcome.status)


@app.command()
def stale(config: File = CONFIG) -> None:
    """Look whether verification still goes on, and shout when it does not; ends with 1 then."""
    outcome = watch.look(settings.load(config))
    _complain(outcome.problems)
    _complain(outcome.complaints)
    if not outcome.complaints:
        _say("verification goes on as it should")
    raise typer.Exit(int(Exit.RED if outcome.complaints else Exit.GREEN))


@app.command()
def alarm(
    unit: Annotated[str, typer.Argument(metavar="UNIT", help="The unit of systemd that failed.")], config: File = CONFIG
) -> None:
    """Tell that a unit failed, unless it told so itself; systemd starts this by OnFailure=."""
    try:
        told = alarms.raise_alarm(settings.load(config), unit, os.environ)
    except ClawkeepError as problem:
        # Nobody knows whom to tell: the system's log is always there.
        syslog.send(alarms.notice(os.uname().nodename, unit, os.environ))
        raise problem from None
    if told is None:
        _say(f"{unit} has told people itself")
        return
    _complain(f"nobody was told by {channel}: {why}" for channel, why in told.items() if why)
    _say(f"{unit} failed{_told(told)}")


@app.command()
def establish(config: File = CONFIG) -> None:
    """Begin the ledger, so that a first run that never comes is noticed; prints whether it was begun now."""
    chosen = settings.load(config)
    begun = ledger.establish(chosen.ledger, chosen.node, chosen.period, clock.now())
    _say("established" if begun else "established before")


@app.command()
def check(config: File = CONFIG) -> None:
    """Read the settings and say what is wrong with them; nothing is run."""
    chosen = settings.load(config)
    _say(f"{chosen.node} verifies {chosen.inventory} {chosen.period}")


def _told(told: Mapping[str, str]) -> str:
    names = [name for name, why in told.items() if not why]
    return f"; told by {', '.join(names)}" if names else ""


def _say(text: str) -> None:
    typer.echo(clean(text))


def _complain(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        typer.echo(f"clawkeep: {clean(sentence, 1000)}", err=True)
