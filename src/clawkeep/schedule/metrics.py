"""Prometheus textfiles: what the last run found, when a run last counted, and whether the watch still looks.

Two files, for two programs write them: clawkeep_verify.prom and clawkeep_watch.prom. Times are Unix seconds, 0 for
never; a rule such as `time() - clawkeep_last_success_timestamp_seconds > 864000` sees a scheduler that died.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from clawkeep.base import atomic, clock
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.schedule.summary import Report
from clawkeep.site import period
from clawkeep.site.ledger import Ledger
from clawkeep.verify.report import Exit

VERIFY, WATCH = "clawkeep_verify.prom", "clawkeep_watch.prom"


def _labelled(
    name: str, documentation: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    """A metric with samples by the values of these labels; what a host says of itself is made printable."""
    gauge = GaugeMetricFamily(name, documentation, labels=labels)
    for values, number in samples:
        gauge.add_metric([clean(value) for value in values], number)
    return gauge


@dataclass(frozen=True)
class _Found(Collector):
    """Metrics as prometheus-client asks for them."""

    gauges: tuple[Metric, ...]

    def collect(self) -> Iterable[Metric]:
        return self.gauges


def render(gauges: Iterable[Metric]) -> bytes:
    """The text exposition format, version 0.0.4."""
    return generate_latest(_Found(tuple(gauges)))


def of_run(ledger: Ledger, report: Report | None, told: Mapping[str, str], version: str) -> list[Metric]:
    """The last attempt of the ledger (which has one), with the report that it wrote, if any.

    `told` is by channel why it failed, an empty text where it did not.
    """
    attempt = ledger.attempts[-1]
    green = next((one for one in reversed(ledger.attempts) if one.complete and one.exit_status == Exit.GREEN), None)
    complete = ledger.last_complete
    status = attempt.exit_status if attempt.exit_status is not None else -1
    gauges: list[Metric] = [
        _labelled(
            "clawkeep_info",
            "The version of Clawkeep that verifies.",
            ("version", "node"),
            [((version, ledger.node), 1)],
        ),
        GaugeMetricFamily(
            "clawkeep_period_seconds", "How often the strictest tier wants a run.", period.seconds(ledger.period)
        ),
        GaugeMetricFamily("clawkeep_run_start_timestamp_seconds", "When the last run started.", _unix(attempt.started)),
        GaugeMetricFamily("clawkeep_run_end_timestamp_seconds", "When the last run ended.", _unix(attempt.finished)),
        GaugeMetricFamily(
            "clawkeep_run_duration_seconds", "How long it took.", max(0, clock.since(attempt.started, attempt.finished))
        ),
        GaugeMetricFamily(
            "clawkeep_run_exit_status", "Exit status of the last run, -1 when it did not end by itself.", status
        ),
        GaugeMetricFamily(
            "clawkeep_run_complete", "1 when the last run counts as a run, whatever it found.", attempt.complete
        ),
        GaugeMetricFamily("clawkeep_hosts_expected", "Hosts of the inventory in the last run.", len(attempt.hosts)),
        GaugeMetricFamily("clawkeep_hosts_reached", "Those that were reached.", attempt.count("measured", "reached")),
        GaugeMetricFamily(
            "clawkeep_last_success_timestamp_seconds",
            "When a run last ended that counts as a run.",
            _unix(complete.finished if complete else None),
        ),
        GaugeMetricFamily(
            "clawkeep_last_green_timestamp_seconds",
            "When such a run last ended with status 0.",
            _unix(green.finished if green else None),
        ),
    ]
    if told:
        failed = {(name,): float(bool(why)) for name, why in told.items()}
        gauges.append(
            _labelled(
                "clawkeep_tell_failed",
                "1 when the last notice could not be sent that way.",
                ("channel",),
                failed.items(),
            )
        )
    if report is not None:
        gauges += _of_hosts(report)
    return gauges


def _of_hosts(report: Report) -> list[Metric]:
    results = {
        (host, tier, status.value): float(count)
        for (host, tier), counts in report.per_host.items()
        for status, count in counts.items()
    }
    reached = {(host.name, host.tier): float(host.reached) for host in report.hosts}
    return [
        _labelled("clawkeep_results", "Results of the last run.", ("host", "tier", "status"), results.items()),
        _labelled("clawkeep_host_reached", "1 when the last run reached the host.", ("host", "tier"), reached.items()),
    ]


def of_watch(ledger: Ledger) -> list[Metric]:
    """What the watch saw."""
    complete = ledger.last_complete
    return [
        GaugeMetricFamily(
            "clawkeep_watch_timestamp_seconds", "When the staleness watch last looked.", _unix(ledger.watch.looked)
        ),
        GaugeMetricFamily(
            "clawkeep_stale", "1 when verification is overdue or its timer stopped.", bool(ledger.watch.complaints)
        ),
        GaugeMetricFamily(
            "clawkeep_watch_last_success_timestamp_seconds",
            "When a run last ended that counts as a run, as the watch sees it.",
            _unix(complete.finished if complete else None),
        ),
    ]


def write(folder: Path | None, name: str, gauges: Iterable[Metric]) -> None:
    """Replace the textfile `name` in one step, readable by everybody; raises ClawkeepError when that fails."""
    if folder is None:
        return
    try:
        atomic.write(folder / name, render(gauges), mode=0o644)
    except OSError as problem:
        raise ClawkeepError(f"the metrics {folder / name} cannot be written: {problem.strerror}") from None


def _unix(time: str | None) -> float:
    return clock.moment(time).timestamp() if time else 0
