"""`clawkeep controls`: the register on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from clawkeep.base import repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.cli import console
from clawkeep.cli.lazy import Lazy, group
from clawkeep.register import coverage, frameworks, register, tiers, tiers_page
from clawkeep.register.coverage import Coverage, percent
from clawkeep.register.register import Control, Proof
from clawkeep.report import bypass_page, experiments_page

SHOW = Lazy(
    "show",
    "clawkeep.cli.show",
    "Print a control's page (the promise, why, how it is set, proved, broken, and what to do by hand) and its thread.",
)

app = typer.Typer(
    cls=group(SHOW),
    help="The register of controls: what is promised, to whom, how it is proved, and which frameworks ask for it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

MIN_WIDTHS = {"id": len("NET-04"), "controls": len("NET-04*"), "tier": len("tier")}
PROOF_STYLES = {Proof.AUTOMATED: "green", Proof.MANUAL: "cyan", Proof.PLANNED: "dim"}

LIST_HELP = """
List the register: id, lowest tier, severity, how it is proved, title. Filters narrow it down together.

[bold]Examples[/bold]

  clawkeep controls list --tier 1 --status planned

  clawkeep controls list --area NET

  clawkeep controls list --framework cis_docker

The first tells what a tier 1 host still waits for, the last one which ids each control maps to.
"""

COVERAGE_HELP = """
Hold the register against the frameworks that its pages map to, both ways.

For each framework: which of its ids is answered by which controls, and which has no control and why. A percentage \
is of the ids in scope; those that are not about such hosts are listed with the reason and do not count. A control \
that is only planned is marked [bold]*[/bold] and counts as mapped, not as proved.

[bold]Examples[/bold]

  clawkeep controls coverage

  clawkeep controls coverage --framework nist_800_190
"""

TIERS_HELP = """
Print docs/tiers.md: which tier and why, its settings, its controls; generated from the register and the tier files.

  clawkeep controls tiers > docs/tiers.md
"""


@app.command("list", help=LIST_HELP)
def list_(
    tier: Annotated[
        int | None,
        typer.Option(metavar="N", help="Only what a host of this tier has to keep: lowest tier N or below."),
    ] = None,
    area: Annotated[str | None, typer.Option(metavar="AREA", help="Only this area, such as NET.")] = None,
    framework: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Only what maps to one of: {', '.join(frameworks.NAMES)}.")
    ] = None,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help=f"Only one of: {', '.join(Proof)}.")] = None,
) -> None:
    """List the register, filtered."""
    everything = register.load(repo.find().controls)
    chosen = list(everything.values())
    if tier is not None:
        _known("tier", tier, {control.tier for control in chosen})
        chosen = [control for control in chosen if control.tier <= tier]
    if area is not None:
        area = area.upper()
        _known("area", area, {control.area for control in everything.values()})
        chosen = [control for control in chosen if control.area == area]
    if framework is not None:
        _known("framework", framework, frameworks.NAMES)
        chosen = [control for control in chosen if control.maps.get(framework)]
    if status is not None:
        _known("status", status, [proof.value for proof in Proof])
        chosen = [control for control in chosen if control.proof.value == status]
    show_list(chosen, console.stdout(), framework, total=len(everything))


@app.command("coverage", help=COVERAGE_HELP)
def coverage_(
    framework: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Only one of: {', '.join(frameworks.NAMES)}.")
    ] = None,
) -> None:
    """Hold the register against its frameworks."""
    if framework is not None:
        _known("framework", framework, frameworks.NAMES)
    controls = register.load(repo.find().controls)
    known = frameworks.load()
    wanted = [known[framework]] if framework else list(known.values())
    out = console.stdout()
    show_coverage([coverage.of(one, controls) for one in wanted], out)
    if framework is None:
        alone = [name for name, control in controls.items() if not any(control.maps.values())]
        out.print(Text(f"Controls that no framework asks for: {', '.join(alone) or 'none'}."))


BYPASS_HELP = """
Print docs/guides/bypass.md: every way around the proxy that is tried, and what its refusal is held against.

  clawkeep controls bypass > docs/guides/bypass.md
"""


@app.command("bypass", help=BYPASS_HELP)
def bypass() -> None:
    """Print docs/guides/bypass.md."""
    typer.echo(bypass_page.render(), nl=False)


EXPERIMENTS_HELP = """
Print docs/guides/experiments.md: what measuring a host does there beyond reading, where, and what it leaves.

  clawkeep controls experiments > docs/guides/experiments.md
