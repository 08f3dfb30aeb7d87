"""OSCAL: valid by NIST's schema, every reference leads somewhere, and nothing that is not proved is satisfied."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests import reports

from clawkeep.base import repo
from clawkeep.base.verdict import Status
from clawkeep.register import register
from clawkeep.report import oscal
from clawkeep.verify.report import Report

CONTROLS = register.load(repo.find(Path(__file__)).controls)
# NIST's patterns name Unicode classes, which Python's expressions do not know.
SCHEMA = json.loads(
    (Path(__file__).parents[2] / "schemas" / "oscal-assessment-results-1.2.3.json")
    .read_text()
    .replace(r"\\p{L}", r"[^\\W\\d_]")
    .replace(r"[^\\W\\d_]|\\p{N}", r"[^\\W_]")
    .replace(r"\\p{N}", r"\\d")
)
UUID5 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def document(report: Report, controls: Any = reports.REGISTER) -> dict[str, Any]:
    """The assessment results, valid by the schema."""
    data = json.loads(oscal.as_oscal(report, controls))
    jsonschema.validate(data, SCHEMA)
    return dict(data["assessment-results"])


def result(report: Report, controls: Any = reports.REGISTER) -> dict[str, Any]:
    (only,) = document(report, controls)["results"]
    return dict(only)


def found(report: Report) -> dict[str, tuple[str, str]]:
    """(state, reason) of each control's finding."""
    findings = result(report).get("findings", [])
    return {
        one["target"]["target-id"]: (one["target"]["status"]["state"], one["target"]["status"]["reason"])
        for one in findings
    }


@pytest.mark.parametrize(
    "report", [reports.rich(), reports.hostile()[0], reports.of()], ids=["rich", "hostile", "empty"]
)
def test_the_document_is_valid_by_the_official_schema(report: Report) -> None:
    assert document(report)["metadata"]["oscal-version"] == "1.1.3"


def test_the_real_register_makes_a_valid_document() -> None:
    rows = [reports.result(Status.FAIL, name, title=one.title) for name, one in CONTROLS.items()]
    assert len(result(reports.of(*rows), CONTROLS)["risks"]) == len(CONTROLS)


@pytest.mark.parametrize("bad", ["control one", "1", ""])
def test_the_schema_can_refuse(bad: str) -> None:
    data = json.loads(oscal.as_oscal(reports.rich(), reports.REGISTER))
    selection = data["assessment-results"]["results"][0]["reviewed-controls"]["control-selections"][0]
    selection["include-controls"][0]["control-id"] = bad
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMA)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["pass", "pass"], ("satisfied", "pass")),
        (["pass", "not_applicable"], ("satisfied", "pass")),
        (["pass", "fail"], ("not-satisfied", "fail")),
        (["fail", "inconclusive"], ("not-satisfied", "fail")),
        (["pass", "inconclusive"], ("not-satisfied", "other")),
        (["pass", "error"], ("not-satisfied", "other")),
        (["pass", "waived"], ("not-satisfied", "other")),
        (["pass", "manual"], ("not-satisfied", "other")),
    ],
)
def test_only_what_holds_everywhere_is_satisfied(statuses: list[str], expected: tuple[str, str]) -> None:
    rows = [reports.result(Status(status), host=f"h{number}") for number, status in enumerate(statuses)]
    assert found(reports.of(*rows)) == {"NET-01": expected}


def test_a_control_that_no_host_owes_has_no_finding() -> None:
    rows = [reports.result(Status.NOT_REQUIRED), reports.result(Status.NOT_APPLICABLE, host="beta")]
    assert found(reports.of(*rows)) == {}


def test_risks_tell_what_fails_and_what_somebody_answers_for() -> None:
    risks = {risk["title"]: risk for risk in result(reports.rich())["risks"]}
    assert {title: risk["status"] for title, risk in risks.items()} == {
        r"NET\-02 on alpha": "open",
        r"NET\-03 on alpha": "deviation-approved",
    }
    waived = risks[r"NET\-03 on alpha"]
    assert waived["mitigating-factors"][0]["description"] == r"The swap is on an encrypted volume\."
    said = {prop["name"]: prop["value"] for prop in waived["props"]}
    assert said["expires"] == "2027-01-19"
    assert "R. Lindqvist" in said["waiver"]
    assert waived["remediations"][0]["lifecycle"] == "recommendation"


def test_every_reference_leads_somewhere_and_every_id_is_of_its_own() -> None:
    whole = document(reports.rich())
    told = whole["results"][0]
    text = json.dumps(whole)
    uuids = re.findall(r'"uuid": "([^"]+)"', text)
    assert len(set(uuids)) == len(uuids)
    assert all(UUID5.fullmatch(one) for one in uuids)
    references = re.findall(r'"(?:\w+-)+uuid": "([^"]+)"', text) + re.findall(r'"href": "#([^"]+)"', text)
    assert len(references) > 20
    assert set(references) <= set(uuids)
    observed = {one["uuid"] for one in told["observations"]}
    cited = {one["observation-uuid"] for f in told["findings"] for one in f["related-observations"]}
    assert cited <= observed


def test_hosts_and_risks_keep_their_ids_from_run_to_run() -> None:
    before, after = (
        reports.of(reports.result(Status.FAIL)),
        reports.of(reports.result(Status.FAIL), warnings=("later",)),
    )
    later = type(after)(**{**vars(after), "started": "2027-01-01T00:00:00Z"})
    first, second = result(before), result(later)
    assert first["uuid"] != second["uuid"]
    assert first["risks"][0]["uuid"] == second["risks"][0]["uuid"]
    items = [one["local-definitions"]["inventory-items"][0]["uuid"] for one in (first, second)]
    assert items[0] == items[1]
    assert first["findings"][0]["uuid"] != second["findings"][0]["uuid"]


def test_what_holds_on_many_hosts_is_one_observation_and_a_finding_is_its_hosts_own() -> None:
    rows = [reports.result(Status.PASS, host=f"h{n}", message="") for n in range(5)]
    rows += [reports.result(Status.FAIL, host=f"f{n}") for n in range(2)]
    observations = result(reports.of(*rows))["observations"]
    assert [len(one["subjects"]) for one in observations] == [1, 1, 5]
    assert "LISTEN" in observations[0]["relevant-evidence"][0]["description"]


def test_planned_and_left_out_are_named() -> None:
    said = {(prop["name"], prop["value"]) for prop in result(reports.rich())["props"]}
    assert {("planned", "AGT-07"), ("left-out", "CTR-01"), ("exit-status", "4")} <= said


def test_hostile_text_is_no_markup() -> None:
    text = json.dumps(result(reports.hostile()[0]), ensure_ascii=False)
    data = json.loads(text)
    prose = [one["description"] for one in (*data["observations"], *data["risks"])]
    for said in prose:
        assert not re.search(r"(?<!\\)[<>\[\]`*]", said), said
