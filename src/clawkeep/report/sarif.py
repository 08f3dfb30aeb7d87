"""The report as SARIF 2.1.0: what fails, what could not be measured and what is waived, one result a control and host.

Written for GitHub's code scanning as well: each result points at the control's page in the checkout, since a host is no
file, and carries the fingerprint by which an alert is known again in the next run.
Source: OASIS, Static Analysis Results Interchange Format 2.1.0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from clawkeep.base.printable import clean
from clawkeep.base.verdict import Status
from clawkeep.register.register import Control, Proof, Severity
from clawkeep.report import page, words
from clawkeep.verify.report import Exit, Report, Result, Waiver

SCHEMA_URI = "https://json.schemastore.org/sarif-2.1.0.json"
TOLD = (*words.FINDINGS, Status.WAIVED)
TAGS = 20  # as many as code scanning takes of one rule

# What code scanning makes of it: above 9.0 critical, 7.0 to 8.9 high, 4.0 to 6.9 medium, below low.
_SCORES = {Severity.CRITICAL: "9.5", Severity.HIGH: "8.0", Severity.MEDIUM: "5.5", Severity.LOW: "2.0"}
_LEVELS: Mapping[str, str] = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
}


def as_sarif(report: Report, register: Mapping[str, Control]) -> bytes:
    """One run with its rules and results, as UTF-8 JSON."""
    told = words.most_urgent_first(report.results, TOLD)
    rules = _rules(told, register)
    measured = {host.name: host.measured for host in report.hosts}
    index = {rule["id"]: position for position, rule in enumerate(rules)}
    run = {
        "tool": {"driver": {"name": "Clawkeep", "version": clean(report.version), "rules": rules}},
        "automationDetails": {"id": "clawkeep/"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The root of the Clawkeep checkout."}}},
        "invocations": [_invocation(report)],
        "results": [_result(result, index[result.control], measured.get(result.host, "")) for result in told],
        "properties": {
            "counts": {status.value: count for status, count in report.counts.items()},
            "planned": list(map(clean, report.planned)),
            "leftOut": list(map(clean, report.left_out)),
        },
    }
    return (json.dumps({"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}, indent=1) + "\n").encode()


def fingerprint(control: str, host: str) -> str:
    """What names a finding from run to run, whatever its message: 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps([control, host]).encode()).hexdigest()[:32]


def _rules(told: list[Result], register: Mapping[str, Control]) -> list[dict[str, Any]]:
    """The register's controls, without those that nothing proves yet, and then what only the results know."""
    rules = {name: _rule(control) for name, control in register.items() if control.proof is not Proof.PLANNED}
    for result in told:
        if result.control not in rules:
            rules[result.control] = _stray(result)
    return list(rules.values())


def _rule(control: Control) -> dict[str, Any]:
    frameworks = [f"{name}/{number}" for name, numbers in control.maps.items() for number in numbers]
    body = page.without_relative_links(control.body).strip() or control.title
    return {
        "id": control.id,
        "shortDescription": {"text": control.title},
        "fullDescription": {"text": page.paragraph(control, "Promise")},
        "help": {
            "text": f"{body}\n\nRemedy: {control.remedy}",
            "markdown": f"{body}\n\n**Remedy:** `{control.remedy}`",
        },
        "defaultConfiguration": {"level": _LEVELS[control.severity]},
        "properties": {
            "tags": ["security", f"area/{control.area}", f"tier/{control.tier}", *frameworks][:TAGS],
            "precision": "very-high",
            "problem.severity": _LEVELS[control.severity].replace("note", "recommendation"),
            "security-severity": _SCORES[control.severity],
        },
    }


def _stray(result: Result) -> dict[str, Any]:
    """The rule of a control that the register does not have, as far as its result tells it."""
    title = _text(result.title) or clean(result.control)
    return {
        "id": result.control,
        "shortDescription": {"text": title},
        "fullDescription": {"text": title},
        "help": {"text": f"{title}. Remedy: {_text(result.remedy)}"},
    }


def _result(result: Result, rule: int, measured: str) -> dict[str, Any]:
    identity = fingerprint(result.control, result.host)
    told: dict[str, Any] = {
        "ruleId": result.control,
        "ruleIndex": rule,
        "kind": "fail",
        "level": _LEVELS.get(result.severity, "error"),
        "message": {"text": _message(result)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": words.page_uri(result.control), "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [
                    {
                        "name": clean(result.host),
                        "fullyQualifiedName": f"{clean(result.tier)}/{clean(result.host)}",
                        "kind": "host",
                    }
                ],
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": f"{identity}:1", "controlAndHost/v1": identity},
        "properties": {
            "status": result.status.value,
            "severity": result.severity,
            "host": clean(result.host),
            "tier": clean(result.tier),
            **({"measured": clean(measured)} if measured else {}),
            "remedy": clean(result.remedy),
            "evidence": [{"source": clean(cited.source), "digest": clean(cited.digest)} for cited in result.evidence],
        },
    }
    if result.waiver is not None:
        told["suppressions"] = [_suppression(result.waiver)]
    return told


def _message(result: Result) -> str:
    label = words.STATUSES[result.status][0]
    said = f": {_text(result.message)}" if result.message else ""
    return f"{label} on {_text(result.host)}{said}. Remedy: {_text(result.remedy)}"


def _suppression(waiver: Waiver) -> dict[str, Any]:
    return {
        "kind": "external",
        "status": "accepted",
        "justification": _text(
            f"{waiver.reason} Owner {waiver.owner}, approved by {waiver.approved_by}, {waiver.ticket}, "
            f"expires {waiver.expires}.",
            1000,
        ),
        "properties": {"scope": clean(waiver.scope), "expires": clean(waiver.expires), "daysLeft": waiver.days_left},
    }


def _invocation(report: Report) -> dict[str, Any]:
    notes = [
        (f"The host {host.name} was not measured: {host.message}", "error") for host in report.hosts if not host.reached
    ]
    notes += [(sentence, "error") for sentence in report.objections]
    notes += [(sentence, "warning") for sentence in report.warnings]
    if report.bundle is not None:
        notes.append((words.rests_on(report.bundle), "error" if report.bundle.problem else "note"))
    if report.planned:
        notes.append((f"Planned, not verified yet: {', '.join(report.planned)}", "note"))
    if report.left_out:
        notes.append((f"Left out, another vantage is needed: {', '.join(report.left_out)}", "note"))
    return {
        "executionSuccessful": report.exit_status is not Exit.UNMEASURED,
        "exitCode": int(report.exit_status),
        "startTimeUtc": report.started,
        "endTimeUtc": report.finished,
        "toolExecutionNotifications": [
            {"level": level, "message": {"text": _text(note, 4000)}} for note, level in notes
        ],
    }


def _text(text: str, limit: int = 400) -> str:
    """Text of a message: `[words](target)` would be a link there, so it is kept from being one."""
    return clean(text, limit).replace("](", "] (")
