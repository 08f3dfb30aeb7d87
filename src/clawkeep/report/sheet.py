"""The report as CSV (RFC 4180, UTF-8 with a byte order mark, which spreadsheets need): a row a control and host."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping

from clawkeep.base.printable import clean
from clawkeep.register.register import Control
from clawkeep.verify.report import Report, Result

COLUMNS = (
    *("control", "title", "severity", "host", "tier", "status", "message", "remedy", "evidence"),
    *("waiver_scope", "waiver_reason", "waiver_owner", "waiver_approved_by", "waiver_ticket"),
    *("waiver_expires", "waiver_days_left", "measured"),
)
PLANNED = "planned"  # in the column of statuses, for a control that nothing proves yet; such a row has no host
LEFT_OUT = "left_out"

# A cell that begins so is computed, not shown. A spreadsheet that splits at another separator begins a cell there too,
# and the forms of full width count in East Asian locales. Tabs and line ends are spaces by then.
_FORMULA = re.compile(r"(^|[;,|\"])(\s*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")


def as_csv(report: Report, register: Mapping[str, Control]) -> bytes:
    """One row a result, then one a control that was planned or left out."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    measured = {host.name: host.measured for host in report.hosts}
    for result in report.results:
        writer.writerow([*_row(result), inert(measured.get(result.host, ""))])
    for names, status in ((report.planned, PLANNED), (report.left_out, LEFT_OUT)):
        for name in names:
            control = register.get(name)
            known = (control.title, control.severity.value) if control else ("", "")
            writer.writerow([inert(name), *map(inert, known), "", "", status, *[""] * (len(COLUMNS) - 6)])
    return stream.getvalue().encode("utf-8-sig")


def inert(text: str, limit: int = 400) -> str:
    """`text` such that no spreadsheet takes any of it for a formula."""
    return _FORMULA.sub(r"\1\2'", clean(text, limit))


def _row(result: Result) -> list[str | int]:
    waiver = result.waiver
    evidence = "; ".join(f"{cited.source} {cited.digest}" for cited in result.evidence)
    told = (result.control, result.title, result.severity, result.host, result.tier, result.status.value)
    row: list[str | int] = [*map(inert, told), inert(result.message), inert(result.remedy), inert(evidence, 2000)]
    if waiver is None:
        return [*row, *[""] * 7]
    said = (waiver.scope, waiver.reason, waiver.owner, waiver.approved_by, waiver.ticket, waiver.expires)
    return [*row, *map(inert, said), waiver.days_left]
