"""The report for other programs: JSON in the shape of the contract, and JUnit XML for CI."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from clawkeep.base.printable import EXCERPT, clean
from clawkeep.base.verdict import Status
from clawkeep.verify.report import SCHEMA, Bundle, Drift, Report, Result, Waiver


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON data, all text of hosts cleaned."""
    return {
        "schema": SCHEMA,
        "tool": {"name": "clawkeep", "version": report.version},
        "started": report.started,
        "finished": report.finished,
        "exit_status": int(report.exit_status),
        "hosts": [
            {
                "name": clean(h.name),
                "tier": clean(h.tier),
                "reached": h.reached,
                "message": clean(h.message),
                "measured": clean(h.measured) or None,
            }
            for h in report.hosts
        ],
        "results": [_result(result) for result in report.results],
        "planned": list(report.planned),
        "left_out": list(report.left_out),
        "warnings": [clean(sentence) for sentence in report.warnings],
        "objections": [clean(sentence) for sentence in report.objections],
        "drift": _drift(report.drift) if report.drift is not None else None,
        "bundle": _bundle(report.bundle) if report.bundle is not None else None,
        "summary": {status.value: count for status, count in report.counts.items()},
    }


def _result(result: Result) -> dict[str, Any]:
    return {
        "control": result.control,
        "title": result.title,
        "severity": result.severity,
        "host": clean(result.host),
        "tier": clean(result.tier),
        "status": result.status.value,
        "message": clean(result.message),
        "remedy": result.remedy,
        "evidence": [
            {"source": clean(e.source), "digest": clean(e.digest), "excerpt": clean(e.excerpt, EXCERPT)}
            for e in result.evidence
        ],
        "waiver": _waiver(result.waiver) if result.waiver is not None else None,
    }


def _waiver(waiver: Waiver) -> dict[str, Any]:
    return {key: clean(value) if isinstance(value, str) else value for key, value in asdict(waiver).items()}


def _drift(drift: Drift) -> dict[str, Any]:
    return {
        "baseline": clean(drift.baseline),
        "worse": drift.worse,
        "differences": [{key: clean(value) for key, value in asdict(one).items()} for one in drift.differences],
    }


def _bundle(bundle: Bundle) -> dict[str, Any]:
    return {key: clean(value) if isinstance(value, str) else value for key, value in asdict(bundle).items()}


_JUNIT = {
    Status.FAIL: "failure",
    Status.ERROR: "error",
    Status.INCONCLUSIVE: "error",
    Status.MANUAL: "skipped",
    Status.NOT_APPLICABLE: "skipped",
    Status.NOT_REQUIRED: "skipped",
    Status.WAIVED: "skipped",
}


def as_junit(report: Report) -> bytes:
    """The report as JUnit XML: a suite a host, a case a control; what could not be measured is an error.

    A last suite names what was not verified at all: planned controls and those that were left out, skipped.
    """
    root = ElementTree.Element("testsuites", name="clawkeep")
    by_host: dict[str, list[Result]] = defaultdict(list)
    for result in report.results:
        by_host[result.host].append(result)
    for host in report.hosts:
        results = by_host[host.name]
        kinds = [_JUNIT.get(result.status) for result in results]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=clean(host.name),
            timestamp=report.started,
            tests=str(len(results)),
            failures=str(kinds.count("failure")),
            errors=str(kinds.count("error")),
            skipped=str(kinds.count("skipped")),
        )
        if host.measured:
            properties = ElementTree.SubElement(suite, "properties")
            ElementTree.SubElement(properties, "property", name="measured", value=clean(host.measured))
        for result, kind in zip(results, kinds, strict=True):
            case = ElementTree.SubElement(
                suite, "testcase", classname=clean(host.name), name=f"{result.control} {result.title}"
            )
            if kind:
                message = f"{result.status.value}: {clean(result.message)}"
                ElementTree.SubElement(case, kind, message=message, type=result.status.value).text = result.remedy
    _not_verified(report, root)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _not_verified(report: Report, root: ElementTree.Element) -> None:
    names = [(name, "planned") for name in report.planned] + [(name, "left out") for name in report.left_out]
    if not names:
        return
    count = str(len(names))
    suite = ElementTree.SubElement(
        root, "testsuite", name="not verified", tests=count, failures="0", errors="0", skipped=count
    )
    for name, why in names:
        case = ElementTree.SubElement(suite, "testcase", classname="not verified", name=name)
        ElementTree.SubElement(case, "skipped", message=why)
