"""The metrics: text that Prometheus reads, with the values of the run, whatever a host is called."""

from __future__ import annotations

import re

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from clawkeep.base import clock
from clawkeep.schedule import metrics

from .conftest import BEGIN, GREEN, Node, report

# https://prometheus.io/docs/instrumenting/exposition_formats/: stricter than the reader above, which forgives much.
NUMBER = r"[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
SAMPLE = re.compile(rf"[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{{{LABEL}(?:,{LABEL})*\}})? (?:{NUMBER})")
COMMENT = re.compile(r"# (?:HELP [a-zA-Z_:][a-zA-Z0-9_:]* [^\n]+|TYPE [a-zA-Z_:][a-zA-Z0-9_:]* gauge)")


def values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples of a text in the exposition format; fails on whatever is not of its grammar."""
    assert text.endswith("\n")
    for line in text.splitlines():
        assert (COMMENT if line.startswith("#") else SAMPLE).fullmatch(line), line
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type == "gauge"
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def plain(node: Node, name: str = metrics.VERIFY) -> dict[str, float]:
    """The metrics without labels."""
    found = values((node.folder / "metrics" / name).read_text())
    return {name: value for (name, labels), value in found.items() if not labels}


def unix(time: str) -> float:
    return clock.moment(time).timestamp()


def test_a_run_is_told_in_numbers(node: Node) -> None:
    node.verify(report("pass", "pass", "fail", status=1))
    assert plain(node) == {
        "clawkeep_period_seconds": 86400,
        "clawkeep_run_start_timestamp_seconds": unix(BEGIN),
        "clawkeep_run_end_timestamp_seconds": unix(BEGIN),
        "clawkeep_run_duration_seconds": 0,
        "clawkeep_run_exit_status": 1,
        "clawkeep_run_complete": 1,
        "clawkeep_hosts_expected": 1,
        "clawkeep_hosts_reached": 1,
        "clawkeep_last_success_timestamp_seconds": unix(BEGIN),
        "clawkeep_last_green_timestamp_seconds": 0,
    }
    found = values((node.folder / "metrics" / metrics.VERIFY).read_text())
    host = {("host", "alpha"), ("tier", "tier1_personal")}
    counts = {status: found["clawkeep_results", frozenset({*host, ("status", status)})] for status in ("pass", "fail")}
    assert counts == {"pass": 2, "fail": 1}
    assert sum(name == "clawkeep_results" for name, _ in found) == 8
    assert found["clawkeep_host_reached", frozenset(host)] == 1


def test_a_run_that_does_not_count_does_not_move_the_last_success(node: Node) -> None:
    node.verify(GREEN)
    node.after(86400)
    node.verify(None, status=2)
    found = plain(node)
    assert found["clawkeep_last_success_timestamp_seconds"] == unix(BEGIN)
    assert found["clawkeep_last_green_timestamp_seconds"] == unix(BEGIN)
    assert found["clawkeep_run_end_timestamp_seconds"] == unix(BEGIN) + 86400
    assert (found["clawkeep_run_complete"], found["clawkeep_hosts_expected"]) == (0, 0)


def test_a_run_that_was_stopped_has_a_status_of_its_own(node: Node) -> None:
    node.settings(limit_seconds=0.3)
    node.verify(hangs=True)
    assert plain(node)["clawkeep_run_exit_status"] == -1


@pytest.mark.parametrize("host", ['a"b\\c', "two\nlines", "\u202eflah", "\U0001f980", "x" * 1000, "}{,="])
def test_a_hosts_name_breaks_no_line(node: Node, host: str) -> None:
    node.verify(report("pass", host=host))
    found = values((node.folder / "metrics" / metrics.VERIFY).read_text())
    assert sum(name == "clawkeep_host_reached" for name, _ in found) == 1


def test_large_and_odd_numbers_are_exact() -> None:
    numbers = {"a": 1793491200.0, "b": 0.1, "c": True}
    text = metrics.render(GaugeMetricFamily(name, "x", value=number) for name, number in numbers.items()).decode()
    assert list(values(text).values()) == [1793491200.0, 0.1, 1.0]


def test_the_file_is_for_everybody_to_read(node: Node) -> None:
    node.verify()
    assert (node.folder / "metrics" / metrics.VERIFY).stat().st_mode & 0o777 == 0o644
    assert [path.name for path in (node.folder / "metrics").iterdir()] == [metrics.VERIFY]


def test_no_folder_means_no_metrics(node: Node) -> None:
    node.settings(metrics=None)
    assert node.verify().problems == ()
    assert list((node.folder / "metrics").iterdir()) == []
