"""The report: its exit status, its shape for other programs, and what hostile text may do to it (nothing)."""

from __future__ import annotations

import io
import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.base.verdict import Status
from clawkeep.report import files, machine, terminal
from clawkeep.verify.report import Bundle, Excerpt, Exit, HostRow, Report, Result


def result(status: Status, message: str = "said", *, host: str = "alpha", control: str = "NET-01") -> Result:
    evidence = (Excerpt("inside: ss", "sha256:00", message),)
    return Result(control, "It holds", "high", host, "tier1_x", status, message, f"play --tags {control}", evidence)


def report(*results: Result, reached: bool = True, hosts: tuple[HostRow, ...] | None = None) -> Report:
    rows = (HostRow("alpha", "tier1_x", reached, "" if reached else "no answer"),) if hosts is None else hosts
    return Report("0.1.0", "2026-01-02T03:04:05Z", "2026-01-02T03:05:05Z", rows, results, ("AGT-07",), ("NET-02",))


@pytest.mark.parametrize(
    ("statuses", "reached", "exit_status"),
    [
        (["pass"], True, 0),
        (["pass", "waived", "manual", "not_applicable", "not_required"], True, 0),
        (["pass", "fail"], True, 1),
        (["pass", "inconclusive"], True, 2),
        (["pass", "error"], True, 2),
        (["fail", "inconclusive"], True, 2),
        (["fail", "error", "pass"], True, 2),
        (["pass"], False, 2),
        ([], True, 2),
        (["not_required"], True, 2),
    ],
)
def test_the_worst_finding_decides_the_exit_status(statuses: list[str], reached: bool, exit_status: int) -> None:
    assert report(*(result(Status(s)) for s in statuses), reached=reached).exit_status == exit_status


@pytest.mark.parametrize(
    ("bundle", "exit_status", "told"),
    [
        (None, Exit.GREEN, ""),
        (Bundle("sha256:00"), Exit.GREEN, "evidence: sha256:00, unsigned: nothing shows who recorded it"),
        (Bundle("sha256:00", "SHA256:k"), Exit.GREEN, "signed with the key SHA256:k, whose it is was not checked"),
        (Bundle("sha256:00", "SHA256:k", "ada"), Exit.GREEN, "signed by ada with the key SHA256:k"),
        (Bundle("sha256:00", problem="x"), Exit.UNMEASURED, "the evidence is not signed as was asked for: x"),
        (Bundle("", problem="x"), Exit.UNMEASURED, "the evidence is not kept as was asked for: x"),
    ],
)
def test_the_report_says_plainly_what_it_rests_on(bundle: Bundle | None, exit_status: Exit, told: str) -> None:
    of = replace(report(result(Status.PASS)), bundle=bundle)
    assert of.exit_status is exit_status
    assert told in shown(of)
    assert ("evidence" in shown(of)) == bool(told)
    expected = None if bundle is None else {key: getattr(bundle, key) for key in ("digest", "key", "signer", "problem")}
    assert machine.as_json(of)["bundle"] == expected


def test_no_host_is_not_green() -> None:
    assert report(result(Status.PASS), hosts=()).exit_status is Exit.UNMEASURED


def test_the_json_has_the_shape_of_the_contract() -> None:
    data = machine.as_json(report(result(Status.FAIL, "3000 is open")))
    assert data == {
        "schema": 1,
        "tool": {"name": "clawkeep", "version": "0.1.0"},
        "started": "2026-01-02T03:04:05Z",
        "finished": "2026-01-02T03:05:05Z",
        "exit_status": 1,
        "hosts": [{"name": "alpha", "tier": "tier1_x", "reached": True, "message": "", "measured": None}],
        "results": [
            {
                "control": "NET-01",
                "title": "It holds",
                "severity": "high",
                "host": "alpha",
                "tier": "tier1_x",
                "status": "fail",
                "message": "3000 is open",
                "remedy": "play --tags NET-01",
                "evidence": [{"source": "inside: ss", "digest": "sha256:00", "excerpt": "3000 is open"}],
                "waiver": None,
            }
        ],
        "planned": ["AGT-07"],
        "left_out": ["NET-02"],
        "warnings": [],
        "objections": [],
        "drift": None,
        "bundle": None,
        "summary": {
            "pass": 0,
            "fail": 1,
            "waived": 0,
            "not_applicable": 0,
            "not_required": 0,
            "manual": 0,
            "inconclusive": 0,
            "error": 0,
        },
    }


