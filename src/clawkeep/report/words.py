"""The words and the order that every report for people shares: areas, statuses, and which finding comes first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from clawkeep.base.verdict import Status
from clawkeep.register.register import Severity
from clawkeep.report import terminal
from clawkeep.verify.report import Bundle, Change, Report, Result

AREAS: Mapping[str, str] = {
    "INV": "Inventory",
    "NET": "Network exposure",
    "VPN": "VPN",
    "WEB": "Web access",
    "EGR": "Egress",
    "IMD": "Cloud metadata",
    "CTR": "Containers",
    "MNT": "Mounts",
    "SBX": "Task sandboxes",
    "SEC": "Secrets",
    "SKL": "Skills",
    "AGT": "Agent",
    "DKR": "Docker engine",
    "HST": "Host",
    "LOG": "Logging",
    "PAT": "Patching",
    "BGL": "Break glass",
}

STATUSES: Mapping[Status, tuple[str, str]] = {
    Status.FAIL: ("Fail", "The promise is broken on this host."),
    Status.ERROR: ("Error", "The measurement itself broke. Nothing is known, so this is not a pass."),
    Status.INCONCLUSIVE: ("Inconclusive", "The host could not be asked. Nothing is known, so this is not a pass."),
    Status.MANUAL: ("Manual", "What can be measured holds; the rest waits for a person's dated attestation."),
    Status.WAIVED: ("Waived", "The promise is broken, and somebody answers for that until a date."),
    Status.PASS: ("Pass", "The promise was measured and holds."),
    Status.NOT_APPLICABLE: ("Not applicable", "The control has no subject on this host."),
    Status.NOT_REQUIRED: ("Not required", "A higher tier's promise; this host's tier does not make it."),
}

CHANGES: Mapping[Change, str] = {change: name.capitalize() for change, (name, _) in terminal.CHANGES.items()}

UNMEASURED = frozenset({Status.ERROR, Status.INCONCLUSIVE})
FINDINGS = frozenset({Status.FAIL, *UNMEASURED})  # what keeps a run from being green
UNCOUNTED = frozenset({Status.NOT_APPLICABLE, Status.NOT_REQUIRED})  # what a host owes nothing for

_STATUS_RANK = {status: rank for rank, status in enumerate(STATUSES)}
_SEVERITY_RANK = {severity.value: rank for rank, severity in enumerate(Severity)}


def area(control: str) -> str:
    """The area of a control's id: `NET` of NET-03."""
    return control.partition("-")[0]


def severity_rank(severity: str) -> int:
    """0 for the worst severity; one that the register does not know comes last."""
    return _SEVERITY_RANK.get(severity, len(_SEVERITY_RANK))


def urgency(result: Result) -> tuple[int, int, str, str]:
    """A sort key: what a person must look at first has the lowest."""
    return _STATUS_RANK[result.status], severity_rank(result.severity), result.control, result.host


def most_urgent_first(results: Iterable[Result], statuses: Iterable[Status]) -> list[Result]:
    """The results with one of these statuses, fails before what is unmeasured, severe before mild."""
    wanted = frozenset(statuses)
    return sorted((result for result in results if result.status in wanted), key=urgency)


def headline(report: Report) -> str:
    """What a person must know first: never only the worst, so that an unmeasured host hides no broken promise."""
    fails = report.counts[Status.FAIL]
    unmeasured = sum(report.counts[status] for status in UNMEASURED)
    told = [f"{plural(fails, 'promise')} {'is' if fails == 1 else 'are'} broken"] if fails else []
    told += [f"{unmeasured:,} could not be measured"] if unmeasured else []
    told = told or [terminal.MEANINGS[report.exit_status]]
    sentence = ", ".join(told)
    return sentence[0].upper() + sentence[1:]


def rests_on(bundle: Bundle) -> str:
    """What is kept of the evidence, and who vouches for it; what went wrong with that, where something did."""
    kept = f"Evidence {bundle.digest}, {bundle.signature}" if bundle.digest else "The evidence was not kept"
    return f"{kept}: {bundle.problem}" if bundle.problem else kept


def measured(report: Report) -> str:
    """When the hosts were measured: `at TIME`, `from TIME to TIME`, or that nobody noted it; empty when none was."""
    if not any(host.reached for host in report.hosts):
        return ""
    times = sorted({host.measured for host in report.hosts if host.measured})
    if not times:
        return "at a time that nobody noted"
    return f"from {times[0]} to {times[-1]}" if len(times) > 1 else f"at {times[0]}"


def page_uri(control: str) -> str:
    """The control's page as a URI relative to the root of the checkout."""
    return f"docs/controls/{quote(control, safe='')}.md"


def days_left(days: int) -> str:
    """What is left of a waiver, in words."""
    if days < 0:
        return f"expired {plural(-days, 'day')} ago"
    return f"{plural(days, 'day')} left" if days else "today is its last day"


def plural(count: int, noun: str) -> str:
    """`1 host`, `2 hosts`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
