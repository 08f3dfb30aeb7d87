"""Prometheus textfiles: what the last run found, when a run last counted, and whether the watch still looks.

Two files, for two programs write them: clawkeep_verify.prom and clawkeep_watch.prom. Times are Unix seconds, 0 for
never; a rule such as `time() - clawkeep_last_success_timestamp_seconds > 864000` sees a scheduler that died.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clawkeep.base import atomic, clock
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.schedule.summary import Report
from clawkeep.site import period
from clawkeep.site.ledger import Ledger
from clawkeep.verify.report import Exit

VERIFY, WATCH = "clawkeep_verify.prom", "clawkeep_watch.prom"

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Gauge:
    """One metric with its samples, each a set of labels and a number."""

    name: str
    help: str
    samples: tuple[tuple[Labels, float], ...]

    @classmethod
    def one(cls, name: str, help: str, value: float) -> Gauge:
        """A metric without labels."""
        return cls(name, help, (({}, value),))


def render(gauges: Iterable[Gauge]) -> str:
    """The text exposition format, version 0.0.4."""
    lines = []
    for gauge in gauges:
        lines.append(f"# HELP {gauge.name} {gauge.help}")
        lines.append(f"# TYPE {gauge.name} gauge")
        for labels, value in gauge.samples:
            worn = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
            lines.append(f"{gauge.name}{{{worn}}} {value:.17g}" if worn else f"{gauge.name} {value:.17g}")
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return clean(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def of_run(ledger: Ledger, report: Report | None, told: Mapping[str, str], version: str) -> list[Gauge]:
    """The last attempt of the ledger (which has one), with the report that it wrote, if any.

    `told` is by channel why it failed, an empty text where it did not.
    """
    attempt = ledger.attempts[-1]
    green = next((one for one in reversed(ledger.attempts) if one.complete and one.exit_status == Exit.GREEN), None)
    complete = ledger.last_complete
    status = attempt.exit_status if attempt.exit_status is not None else -1
    gauges = [
        Gauge(
            "clawkeep_info", "The version of Clawkeep that verifies.", (({"version": version, "node": ledger.node}, 1),)
        ),
        Gauge.one(
            "clawkeep_period_seconds", "How often the strictest tier wants a run.", period.seconds(ledger.period)
        ),
        Gauge.one("clawkeep_run_start_timestamp_seconds", "When the last run started.", _unix(attempt.started)),
        Gauge.one("clawkeep_run_end_timestamp_seconds", "When the last run ended.", _unix(attempt.finished)),
        Gauge.one(
            "clawkeep_run_duration_seconds", "How long it took.", max(0, clock.since(attempt.started, attempt.finished))
        ),
        Gauge.one("clawkeep_run_exit_status", "Exit status of the last run, -1 when it did not end by itself.", status),
        Gauge.one("clawkeep_run_complete", "1 when the last run counts as a run, whatever it found.", attempt.complete),
        Gauge.one("clawkeep_hosts_expected", "Hosts of the inventory in the last run.", len(attempt.hosts)),
        Gauge.one("clawkeep_hosts_reached", "Those that were reached.", attempt.count("measured", "reached")),
        Gauge.one(
            "clawkeep_last_success_timestamp_seconds",
            "When a run last ended that counts as a run.",
            _unix(complete.finished if complete else None),
        ),
        Gauge.one(
            "clawkeep_last_green_timestamp_seconds",
            "When such a run last ended with status 0.",
            _unix(green.finished if green else None),
        ),
    ]
    if told:
        samples = tuple(({"channel": name}, float(bool(why))) for name, why in told.items())
        gauges.append(Gauge("clawkeep_tell_failed", "1 when the last notice could not be sent that way.", samples))
    if report is not None:
        gauges += _of_hosts(report)
    return gauges


def _of_hosts(report: Report) -> list[Gauge]:
    results = tuple(
        ({"host": host, "tier": tier, "status": status.value}, float(count))
        for (host, tier), counts in report.per_host.items()
        for status, count in counts.items()
    )
    reached = {(host.name, host.tier): host.reached for host in report.hosts}
    return [
        Gauge("clawkeep_results", "Results of the last run.", results),
        Gauge(
            "clawkeep_host_reached",
            "1 when the last run reached the host.",
            tuple(({"host": host, "tier": tier}, float(yes)) for (host, tier), yes in reached.items()),
        ),
    ]


def of_watch(ledger: Ledger) -> list[Gauge]:
    """What the watch saw."""
    complete = ledger.last_complete
    return [
        Gauge.one(
            "clawkeep_watch_timestamp_seconds", "When the staleness watch last looked.", _unix(ledger.watch.looked)
        ),
        Gauge.one(
            "clawkeep_stale", "1 when verification is overdue or its timer stopped.", bool(ledger.watch.complaints)
        ),
        Gauge.one(
            "clawkeep_watch_last_success_timestamp_seconds",
            "When a run last ended that counts as a run, as the watch sees it.",
            _unix(complete.finished if complete else None),
        ),
    ]


def write(folder: Path | None, name: str, gauges: Iterable[Gauge]) -> None:
    """Replace the textfile `name` in one step, readable by everybody; raises ClawkeepError when that fails."""
    if folder is None:
        return
    try:
        atomic.write(folder / name, render(gauges).encode("utf-8", "backslashreplace"), mode=0o644)
    except OSError as problem:
        raise ClawkeepError(f"the metrics {folder / name} cannot be written: {problem.strerror}") from None


def _unix(time: str | None) -> float:
    return clock.moment(time).timestamp() if time else 0
