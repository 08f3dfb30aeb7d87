"""The report for a person at a terminal: what does not pass, host by host, and always the counts."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clawkeep.report.model import Bundle, Exit, Report, Result
from clawkeep.report.sanitise import clean
from clawkeep.verdict import Status

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
    Exit.GREEN: "every required control holds",
    Exit.RED: "a required control fails",
    Exit.UNMEASURED: "something could not be measured",
    Exit.DRIFT: "worse than the baseline",
    Exit.WAIVERS: "the waivers are not in order",
}
ORDER = (Status.FAIL, Status.ERROR, Status.INCONCLUSIVE, Status.MANUAL, Status.WAIVED)


def show(report: Report, console: Console, folder: Path | None = None) -> None:
    """Print the summary; `folder` is where the full report was written."""
    for host in report.hosts:
        heading = Text.assemble((clean(host.name), "bold"), f"  {host.tier}")
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
        table.add_row(
            Text(result.control, style="bold"),
            Text(result.status.value, style=STYLES[result.status]),
            Text(result.severity),
            said,
        )
    return table


def _foot(report: Report, console: Console, folder: Path | None) -> None:
    counts = Text()
    for status, count in report.counts.items():
        counts.append(f"{status.value} {count}   ", style=STYLES[status] if count else "dim")
    console.print(counts)
    if report.left_out:
        console.print(Text(f"left out, they need another vantage than inside: {', '.join(report.left_out)}"))
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
