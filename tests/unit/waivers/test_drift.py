"""Drift: what counts as worse, what cannot be compared, and what a hostile or broken report.json can do (nothing)."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.verdict import Status
from clawkeep.report import machine, terminal
from clawkeep.verify import drift
from clawkeep.verify.report import Change, Exit, HostRow, Report, Result

HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J\u202e=cmd|' \"\r\n🦀"


def report(*results: tuple[str, str, str], hosts: dict[str, str] | None = None, **changes: object) -> Report:
    """A report of `(host, control, status)`; hosts are those of the results, unless given with their tiers."""
    names = hosts if hosts is not None else dict.fromkeys((host for host, _, _ in results), "tier1_x")
    rows = tuple(HostRow(name, tier, reached=True) for name, tier in names.items())
    found = tuple(
        Result(control, "It holds", "high", host, names[host], Status(status), "said", "play")
        for host, control, status in results
    )
    whole = Report("0.1.0", "2026-11-01T00:00:00Z", "2026-11-01T00:01:00Z", rows, found)
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def saved(tmp_path: Path, told: Report) -> Path:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(machine.as_json(told)))
    return path


def changes(before: Report, now: Report) -> list[tuple[str, str, str]]:
    found = drift.compare(drift.of(before), drift.of(now))
    return [(one.change.value, one.host, one.control) for one in found.differences]


FINE = ("pass", "not_applicable", "not_required", "waived", "manual")
DARK = ("inconclusive", "error")
EXPECTED: dict[tuple[str, str], str | None] = {
    **{(was, "fail"): "new_failing" for was in (*FINE, *DARK)},
    **dict.fromkeys(product((*FINE, "fail"), DARK), "newly_unmeasured"),
    **dict.fromkeys(product(("fail", "waived", *DARK), ("pass", "not_applicable")), "fixed"),
    ("pass", "manual"): "newly_unmeasured",
}


@pytest.mark.parametrize(("was", "is_"), list(product(map(str, Status), repeat=2)))
def test_each_pair_of_statuses(was: str, is_: str) -> None:
    wanted = EXPECTED.get((was, is_))
    before, now = report(("a", "NET-01", was)), report(("a", "NET-01", is_))
    assert changes(before, now) == ([(wanted, "a", "NET-01")] if wanted else [])


def test_a_control_that_is_gone_is_no_longer_measured_unless_it_was_left_out() -> None:
    before = report(("a", "NET-01", "pass"), ("a", "NET-02", "pass"), ("a", "NET-03", "not_required"))
    now = report(("a", "NET-01", "pass"))
    assert changes(before, now) == [("newly_unmeasured", "a", "NET-02")]
    assert changes(before, dataclasses.replace(now, left_out=("NET-02",))) == []
    dark = report(("a", "NET-01", "pass"), *(("a", f"NET-1{i}", s) for i, s in enumerate((*DARK, "manual"))))
    assert changes(dark, now) == []


def test_a_control_that_is_new() -> None:
    before = report(("a", "NET-01", "pass"))
    for status, wanted in (("pass", []), ("fail", ["new_failing"]), ("error", ["newly_unmeasured"])):
        now = report(("a", "NET-01", "pass"), ("a", "NET-02", status))
        assert [change for change, _, _ in changes(before, now)] == wanted


def test_hosts_that_are_gone_new_or_silent() -> None:
    before = report(("a", "NET-01", "pass"), ("b", "NET-01", "pass"), ("c", "NET-01", "pass"))
    rows = (HostRow("a", "tier1_x", True), HostRow("b", "tier1_x", False, "no"), HostRow("d", "tier1_x", True))
    now = report(("a", "NET-01", "pass"), ("b", "NET-01", "inconclusive"), ("d", "NET-01", "inconclusive"))
    found = changes(before, dataclasses.replace(now, hosts=rows))
    assert found == [("newly_unmeasured", "b", ""), ("host_gone", "c", "")]


def test_the_worst_comes_first() -> None:
    before = report(*(("a", f"NET-{i:02}", s) for i, s in enumerate(("fail", "pass", "pass"))), ("b", "NET-00", "pass"))
    now = report(*(("a", f"NET-{i:02}", s) for i, s in enumerate(("pass", "error", "fail"))))
    kinds = [change for change, _, _ in changes(before, now)]
    assert kinds == ["new_failing", "newly_unmeasured", "host_gone", "fixed"]


@pytest.mark.parametrize(
    ("before", "now", "exit_status"),
    [
        (["pass"], ["pass"], 0),
        (["fail"], ["pass"], 0),
        (["pass"], ["manual"], 3),
        (["pass"], ["fail"], 1),
        (["pass"], ["error"], 2),
        (["pass", "pass"], ["pass"], 3),
    ],
)
def test_drift_decides_only_what_is_green_otherwise(before: list[str], now: list[str], exit_status: int) -> None:
    earlier, later = (report(*(("a", f"NET-{i:02}", s) for i, s in enumerate(run))) for run in (before, now))
    found = drift.compare(drift.of(earlier), drift.of(later))
    assert dataclasses.replace(later, drift=found).exit_status is Exit(exit_status)


def test_the_json_tells_the_drift() -> None:
    found = drift.compare(drift.of(report(("a", "NET-01", "pass"))), drift.of(report(("a", "NET-01", "manual"))))
    data = machine.as_json(report(("a", "NET-01", "manual"), drift=found))["drift"]
    assert data == {
        "baseline": "2026-11-01T00:00:00Z",
        "worse": True,
        "differences": [
            {"change": "newly_unmeasured", "host": "a", "control": "NET-01", "before": "pass", "now": "manual"}
        ],
    }


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (report(("z", "NET-01", "pass")), r"tells of other hosts \(a, b, c and 1 more\), not of z"),
        (
            report(("a", "NET-01", "pass"), hosts={"a": "tier2_x"}),
            "a is in tier2_x and was in tier1_x at the baseline of 2026-11-01T00:00:00Z",
        ),
    ],
)
def test_other_hosts_are_not_compared(now: Report, sentence: str) -> None:
    before = report(*((host, "NET-01", "pass") for host in "abcd"))
    with pytest.raises(ClawkeepError, match=sentence):
        drift.compare(drift.of(before), drift.of(now))


def test_what_was_not_asked_for_is_not_compared() -> None:
    before = drift.of(report(*((host, control, "pass") for host in "ab" for control in ("NET-01", "NET-02"))))
    now = drift.of(report(("a", "NET-01", "pass")))
    assert drift.compare(before.only(hosts=["a"], controls=["NET-01"]), now).differences == ()
    assert len(drift.compare(before.only(hosts=["a"]), now).differences) == 1
    assert len(drift.compare(before.only(), now).differences) == 2


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    told = report((HOSTILE, "NET-01", "fail"), ("a", "NET-01", "pass"), left_out=("NET-02",))
    assert drift.read(saved(tmp_path, told)) == drift.of(told)


def test_ten_thousand_results(tmp_path: Path) -> None:
    rows = [(f"host{i:03}", f"NET-{j:02}", "pass") for i in range(100) for j in range(100)]
    before = drift.read(saved(tmp_path, report(*rows)))
    rows[1234] = ("host012", "NET-34", "fail")
    found = drift.compare(before, drift.of(report(*rows)))
    assert [(one.host, one.control) for one in found.differences] == [("host012", "NET-34")]


def _data(change: Callable[[dict[str, Any]], object]) -> bytes:
    data = machine.as_json(report(("a", "NET-01", "pass")))
    change(data)
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no report.json: Invalid JSON"),
        (b"\xff\xfe{}", "is no report.json: Invalid JSON"),
        (b'{"schema": 1, "started": "\xc3\x28"}', "is no report.json: Invalid JSON"),
        (b"[" * 100_000, "is no report.json: Invalid JSON"),
        (b"[]", "is no report.json: "),
        (b"{}", "has schema None; it is no report"),
        (_data(lambda d: d.update(schema=2)), "has schema 2; it was written by a later Clawkeep: update this one"),
        (_data(lambda d: d.update(schema="1")), "has schema 1; it is no report"),
        (_data(lambda d: d.pop("started")), "started: field required"),
        (_data(lambda d: d.update(started="yesterday")), "started: "),
        (_data(lambda d: d.pop("results")), "results: field required"),
        (_data(lambda d: d.update(hosts=[])), "has no host"),
        (_data(lambda d: d.update(results="all")), "results: "),
        (_data(lambda d: d["results"][0].update(status="good")), "results.0.status: "),
        (_data(lambda d: d["results"][0].update(control=HOSTILE)), "results.0.control: "),
        (_data(lambda d: d["results"][0].update(host=7)), "results.0.host: "),
        (_data(lambda d: d["results"][0].update(host="b")), "has results of 'b', which is none of its hosts"),
        (_data(lambda d: d["results"].append(d["results"][0])), "has two results of one control on one host"),
        (_data(lambda d: d["hosts"].append(d["hosts"][0])), "names a host twice"),
    ],
)
def test_what_is_no_report(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ClawkeepError) as raised:
        drift.read(path)
    assert sentence in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClawkeepError, match="cannot be read: No such file"):
        drift.read(tmp_path / "none.json")
    with pytest.raises(ClawkeepError, match="cannot be read: Is a directory"):
        drift.read(tmp_path)
    monkeypatch.setattr(drift, "FILE_CAP", 10)
    with pytest.raises(ClawkeepError, match="is larger than"):
        drift.read(saved(tmp_path, report(("a", "NET-01", "pass"))))


def test_hostile_names_reach_no_terminal() -> None:
    rows = [(HOSTILE + str(i), "NET-01", "pass") for i in range(100)]
    found = drift.compare(drift.of(report(*rows)), drift.of(report((HOSTILE + "0", "NET-01", "fail"))))
    stream = io.StringIO()
    terminal.show_drift(found, Console(file=stream, width=160, highlight=False))
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "newly failing 1   newly unmeasured 0   host gone 99   fixed 0" in text
    assert "and 60 more changes" in text


def test_the_order_of_changes_is_from_the_worst_down() -> None:
    assert tuple(drift.ORDER) == (Change.NEW_FAILING, Change.NEWLY_UNMEASURED, Change.HOST_GONE, Change.FIXED)
