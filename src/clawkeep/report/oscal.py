"""The report as OSCAL assessment results (NIST, model 1.1.3): observations, one finding a control, and its risks.

Every id is a version 5 UUID of what it names: the same report gives the same bytes, and a host or a risk keeps its id
from run to run. OSCAL's prose fields are Markdown: all text of hosts and inventories is escaped before it goes there.

A finding is `satisfied` when the promise was measured and holds on every host that owes it. Waived, unmeasured and
waiting for a person are `not-satisfied`: the reason and the risk's status say which.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from clawkeep.base.printable import EXCERPT, clean
from clawkeep.base.verdict import Status
from clawkeep.register.register import Control
from clawkeep.report import page, words
from clawkeep.report.markdown import plain
from clawkeep.verify.report import Excerpt, Report, Result

VERSION = "1.1.3"
NS = "https://clawkeep.example/ns/oscal"  # of our own properties; a name, not a page
UNRATED = "http://csrc.nist.gov/ns/oscal/unknown"  # NIST's word for a severity by no published system
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, NS)  # of every id in these files

Object = dict[str, Any]


def as_oscal(report: Report, register: Mapping[str, Control]) -> bytes:
    """The assessment results as UTF-8 JSON."""
    run = _id("run", report.started, report.finished, *(f"{r.control} {r.host} {r.status}" for r in report.results))
    plan = _id(run, "plan")
    document = {
        "uuid": _id(run, "document"),
        "metadata": {
            "title": "Clawkeep: conformance of OpenClaw hosts to their security tiers",
            "last-modified": report.finished,
            "version": report.finished,
            "oscal-version": VERSION,
        },
        "import-ap": {"href": f"#{plan}"},
        "results": [_Results(report, register, run).whole()],
        "back-matter": {
            "resources": [
                {
                    "uuid": plan,
                    "title": "The plan: the register of controls and the tiers' settings",
                    "description": "What is assessed, and how each promise is proved.",
                    "rlinks": [{"href": "docs/controls"}, {"href": "playbooks/group_vars"}],
                },
                {
                    "uuid": _id(run, "report"),
                    "title": "The whole report",
                    "description": "Every result with its evidence.",
                    "rlinks": [{"href": "report.json", "media-type": "application/json"}],
                },
            ]
        },
    }
    return (json.dumps({"assessment-results": document}) + "\n").encode()


@functools.cache
def _host(name: str) -> str:
    return _id("host", name)


def _id(*parts: str) -> str:
    return str(uuid.uuid5(NAMESPACE, json.dumps(parts)))


def _property(name: str, value: str) -> Object:
    return {"name": name, "ns": NS, "value": _line(value)}


def _line(text: str, limit: int = 400) -> str:
    """A plain string of OSCAL: neither empty nor with space at its ends."""
    return clean(text, limit).strip() or "-"


def _prose(text: str, limit: int = 400) -> str:
    """A Markdown string of OSCAL that shows `text` as it is."""
    return plain(text, limit).strip() or "-"


class _Results:
    """One run as OSCAL's `result`, with the ids that its parts call each other by."""

    def __init__(self, report: Report, register: Mapping[str, Control], run: str) -> None:
        self.report = report
        self.register = register
        self.run = run
        self.by_control: dict[str, list[Result]] = defaultdict(list)
        for result in report.results:
            self.by_control[result.control].append(result)
        self.tool = _id("tool", report.version)
        self.measured = {host.name: host.measured for host in report.hosts if host.measured}

    def whole(self) -> Object:
        """The result: who was looked at, what was seen, what follows."""
        report = self.report
        groups = {control: _groups(results) for control, results in self.by_control.items()}
        observations = [self._observation(group) for found in groups.values() for group in found]
        risks = [self._risk(r) for rs in self.by_control.values() for r in rs if _risky(r)]
        findings = [found for control in groups if (found := self._finding(control, groups[control]))]
        told: Object = {
            "uuid": self.run,
            "title": "Conformance of the hosts to their tiers",
            "description": f"Exit status {int(report.exit_status)}. "
            + ", ".join(f"{plain(status.value)} {count}" for status, count in report.counts.items()),
            "start": report.started,
            "end": report.finished,
            "props": [
                _property("exit-status", str(int(report.exit_status))),
                *(_property("planned", name) for name in report.planned),
                *(_property("left-out", name) for name in report.left_out),
                *(_property("warning", sentence) for sentence in report.warnings),
                *(_property("objection", sentence) for sentence in report.objections),
                *([_property("evidence", words.rests_on(report.bundle))] if report.bundle is not None else []),
            ],
            "local-definitions": self._definitions(),
            "reviewed-controls": {"control-selections": [self._selection()]},
        }
        told |= {"observations": observations} if observations else {}
        told |= {"risks": risks} if risks else {}
        told |= {"findings": findings} if findings else {}
        return told

    def _selection(self) -> Object:
        if not self.by_control:  # the schema wants one of the two
            return {"description": "No control was judged in this run.", "include-all": {}}
        return {
            "description": "The controls of the register that were judged in this run.",
            "include-controls": [{"control-id": control} for control in self.by_control],
        }

    def _definitions(self) -> Object:
        hosts = [
            {
                "uuid": _host(host.name),
                "description": _prose(host.name),
                "props": [
                    _property("host", host.name),
                    _property("tier", host.tier),
                    _property("reached", "yes" if host.reached else "no"),
                    *([_property("measured", host.measured)] if host.measured else []),
                ],
                **({} if host.reached else {"remarks": _prose(host.message)}),
            }
            for host in self.report.hosts
        ]
        tool = {
            "uuid": self.tool,
            "type": "software",
            "title": "Clawkeep",
            "description": "Measures hosts and judges the evidence.",
            "props": [{"name": "version", "value": _line(self.report.version)}],
            "status": {"state": "operational"},
        }
        platform = {"uuid": _id(self.run, "platform"), "uses-components": [{"component-uuid": self.tool}]}
        assets = {"components": [tool], "assessment-platforms": [platform]}
        return {"inventory-items": hosts, "assessment-assets": assets} if hosts else {"assessment-assets": assets}

    def _origin(self) -> Object:
        return {"actors": [{"type": "tool", "actor-uuid": self.tool}]}

    def _observation(self, group: Sequence[Result]) -> Object:
        one = group[0]
        label = words.STATUSES[one.status][0]
        said = f": {_prose(one.message)}" if one.message else ""
        told: Object = {
            "uuid": self._observed(group),
            "title": f"{_prose(one.control)} {label.lower()}",
            "description": f"{label}{said}",
            "props": [_property("status", one.status.value), _property("severity", one.severity)],
            "methods": ["TEST"],
            "types": ["finding"] if one.status in words.FINDINGS else ["control-objective"],
            "origins": [self._origin()],
            "subjects": [{"subject-uuid": _host(r.host), "type": "inventory-item"} for r in group],
            "collected": self._collected(group),
        }
        if len(group) == 1 and one.evidence:
            told["relevant-evidence"] = [_evidence(cited) for cited in one.evidence]
        else:
            told["relevant-evidence"] = [
                {"href": f"#{_id(self.run, 'report')}", "description": "The evidence of each host is in the report."}
            ]
        return told

    def _collected(self, group: Sequence[Result]) -> str:
        """When the oldest evidence of it was collected; the end of the run where nobody noted that."""
        return min((self.measured[r.host] for r in group if r.host in self.measured), default=self.report.finished)

    def _observed(self, group: Sequence[Result]) -> str:
        return _id(self.run, "observation", group[0].control, group[0].status.value, group[0].host)

    def _risk(self, result: Result) -> Object:
        waiver = result.waiver
        told: Object = {
            "uuid": self._risked(result),
            "title": _prose(f"{result.control} on {result.host}"),
            "description": _prose(result.message or result.title),
            "statement": self._statement(result),
            "props": [_property("host", result.host), _property("tier", result.tier)],
            "status": "open" if waiver is None else "deviation-approved",
            "origins": [self._origin()],
            "characterizations": [
                {
                    "origin": self._origin(),
                    "facets": [{"name": "severity", "system": UNRATED, "value": _line(result.severity)}],
                }
            ],
        }
        if waiver is not None:
            told["mitigating-factors"] = [
                {
                    "uuid": _id(self._risked(result), "waiver"),
                    "description": _prose(waiver.compensating or waiver.reason),
                }
            ]
            said = (
                f"Waived for {waiver.scope}: {waiver.reason} Owner {waiver.owner}, approved by {waiver.approved_by}, "
                f"ticket {waiver.ticket}, created {waiver.created}, expires {waiver.expires}."
            )
            told["props"].append(_property("waiver", said))
            told["props"].append(_property("expires", waiver.expires))
        told["remediations"] = [
            {
                "uuid": _id(self._risked(result), "remedy"),
                "lifecycle": "recommendation",
                "title": "Restore the promise",
                "description": _prose(result.remedy),
            }
        ]
        return told

    def _risked(self, result: Result) -> str:
        return _id("risk", result.control, result.host)

    def _statement(self, result: Result) -> str:
        control = self.register.get(result.control)
        return page.paragraph(control, "Why") if control else _prose(result.title)

    def _finding(self, control: str, groups: Sequence[Sequence[Result]]) -> Object | None:
        results = self.by_control[control]
        owed = [result.status for result in results if result.status not in words.UNCOUNTED]
        if not owed:
            return None
        holds = all(status is Status.PASS for status in owed)
        reason = "pass" if holds else "fail" if Status.FAIL in owed else "other"
        told: Object = {
            "uuid": _id(self.run, "finding", control),
            "title": _prose(results[0].title),
            "description": ", ".join(
                f"{label.lower()} on {words.plural(count, 'host')}"
                for status, (label, _) in words.STATUSES.items()
                if (count := sum(result.status is status for result in results))
            ),
            "props": [_property("severity", results[0].severity)],
            "links": [{"href": words.page_uri(control), "rel": "reference", "text": "The control's page"}],
            "origins": [self._origin()],
            "target": {
                "type": "objective-id",
                "target-id": control,
                "status": {"state": "satisfied" if holds else "not-satisfied", "reason": reason},
            },
            "related-observations": [{"observation-uuid": self._observed(group)} for group in groups],
        }
        risks = [{"risk-uuid": self._risked(result)} for result in results if _risky(result)]
        return told | ({"related-risks": risks} if risks else {})


_ALIKE = frozenset({Status.PASS, *words.UNCOUNTED})


def _risky(result: Result) -> bool:
    return result.status in {Status.FAIL, Status.WAIVED}


def _groups(results: Sequence[Result]) -> list[list[Result]]:
    """Results that are told as one observation: what holds is the same on every host, a finding is its host's own."""
    quiet: dict[tuple[Status, str], list[Result]] = defaultdict(list)
    alone = []
    for result in results:
        if result.status in _ALIKE:
            quiet[result.status, result.message].append(result)
        else:
            alone.append([result])
    return [*alone, *quiet.values()]


def _evidence(cited: Excerpt) -> Object:
    return {
        "description": f"{_prose(cited.source)}: {_prose(cited.excerpt, EXCERPT)}",
        "props": [_property("digest", cited.digest)],
    }
