"""CSV: a row a result, and no cell that a spreadsheet computes."""

from __future__ import annotations

import csv
import io

import pytest
from tests import reports

from clawkeep.base.verdict import Status
from clawkeep.report import sheet
from clawkeep.verify.report import Report


def rows(report: Report) -> list[dict[str, str]]:
    text = sheet.as_csv(report, reports.REGISTER).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_a_row_tells_all_of_a_result() -> None:
    (row,) = rows(reports.of(reports.result(Status.WAIVED)))
    assert row == {
        "control": "NET-01",
        "title": "The state of NET-01 is as promised",
        "severity": "critical",
        "host": "alpha",
        "tier": "tier1_x",
        "status": "waived",
        "message": "waived was found",
        "remedy": "ansible-playbook playbooks/site.yml --tags NET-01",
        "evidence": "inside: ss -Hltnup " + reports.excerpt("inside: ss -Hltnup", "LISTEN 0 511 0.0.0.0:3000").digest,
        "waiver_scope": "team-build",
        "waiver_reason": "The build agents keep a swap file until they are replaced.",
        "waiver_owner": "M. Okafor",
        "waiver_approved_by": "R. Lindqvist",
        "waiver_ticket": "SEC-412",
        "waiver_expires": "2027-01-19",
        "waiver_days_left": "60",
        "measured": "",
    }


def test_every_result_has_its_row_and_what_was_not_verified_too() -> None:
    told = [(row["control"], row["host"], row["status"]) for row in rows(reports.rich())]
    assert len(told) == len(reports.rich().results) + 2
    assert told[-2:] == [("AGT-07", "", "planned"), ("CTR-01", "", "left_out")]


@pytest.mark.parametrize("formula", reports.FORMULAS)
def test_a_formula_is_text(formula: str) -> None:
    (row,) = rows(reports.of(reports.result(Status.FAIL, host=formula, message=formula, evidence=())))
    for cell in (row["host"], row["message"]):
        # in whatever way a spreadsheet splits the line, no cell begins with a sign of a formula
        for part in cell.replace("|", ";").replace(",", ";").replace('"', ";").replace("\t", ";").split(";"):
            assert not part.strip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")), cell
        assert cell.replace("'", "").strip()[0] in formula


def test_ordinary_text_is_left_as_it_is() -> None:
    said = "203.0.113.7:3000 is open (use --tags NET-01); a-b, c = d, mail ops@allowed.example"
    assert sheet.inert(said) == said


def test_a_negative_number_of_days_stays_a_number() -> None:
    (row,) = rows(reports.of(reports.result(Status.WAIVED, waiver=reports.waiver(-3))))
    assert row["waiver_days_left"] == "-3"