# A terminal's escape, a bell, a bidi override, a zero width joiner, a line separator, a lone surrogate, NUL, markup.
HOSTILE = (
    "x\x1b[2J\x1b]0;owned\x07\u202egnp.exe\u200d\u2028\ud800\x00 [bold]red[/bold] ]]> <script>&amp;\r\nsecond line"
)


def test_clean_text_is_one_line_without_hidden_characters() -> None:
    text = clean(HOSTILE)
    assert "\n" not in text
    assert {unicodedata.category(c) for c in text}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    assert "\\u001b[2J" in text
    assert "\\u202e" in text
    assert clean("plain, ünïcödé 日本") == "plain, ünïcödé 日本"


def test_clean_text_is_bounded() -> None:
    assert len(clean("\x00" * 10_000_000)) == 400
    assert clean("a" * 401).endswith("…")


def shown(of: Report, **options: object) -> str:
    stream = io.StringIO()
    terminal.show(of, Console(file=stream, width=100, highlight=False, **options))  # type: ignore[arg-type]
    return stream.getvalue()


def test_hostile_text_reaches_no_terminal() -> None:
    rows = (HostRow(HOSTILE, "tier1_x", True), HostRow(HOSTILE + "2", "tier1_x", False, HOSTILE))
    text = shown(report(result(Status.FAIL, HOSTILE, host=HOSTILE), hosts=rows))
    assert {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs"}} == {"\n"}
    assert "[bold]red" in text


def test_hostile_text_reaches_no_document(tmp_path: Path) -> None:
    hostile = report(result(Status.FAIL, HOSTILE, host=HOSTILE), hosts=(HostRow(HOSTILE, "t", True, HOSTILE),))
    files.write(hostile, {}, tmp_path / "out")
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "\x1b" not in data["results"][0]["message"]
    suite = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot().find("testsuite")  # noqa: S314 - our own file
    assert suite is not None
    assert suite.get("failures") == "1"
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "<script>" in str(failure.get("message"))


def test_junit_counts_what_was_not_measured_as_errors() -> None:
    many = report(*(result(status, control=f"NET-{i:02}") for i, status in enumerate(Status)))
    suite = ElementTree.fromstring(machine.as_junit(many)).find("testsuite")  # noqa: S314 - our own text
    assert suite is not None
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["8", "1", "2", "4"]


def test_the_summary_always_tells_the_counts_and_colours_only_a_terminal() -> None:
    text = shown(report(result(Status.FAIL, "3000 is open"), result(Status.INCONCLUSIVE), reached=True))
    for part in ("fail 1", "inconclusive 1", "pass 0", "3000 is open", "play --tags NET-01", "NET-02", "exit status 2"):
        assert part in text
    assert "\x1b" not in text
    assert "\x1b[" in shown(report(result(Status.FAIL)), force_terminal=True)


def test_the_summary_tells_when_each_host_was_measured() -> None:
    rows = (
        HostRow("alpha", "tier1_x", True, "", "2025-12-31T23:00:00Z"),
        HostRow("beta", "tier1_x", True, "", "2026-01-01T01:00:00Z"),
        HostRow("gamma", "tier1_x", True),
    )
    lines = shown(report(result(Status.PASS), hosts=rows)).splitlines()
    assert [line.split()[:4] for line in lines[:2]] == [
        ["alpha", "tier1_x", "measured", "2025-12-31T23:00:00Z"],
        ["beta", "tier1_x", "measured", "2026-01-01T01:00:00Z"],
    ]
    assert "measured" not in lines[2]
    hosts = machine.as_json(report(result(Status.PASS), hosts=rows))["hosts"]
    assert [host["measured"] for host in hosts] == ["2025-12-31T23:00:00Z", "2026-01-01T01:00:00Z", None]


def test_a_report_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClawkeepError, match="cannot be written"):
        files.write(report(result(Status.PASS)), {}, tmp_path / "file")
