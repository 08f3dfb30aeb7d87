"""The report as a Markdown summary for a pull request or a job's page: short enough for a comment, the rest by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from clawkeep.base.printable import clean
from clawkeep.base.verdict import Status
from clawkeep.register.register import Control
from clawkeep.report import words
from clawkeep.report.terminal import MEANINGS
from clawkeep.verify.report import Change, Exit, Report, Result

ROOM = 50_000  # characters for the lists; GitHub takes 65,536 in a comment
SIGNS = {Exit.GREEN: "✅", Exit.RED: "❌", Exit.UNMEASURED: "⚠️", Exit.DRIFT: "📉", Exit.WAIVERS: "📜"}


def as_markdown(report: Report, register: Mapping[str, Control]) -> bytes:
    """The summary: the verdict, the counts, what fails or could not be measured, changes, waivers, what is planned."""
    return ("\n".join(_bounded(_lines(report, register))) + "\n").encode()


def literal(text: str, limit: int = 400) -> str:
    """`text` as a code span: no markup, link, mention, reference or HTML in it works, in a table cell neither."""
    shown = clean(text, limit).strip()
    if not shown:
        return ""
    shown = re.sub(r"\\+(?=\|)", lambda found: found[0] + " ", shown).replace("|", r"\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def plain(text: str, limit: int = 400) -> str:
    """`text` as running text, every character that Markdown or HTML could take for markup escaped."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~&@:$^=])", r"\\\1", clean(text, limit))


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    room = ROOM
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            yield "\n*There is more: report.json and report.html have all of it.*"
            return
        yield line


def _lines(report: Report, register: Mapping[str, Control]) -> Iterator[str]:
    end, when = report.exit_status, words.measured(report)
    reached = sum(host.reached for host in report.hosts)
    yield f"## {SIGNS[end]} Clawkeep: {words.headline(report)}"
    yield ""
    yield (
        f"{reached} of {words.plural(len(report.hosts), 'host')} measured{f' {plain(when)}' if when else ''}; "
        f"the run was from {plain(report.started)} to {plain(report.finished)}; "
        f"exit status {int(end)}: {MEANINGS[end]}. clawkeep {plain(report.version)}."
    )
    yield ""
    if report.bundle is not None:
        yield f"{literal(words.rests_on(report.bundle))}\n"
    counts = report.counts
    yield "| " + " | ".join(label for label, _ in words.STATUSES.values()) + " |"
    yield "|" + " ---: |" * len(words.STATUSES)
    yield "| " + " | ".join(f"{counts[status]:,}" for status in words.STATUSES) + " |"
    yield from _sentences("Waivers and attestations that are not in order", report.objections)
    yield from _sentences(
        "Hosts that were not measured",
        (f"{host.name}: {host.message}" for host in report.hosts if not host.reached),
    )
    yield from _findings("Failing", words.most_urgent_first(report.results, {Status.FAIL}), remedy=True)
    yield from _findings("Not measured", words.most_urgent_first(report.results, words.UNMEASURED), remedy=False)
    yield from _drift(report)
    yield from _waivers(report)
    yield from _findings("Waiting for a person", words.most_urgent_first(report.results, {Status.MANUAL}), remedy=False)
    yield from _sentences("Warnings", report.warnings)
    yield from _names("Planned, not verified yet", report.planned, register)
    yield from _names("Left out: their vantage was not asked for", report.left_out, register)


def _findings(heading: str, results: list[Result], *, remedy: bool) -> Iterator[str]:
    if not results:
        return
    yield f"\n### {heading} ({len(results):,})\n"
    yield f"| Control | Severity | Host | Finding |{' Remedy |' if remedy else ''}"
    yield f"| --- | --- | --- | --- |{' --- |' if remedy else ''}"
    for result in results:
        cells = [
            f"{plain(result.control)} {plain(result.title)}",
            plain(result.severity),
            literal(result.host),
            literal(result.message),
        ]
        yield "| " + " | ".join([*cells, literal(result.remedy)] if remedy else cells) + " |"


def _drift(report: Report) -> Iterator[str]:
    if report.drift is None:
        return
    yield f"\n### Since the baseline of {literal(report.drift.baseline)} ({len(report.drift.differences):,})\n"
    if not report.drift.differences:
        yield "Nothing has changed."
    order = list(Change)
    for one in sorted(report.drift.differences, key=lambda d: (order.index(d.change), d.control, d.host)):
        moved = f": {literal(one.before)} to {literal(one.now)}" if one.before or one.now else ""
        what = f"{plain(one.control)} on " if one.control else ""
        yield f"- {words.CHANGES[one.change]}: {what}{literal(one.host)}{moved}"


def _waivers(report: Report) -> Iterator[str]:
    waived = words.most_urgent_first(report.results, {Status.WAIVED})
    if not waived:
        return
    yield f"\n### Waived ({len(waived):,})\n"
    yield "| Control | Host | Reason | Owner | Approved by | Ticket | Expires |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for result in waived:
        waiver = result.waiver
        told = (
            [literal(waiver.reason), literal(waiver.owner), literal(waiver.approved_by), literal(waiver.ticket)]
            if waiver
            else [""] * 4
        )
        expires = f"{literal(waiver.expires)}, {words.days_left(waiver.days_left)}" if waiver else ""
        cells = [f"{plain(result.control)} {plain(result.title)}", literal(result.host), *told, expires]
        yield "| " + " | ".join(cells) + " |"


def _sentences(heading: str, sentences: Iterable[str]) -> Iterator[str]:
    told = [literal(sentence) for sentence in sentences]
    if told:
        yield f"\n### {heading} ({len(told):,})\n"
        yield from (f"- {sentence}" for sentence in told)


def _names(heading: str, names: tuple[str, ...], register: Mapping[str, Control]) -> Iterator[str]:
    if not names:
        return
    yield f"\n<details><summary>{heading}: {words.plural(len(names), 'control')}</summary>\n"
    for name in names:
        title = f" {plain(register[name].title)}" if name in register else ""
        yield f"- {plain(name)}{title}"
    yield "\n</details>"
