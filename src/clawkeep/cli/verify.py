"""`clawkeep verify`: measure the hosts of an inventory, or take recorded evidence, and judge them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from clawkeep.base import clock, repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.cli import console
from clawkeep.cli import evidence as cli_evidence
from clawkeep.evidence import store
from clawkeep.evidence.bundle import signature
from clawkeep.evidence.bundle.bundle import open_bundle
from clawkeep.measure.observe import observe
from clawkeep.register import register, tiers
from clawkeep.report import experiments_page, files, terminal
from clawkeep.site import inventory
from clawkeep.verify import drift, exceptions
from clawkeep.verify.evaluate import Selection, evaluate, select

app = typer.Typer()

VERIFY_HELP = """
Measure the hosts of an inventory and judge every control that their tier requires.

Hosts are measured from inside over the inventory's own connection, and from the site's other vantage points; \
of what is tried on them beyond reading, next to nothing is left (below). \
With [bold]--evidence[/bold] a recorded bundle is judged again, and no host is contacted.

[bold]Examples[/bold]

  clawkeep verify -i inventories/production

  clawkeep verify -i inventories/production --limit web1 --control NET-04 --control CTR-01

  clawkeep verify -i inventories/production --save-evidence evidence/today --report report/today

  clawkeep verify -i inventories/production --save-evidence evidence/today --sign-key ~/.ssh/evidence

  clawkeep verify -i inventories/production --baseline report/last-good/report.json

  clawkeep verify --evidence evidence/today --waivers inventories/production/waivers.yml

[bold]Waivers and attestations[/bold]

waivers.yml and attestations.yml are read beside the inventory, or from where --waivers and --attestations say. \
A waived control is judged as ever; its fail is then told as waived. \
The rules: docs/guides/waivers-and-attestations.md.

[bold]Exit status[/bold] (the worst decides; the counts are always printed, so that a 2 hides no fail)

  0  every required control passes or is waived

  1  a required control fails

  2  something could not be measured: unreachable, inconclusive, error, no host, no control, bad usage, \
evidence that cannot be kept or signed as asked

  3  drift: green, but worse than the baseline

  4  a waiver or an attestation is not in order: the file cannot be read, or an entry has expired, matches nothing, is \
stale, or breaks a rule

The worst finding decides in the order 4, 2, 1, 3, 0.

[bold]What is tried beyond reading[/bold] (docs/guides/experiments.md)

""" + "\n\n".join(f"  {line}" for line in experiments_page.lines())


@app.command(help=VERIFY_HELP)
def verify(
    inventory_path: Annotated[
        Path | None,
        typer.Option("--inventory", "-i", metavar="INVENTORY", help="Ansible inventory: a file or a folder."),
    ] = None,
    limit: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Only hosts of this pattern, as for ansible-playbook.")
    ] = None,
    control: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only this control, such as NET-04; may be repeated.")
    ] = None,
    inside_only: Annotated[
        bool,
        typer.Option("--inside-only", metavar="", help="Send no probe: leave out what needs another vantage point."),
    ] = False,
    turns: Annotated[
        bool,
        typer.Option(
            "--turns/--no-turns",
            metavar="",
            help="Have each agent take a turn with a model that the suite plays, or leave out what needs one.",
        ),
    ] = True,
    evidence: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Judge this recorded evidence; no host is contacted.")
    ] = None,
    save_evidence: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep what was measured in this new folder.")
    ] = None,
    sign_key: Annotated[
        Path | None,
        typer.Option(metavar="KEYFILE", help="Sign the saved evidence with this ssh key (its file, or in ssh-agent)."),
    ] = None,
    allowed_signers: cli_evidence.AllowedSigners = None,
    identity: cli_evidence.Identity = None,
    waivers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Waivers, instead of waivers.yml beside the inventory.")
    ] = None,
    attestations: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Attestations, instead of attestations.yml beside it.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="REPORT.json", help="Compare with this earlier report of the same hosts.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the report into this folder: HTML, JSON, JUnit, SARIF, OSCAL, CSV, Markdown."
        ),
    ] = None,
) -> None:
    """Judge the hosts of an inventory, or recorded evidence; ends the program with the exit status of the contract."""
    checkout = repo.find()
    selection = Selection(tuple(control or ()), inside_only, turns)
    if (inventory_path is None) == (evidence is None):
        raise ClawkeepError(
            "say what to verify: either -i INVENTORY (live hosts) or --evidence DIR (a recorded bundle)"
        )
    if evidence is not None and (limit or save_evidence):
        raise ClawkeepError("--limit and --save-evidence are for live hosts, they do not go with --evidence")
    if sign_key is not None and save_evidence is None:
        raise ClawkeepError("--sign-key signs what --save-evidence keeps: give both")
    allowed = cli_evidence.allowed(allowed_signers, identity)
    if allowed is not None and evidence is None:
        raise ClawkeepError("--allowed-signers says whose recorded evidence counts: it goes with --evidence")
    # What can be wrong without a host is found before one is contacted.
    files_of_site = exceptions.read(inventory_path, waivers, attestations)
    everything = register.load(checkout.controls)
    select(everything, selection.controls)
    before = drift.read(baseline) if baseline is not None else None
    key = signature.ready(sign_key) if sign_key is not None else None
    if save_evidence is not None:
        store.vacant(save_evidence)
    recorded = open_bundle(evidence) if evidence is not None else None
    limited = recorded.manifest.limited if recorded is not None else limit is not None
    started, bundle = clock.now(), None

    def review(hosts: Sequence[inventory.Host], site: inventory.Site) -> exceptions.Papers:
        found = files_of_site.review(everything, hosts, site, clock.day(started), complete=not limited)
        for sentence in found.objections if recorded is None else ():
            typer.echo(f"clawkeep: {clean(sentence, 1000)}", err=True)
        if before is not None:
            drift.comparable(before, {host.name: host.tier.name for host in hosts})
        return found

    if recorded is not None:
        observations, bundle = cli_evidence.replayed(recorded, tiers.load(checkout.tiers), allowed)
        if not observations:
            raise ClawkeepError(f"the bundle {evidence} has no host: nothing was verified")
        reviewed = review([o.host for o in observations], observations[0].site)
    else:
        hosts = inventory.load(inventory_path or Path(), checkout, limit=limit)
        reviewed = review(hosts.hosts, hosts.site)
        err = Console(stderr=True, highlight=False)
        err.print("what is tried on hosts beyond reading: `clawkeep controls experiments`", style="dim")
        with err.status(f"measuring {len(hosts.hosts)} hosts ..."):
            observations = observe(hosts, checkout, inside_only=inside_only, turns=turns)
        if save_evidence is not None:
            bundle = cli_evidence.kept(save_evidence, observations, started, key, limited=limited)
    result = evaluate(observations, selection, checkout=checkout, started=started, papers=reviewed)
    result = dataclasses.replace(result, bundle=bundle)
    if before is not None:
        asked = [host.name for host in result.hosts] if limited else None
        before = before.only(hosts=asked, controls=selection.controls or None)
        result = dataclasses.replace(result, drift=drift.compare(before, drift.of(result)))
    if report is not None:
        files.write(result, everything, report)
    terminal.show(result, console.stdout(), report)
    raise typer.Exit(int(result.exit_status))