"""


@app.command("experiments", help=EXPERIMENTS_HELP)
def experiments() -> None:
    """Print docs/guides/experiments.md."""
    typer.echo(experiments_page.render(), nl=False)


@app.command("tiers", help=TIERS_HELP)
def tiers_() -> None:
    """Print docs/tiers.md."""
    checkout = repo.find()
    typer.echo(tiers_page.render(register.load(checkout.controls), tiers.load(checkout.tiers)), nl=False)


def _known(what: str, value: object, values: Iterable[object]) -> None:
    """Refuse a value that nothing in the register has, naming those that something has."""
    names = sorted(map(str, values)) if isinstance(values, set) else list(map(str, values))
    if str(value) not in names:
        raise ClawkeepError(f"there is no {what} {value}: the register knows {', '.join(names)}")


def show_list(controls: list[Control], out: Console, framework: str | None, *, total: int) -> None:
    """Print controls as a table; with a framework, the ids of it that each one maps to."""
    if not controls:
        out.print(Text(f"none of the {total} controls fits all of these filters"))
        return
    table = _table("id", "tier", "severity", "proof", *((framework,) if framework else ()), "title")
    for one in controls:
        ids = (", ".join(one.maps[framework]),) if framework else ()
        proof = Text(one.proof.value, style=PROOF_STYLES[one.proof])
        table.add_row(one.id, str(one.tier), one.severity.value, proof, *map(Text, ids), Text(one.title))
    out.print(table)
    out.print(Text(f"{len(controls)} of {total} controls", style="dim"))


def show_coverage(found: list[Coverage], out: Console) -> None:
    """Print each framework's two tables, after a line a framework when there are several."""
    if len(found) > 1:
        table = _table("framework", "ids", "in scope", "mapped", "proved today")
        for one in found:
            table.add_row(
                Text(f"{one.framework.name} {one.framework.version}"),
                str(len(one.framework.ids)),
                str(one.in_scope),
                f"{len(one.mapped)} ({percent(len(one.mapped), one.in_scope)})",
                f"{one.proved} ({percent(one.proved, one.in_scope)})",
            )
        out.print(table)
        out.print()
    for one in found:
        out.print(Group(*_framework(one)))
        out.print()


def _framework(found: Coverage) -> Iterable[RenderableType]:
    whole = found.framework
    yield Text(f"{whole.name} {whole.version}  ({whole.key})", style="bold")
    mapped, scope, proved, all_ids = len(found.mapped), found.in_scope, found.proved, len(whole.ids)
    yield Text(
        f"{mapped} of {scope} ids in scope are mapped ({percent(mapped, scope)}), {proved} of them by a control that is"
        f" proved today ({percent(proved, scope)}); {all_ids - scope} of its {all_ids} ids are out of scope"
    )
    yield Text("\nMapped  (* planned, not proved yet)", style="bold")
    table = _table("id", "asks for", "controls") if any(whole.ids.values()) else _table("id", "controls")
    for name, controls in found.mapped.items():
        words = (Text(whole.ids[name]),) if any(whole.ids.values()) else ()
        table.add_row(Text(name), *words, _names(controls))
    yield Padding(table, (0, 0, 0, 2))
    gaps = [("in scope", gap.reason, gap.ids) for gap in found.gaps if gap.in_scope]
    if found.unexplained:
        gaps.append(("in scope", "no reason is given", found.unexplained))
    gaps += [("out of scope", gap.reason, gap.ids) for gap in found.gaps if not gap.in_scope]
    if gaps:
        yield Text("\nNot mapped, and why", style="bold")
        table = _table("", "reason", "ids")
        for where, reason, ids in gaps:
            table.add_row(
                Text(where, style="yellow" if where == "in scope" else "dim"), Text(reason), _ids(ids, whole.ids)
            )
        yield Padding(table, (0, 0, 0, 2))


def _names(controls: Iterable[Control]) -> Text:
    names = Text()
    for control in controls:
        planned = control.proof is Proof.PLANNED
        names.append("  " if names else "")
        names.append(f"{control.id}{'*' if planned else ''}", style=PROOF_STYLES[control.proof])
    return names


def _ids(ids: Iterable[str], known: Mapping[str, str]) -> Text:
    return Text("; ".join(f"{name} {known[name]}" if known[name] else name for name in ids))


def _table(*headings: str) -> Table:
    """A table without lines, whose columns fold on a narrow terminal; ids of controls and tiers stay whole."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold", min_width=MIN_WIDTHS.get(heading))
    return table
