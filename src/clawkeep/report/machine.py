"""The report for other programs: report.json in the shape of the contract, and junit.xml for CI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from clawkeep.errors import ClawkeepError
from clawkeep.report.model import SCHEMA, Report, Result
from clawkeep.report.sanitise import EXCERPT, clean
from clawkeep.verdict import Status


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON data, all text of hosts cleaned."""
    return {
        "schema": SCHEMA,
        "tool": {"name": "clawkeep", "version": report.version},
        "started": report.started,
        "finished": report.finished,
        "exit_status": int(report.exit_status),
        "hosts": [
            {"name": clean(h.name), "tier": h.tier, "reached": h.reached, "message": clean(h.message)}
            for h in report.hosts
        ],
        "results": [_result(result) for result in report.results],
        "planned": list(report.planned),
        "left_out": list(report.left_out),
        "summary": {status.value: count for status, count in report.counts.items()},
    }


def _result(result: Result) -> dict[str, Any]:
    return {
        "control": result.control,
        "title": result.title,
        "severity": result.severity,
        "host": clean(result.host),
        "tier": result.tier,
        "status": result.status.value,
        "message": clean(result.message),
        "remedy": result.remedy,
        "evidence": [
            {"source": clean(e.source), "digest": e.digest, "excerpt": clean(e.excerpt, EXCERPT)}
            for e in result.evidence
        ],
        "waiver": None,
    }


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
    """The report as JUnit XML: a suite a host, a case a control; what could not be measured is an error."""
    root = ElementTree.Element("testsuites", name="clawkeep")
    for host in report.hosts:
        results = [result for result in report.results if result.host == host.name]
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
        for result, kind in zip(results, kinds, strict=True):
            case = ElementTree.SubElement(
                suite, "testcase", classname=clean(host.name), name=f"{result.control} {result.title}"
            )
            if kind:
                message = f"{result.status.value}: {clean(result.message)}"
                ElementTree.SubElement(case, kind, message=message, type=result.status.value).text = result.remedy
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def write(report: Report, folder: Path) -> None:
    """Write report.json and junit.xml into `folder`; raises ClawkeepError when that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(as_json(report), indent=2, ensure_ascii=False) + "\n"
        (folder / "report.json").write_text(text, encoding="utf-8")
        (folder / "junit.xml").write_bytes(as_junit(report))
    except OSError as problem:
        raise ClawkeepError(f"the report cannot be written to {folder}: {problem.strerror}") from None
