"""The report for a person at a terminal: what does not pass, host by host, and always the counts."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clawkeep.base.printable import clean
from clawkeep.base.verdict import Status
from clawkeep.verify.report import Bundle, Change, Drift, Exit, Report, Result, Waiver

STYLES = {
    Status.PASS: "green",
    Status.FAIL: "bold red",
    Status.WAIVED: "magenta",
    Status.NOT_APPLICABLE: "dim",
    Status.NOT_REQUIRED: "dim",
    Status.MANUAL: "cyan",
    Status.INCONCLUSIVE: "yellow",
    Status.ERROR: "bold yellow",
}
QUIET = {Status.PASS, Status.NOT_APPLICABLE, Status.NOT_REQUIRED}
MEANINGS = {
    Exit.GREEN: "every required control holds or is waived",
    Exit.RED: "a required control fails",
    Exit.UNMEASURED: "something could not be measured",
    Exit.DRIFT: "worse than the baseline",
    Exit.WAIVERS: "the waivers or attestations are not in order",
}
CHANGES = {
    Change.NEW_FAILING: ("newly failing", "bold red"),
    Change.NEWLY_UNMEASURED: ("newly unmeasured", "yellow"),
    Change.HOST_GONE: ("host gone", "bold yellow"),
    Change.FIXED: ("fixed", "green"),
}
SHOWN = 40  # rows of changes; report.json has them all
ORDER = (Status.FAIL, Status.ERROR, Status.INCONCLUSIVE, Status.MANUAL, Status.WAIVED)


def show(report: Report, console: Console, folder: Path | None = None) -> None:
    """Print the summary; `folder` is where the full report was written."""
    for host in report.hosts:
        heading = Text.assemble((clean(host.name), "bold"), f"  {host.tier}")
        if host.measured:
            heading.append(f"  measured {clean(host.measured)}", style="dim")
        if not host.reached:
            console.print(heading, Text(f"not measured: {clean(host.message)}", style="bold yellow"))
            continue
        loud = [r for r in report.results if r.host == host.name and r.status not in QUIET]
        if not loud:
            console.print(heading, Text("nothing to report", style="green"))
            continue
        console.print(heading)
        console.print(_table(sorted(loud, key=lambda r: (ORDER.index(r.status), r.control))))
    _foot(report, console, folder)


def _table(results: list[Result]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for _ in range(4):
        table.add_column(overflow="fold")
    for result in results:
        said = Text(clean(result.message))
        if result.status is Status.FAIL:
            said.append(f"\n→ {result.remedy}", style="dim")
        if result.waiver is not None:
            said.append(f"\n{_excuse(result.waiver)}", style="dim")
        table.add_row(
            Text(result.control, style="bold"),
            Text(result.status.value, style=STYLES[result.status]),
            Text(result.severity),
            said,
        )
    return table


def _excuse(waiver: Waiver) -> str:
    days = {0: "today is its last day", 1: "1 day left"}.get(waiver.days_left, f"{waiver.days_left} days left")
    who = f"{waiver.owner}, approved by {waiver.approved_by}, {waiver.ticket}"
    return f"waived for {clean(waiver.scope)} until {waiver.expires} ({days}): {clean(waiver.reason)} ({clean(who)})"


def show_drift(drift: Drift, console: Console) -> None:
    """Print what changed since the baseline: how often each change, then row by row, the worst first."""
    counts = Text(f"since the baseline of {drift.baseline}:   ")
    for change, (name, style) in CHANGES.items():
        count = sum(one.change is change for one in drift.differences)
        counts.append(f"{name} {count}   ", style=style if count else "dim")
    console.print(counts)
    table = Table(box=None, padding=(0, 2, 0, 2), show_header=False)
    for _ in range(4):
        table.add_column(overflow="fold")
    for one in drift.differences[:SHOWN]:
        name, style = CHANGES[one.change]
        was = f"{clean(one.before)} → {clean(one.now)}"
        table.add_row(Text(name, style=style), Text(clean(one.host)), Text(clean(one.control)), Text(was))
    if drift.differences:
        console.print(table)
    if len(drift.differences) > SHOWN:
        console.print(Text(f"  and {len(drift.differences) - SHOWN} more changes"))


def _foot(report: Report, console: Console, folder: Path | None) -> None:
    for sentence in report.warnings:
        console.print(Text(f"warning: {clean(sentence)}", style="yellow"))
    for sentence in report.objections:
        console.print(Text(f"not in order: {clean(sentence)}", style="bold yellow"))
    if report.drift is not None:
        show_drift(report.drift, console)
    counts = Text()
    for status, count in report.counts.items():
        counts.append(f"{status.value} {count}   ", style=STYLES[status] if count else "dim")
    console.print(counts)
    if report.left_out:
        console.print(Text(f"left out, they need a vantage that was not asked for: {', '.join(report.left_out)}"))
    if report.planned:
        console.print(
            Text(f"planned, not verified yet ({len(report.planned)}): {', '.join(report.planned)}", style="dim")
        )
    if report.bundle is not None:
        _evidence(report.bundle, console)
    if folder is not None:
        console.print(Text(f"report: {folder / 'report.json'}"))
    end = report.exit_status
    style = "bold green" if end is Exit.GREEN else "bold red" if end is Exit.RED else "bold yellow"
    console.print(Text(f"{MEANINGS[end]} (exit status {int(end)})", style=style))


def _evidence(bundle: Bundle, console: Console) -> None:
    if bundle.digest:
        console.print(Text(f"evidence: {bundle.digest}, {clean(bundle.signature)}"))
    if bundle.problem:
        kept = "not signed" if bundle.digest else "not kept"
        console.print(Text(f"the evidence is {kept} as was asked for: {clean(bundle.problem)}", style="bold yellow"))
