"""`clawkeep lab sabotage`: break the lab host in the declared ways and see the promised controls turn red."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from clawkeep.base import repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.lab import state
from clawkeep.register import register, tiers
from clawkeep.sabotage.bench import Bench
from clawkeep.sabotage.campaign import Campaign, Outcome, representative
from clawkeep.sabotage.record import recorded
from clawkeep.sabotage.world import Sabotage, load, of_tier
from clawkeep.verify.report import Exit

app = typer.Typer()


@app.command()
def sabotage(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help="The lab; where it is needed, it runs and has a snapshot `green`.")
    ],
    stems: Annotated[
        list[str] | None, typer.Argument(metavar="[STEM]...", help="Files of tests/sabotage, without `.yml`.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", metavar="", help="Every sabotage of the lab's tier.")] = False,
    some: Annotated[
        bool, typer.Option("--representative", metavar="", help="One sabotage of each area of the lab's tier.")
    ] = False,
    record: Annotated[
        bool,
        typer.Option("--record", metavar="", help="Keep what changed as STEM.patch.json on the recorded good bundle."),
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", metavar="", help="Where a sabotage has an undo, see it turn green again.")
    ] = False,
    repeat_green: Annotated[
        bool, typer.Option("--repeat-green/--no-repeat-green", metavar="", help="Verify the unbroken host first.")
    ] = True,
    machine: Annotated[
        bool, typer.Option("--machine", metavar="", help="Break the gateway on the lab host too, not on the bench.")
    ] = False,
) -> None:
    """Break the lab host in the declared ways; each must turn exactly its controls red, or the exit status is 1.

    What changes the gateway alone (`gateway:` in its file) is done on the agent bench: in seconds, without a lab, and
    judged with the recorded good host's other facts. `--undo` says nothing there, for its gateways are thrown away.
    """
    checkout, lab = repo.find(), state.lab(scenario)
    tier = state.tier(lab)
    known = load(checkout.sabotages)
    if not stems:
        known = of_tier(known, register.load(checkout.controls), tiers.load(checkout.tiers)[tier].rank)
    chosen = choose(list(known.values()), stems or [], every=every, some=some)
    if record:
        recorded(checkout, tier)  # what is missing is told before an hour of sabotages
    console = Console(highlight=False)
    campaign, bench = Campaign(lab, checkout), Bench.of(checkout, tier)
    benched = [] if machine else [one for one in chosen if one.gateway is not None]
    on_host = [one for one in chosen if one not in benched]
    if repeat_green and benched:
        bench.green()
        console.print(Text(f"{tier}: the gateway on the bench is green", style="green"))
    if repeat_green and on_host:
        campaign.green(turns=any(one.turns for one in on_host))
        console.print(Text(f"{scenario}: the snapshot is green", style="green"))
    outcomes = []
    for number, one in enumerate((*benched, *on_host), 1):
        outcome = bench.run(one, keep=record) if one in benched else campaign.run(one, keep=record, undo=undo)
        outcomes.append(outcome)
        console.print(_row(outcome, f"{number}/{len(chosen)}"))
    missed = [outcome for outcome in outcomes if outcome.complaints]
    total = sum(outcome.seconds for outcome in outcomes)
    console.print(
        f"{len(outcomes) - len(missed)} of {len(outcomes)} sabotages turned exactly their controls red ({total:.0f} s)"
    )
    if missed:
        raise typer.Exit(int(Exit.RED))


def choose(known: list[Sabotage], stems: list[str], *, every: bool, some: bool) -> list[Sabotage]:
    """The sabotages that the command line names; raises ClawkeepError for none, for unknown and constructed ones."""
    if bool(stems) + every + some != 1:
        raise ClawkeepError("say which sabotages: stems of files in tests/sabotage, or --all, or --representative")
    live = [one for one in known if not one.constructed]
    if some:
        live = representative(known)
    if not stems:
        if not live:
            raise ClawkeepError("there is no sabotage in tests/sabotage that the lab can commit")
        return live
    by_stem = {one.stem: one for one in known}
    for stem in stems:
        if stem not in by_stem:
            raise ClawkeepError(f"there is no tests/sabotage/{stem}.yml")
        if by_stem[stem].constructed:
            raise ClawkeepError(
                f"{stem} is constructed: the lab cannot commit it, its patch is replayed by the unit tests"
            )
    return [by_stem[stem] for stem in stems]


def _row(outcome: Outcome, number: str) -> Text:
    held = not outcome.complaints
    row = Text.assemble(
        (f"{number:>7}  ", "dim"),
        ("as promised " if held else "NOT AS PROMISED ", "green" if held else "bold red"),
        (outcome.sabotage.stem, "bold"),
        f"  red: {', '.join(sorted(outcome.red)) or 'nothing'}  {outcome.seconds:.0f} s",
    )
    if outcome.operations is not None:
        row.append(f"  patch: {outcome.operations} operations", style="dim")
    for complaint in outcome.complaints:
        row.append(f"\n           {clean(complaint)}", style="yellow")
    return row
