"""Every written file: the same bytes for the same report, and no crash and no hole, however large or hostile it is."""

from __future__ import annotations

import csv
import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests import reports

from clawkeep.base.verdict import Status
from clawkeep.report import files
from clawkeep.verify.report import Bundle, HostRow, Report

EVERY = pytest.mark.parametrize("name", sorted(files.WRITERS))

# Control, format (bidi, zero width) and surrogate characters: none may reach a reader, whatever the format.
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def text(name: str, report: Report | None = None) -> str:
    return files.WRITERS[name](report or reports.rich(), reports.REGISTER).decode("utf-8-sig")


def test_the_files_are_those_that_the_help_promises(tmp_path: Path) -> None:
    files.write(reports.rich(), reports.REGISTER, tmp_path / "out")
    expected = {
        "report.json",
        "junit.xml",
        "report.sarif",
        "report.oscal.json",
        "report.csv",
        "report.md",
        "report.html",
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected


@EVERY
def test_the_same_report_gives_the_same_bytes(name: str) -> None:
    assert files.WRITERS[name](reports.rich(), reports.REGISTER) == files.WRITERS[name](
        reports.rich(), dict(reports.REGISTER)
    )


@EVERY
def test_a_report_without_any_result_is_written(name: str) -> None:
    assert text(name, reports.of())


@EVERY
def test_a_register_that_knows_none_of_the_controls_is_no_reason_to_fail(name: str) -> None:
    assert files.WRITERS[name](reports.rich(), {})


@EVERY
def test_ten_thousand_results_are_written(name: str) -> None:
    report, register = reports.fleet(100, 100)
    assert len(report.results) == 10_000
    written = files.WRITERS[name](report, register)
    assert b"claw-0099" in written or name == "report.md"  # the summary for a pull request is cut, see its own tests


@EVERY
def test_hostile_text_leaves_no_hidden_character(name: str) -> None:
    report, register = reports.hostile()
    written = files.WRITERS[name](report, register).decode("utf-8-sig")
    found = {character for character in written if unicodedata.category(character) in HIDDEN}
    assert found <= {"\n", "\r"}
    assert "\\u202e" in written or name == "report.md"
    assert "\r" not in written.replace("\r\n", "")


@EVERY
@pytest.mark.parametrize("planned", ["AGT-07"])
def test_every_file_names_what_is_planned(name: str, planned: str) -> None:
    said = text(name).replace("\\-", "-")
    assert planned in said
    assert planned not in text(name, reports.of(reports.result(Status.PASS))).replace("\\-", "-") or name in {
        "report.html"  # it holds the page of every control
    }


@pytest.mark.parametrize("name", ["report.json", "report.html", "report.md", "report.sarif", "report.oscal.json"])
def test_the_files_tell_what_evidence_they_rest_on(name: str) -> None:
    row = reports.result(Status.PASS)
    told = text(name, reports.of(row, bundle=Bundle("sha256:0123", "SHA256:key", "ada")))
    assert "sha256:0123" in told
    assert "ada" in told
    assert "disk is full" in text(name, reports.of(row, bundle=Bundle("", problem="the disk is full")))


@EVERY
def test_every_file_names_the_host_that_fails(name: str) -> None:
    assert "needle-7" in text(name, reports.of(reports.result(Status.FAIL, host="needle-7")))


@EVERY
def test_every_file_tells_when_its_hosts_were_measured_and_not_only_when_they_were_judged(name: str) -> None:
    seen = HostRow("alpha", "tier1_x", True, "", reports.MEASURED)
    old = reports.of(reports.result(Status.FAIL), hosts=(seen,))
    assert reports.MEASURED in text(name, old).replace("\\", "")
    undated = reports.of(reports.result(Status.FAIL), hosts=(replace(seen, measured=""),))
    assert reports.MEASURED not in text(name, undated).replace("\\", "")


def test_the_files_are_of_their_kind(tmp_path: Path) -> None:
    report, register = reports.hostile()
    files.write(report, register, tmp_path)
    for name in ("report.json", "report.sarif", "report.oscal.json"):
        assert json.loads((tmp_path / name).read_bytes())
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().tag == "testsuites"  # noqa: S314 - our own file
    with (tmp_path / "report.csv").open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.reader(stream, strict=True))
    assert len({len(row) for row in rows}) == 1


def test_junit_has_a_last_suite_for_what_was_not_verified() -> None:
    suites = ElementTree.fromstring(text("junit.xml")).findall("testsuite")  # noqa: S314 - our own text
    assert suites[-1].get("name") == "not verified"
    cases = {case.get("name"): case.find("skipped").get("message") for case in suites[-1]}  # type: ignore[union-attr]
    assert cases == {"AGT-07": "planned", "CTR-01": "left out"}
    assert [suite.get("name") for suite in suites[:-1]] == ["alpha", "beta"]
