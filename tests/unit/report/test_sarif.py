"""SARIF: valid by the official schema, and fit for what code scanning wants of it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
from tests import reports

from clawkeep.base import repo
from clawkeep.base.verdict import Status
from clawkeep.register import register
from clawkeep.report import sarif
from clawkeep.verify.report import Report

SCHEMAS = Path(__file__).parents[2] / "schemas"
SCHEMA = json.loads((SCHEMAS / "sarif-2.1.0.json").read_bytes())
CONTROLS = register.load(repo.find(Path(__file__)).controls)


def run(report: Report, controls: Any = reports.REGISTER) -> dict[str, Any]:
    """The one run of the report's log, valid by the schema."""
    log = json.loads(sarif.as_sarif(report, controls))
    jsonschema.validate(log, SCHEMA)
    (only,) = log["runs"]
    return dict(only)


def test_the_schemas_are_the_ones_that_the_readme_names() -> None:
    told = (SCHEMAS / "README.md").read_text()
    paths = sorted(SCHEMAS.glob("*.json"))
    assert [path.name for path in paths] == ["oscal-assessment-results-1.2.3.json", "sarif-2.1.0.json"]
    for path in paths:
        assert f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" in told


@pytest.mark.parametrize(
    "report", [reports.rich(), reports.hostile()[0], reports.of()], ids=["rich", "hostile", "empty"]
)
def test_the_log_is_valid_by_the_official_schema(report: Report) -> None:
    assert run(report)["tool"]["driver"]["name"] == "Clawkeep"


def test_the_real_register_makes_valid_rules() -> None:
    rules = run(reports.of(), CONTROLS)["tool"]["driver"]["rules"]
    judged = [name for name, one in CONTROLS.items() if one.proof is not register.Proof.PLANNED]
    assert [rule["id"] for rule in rules] == judged
    for rule in rules:
        assert len(rule["shortDescription"]["text"]) <= 1024
        assert len(rule["properties"]["tags"]) <= 20
        assert "## Promise" in rule["help"]["markdown"]
        assert not re.search(r"\]\((?!https?:)", rule["help"]["markdown"]), rule["id"]  # a relative link leads nowhere


def test_every_rule_has_what_code_scanning_requires() -> None:
    rules = run(reports.rich())["tool"]["driver"]["rules"]
    strays = [rule["id"] for rule in rules if rule["id"] not in reports.REGISTER]
    assert strays  # controls that the register does not have are among them
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"]
        assert "--tags" in rule["help"]["text"]


def test_the_schema_can_refuse() -> None:
    log = json.loads(sarif.as_sarif(reports.rich(), reports.REGISTER))
    log["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(log, SCHEMA)


def test_what_fails_is_unmeasured_or_waived_is_a_result_and_nothing_else() -> None:
    told = [result["properties"]["status"] for result in run(reports.rich())["results"]]
    assert sorted(told) == ["error", "fail", "inconclusive", "inconclusive", "waived"]
    assert told[0] == "fail"


def test_a_result_points_at_its_rule_its_page_and_its_host() -> None:
    found = run(reports.rich())
    (result,) = [one for one in found["results"] if one["properties"]["status"] == "fail"]
    assert found["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "NET-02"
    (location,) = result["locations"]
    assert location["physicalLocation"]["artifactLocation"] == {
        "uri": "docs/controls/NET-02.md",
        "uriBaseId": "%SRCROOT%",
    }
    assert location["logicalLocations"][0]["fullyQualifiedName"] == "tier1_x/alpha"
    assert "fail was found" in result["message"]["text"]
    assert "--tags NET-02" in result["message"]["text"]
    assert result["properties"]["evidence"][0]["source"] == "inside: ss -Hltnup"


@pytest.mark.parametrize(
    ("severity", "level", "score"),
    [("critical", "error", "9.5"), ("high", "error", "8.0"), ("medium", "warning", "5.5"), ("low", "note", "2.0")],
)
def test_levels_and_scores_follow_the_severity(severity: str, level: str, score: str) -> None:
    control = reports.control("NET-01", severity=severity)
    found = run(reports.of(reports.result(Status.FAIL, severity=severity)), {"NET-01": control})
    assert found["results"][0]["level"] == level
    rule = found["tool"]["driver"]["rules"][0]
    assert rule["defaultConfiguration"]["level"] == level
    assert rule["properties"]["security-severity"] == score
    assert {"cis_docker/5.14", "owasp_asi/ASI05", "area/NET", "tier/1", "security"} == set(rule["properties"]["tags"])


def test_a_waived_result_is_suppressed_and_says_by_whom() -> None:
    told = [one for one in run(reports.rich())["results"] if "suppressions" in one]
    assert [one["properties"]["status"] for one in told] == ["waived"]
    (suppression,) = told[0]["suppressions"]
    assert (suppression["kind"], suppression["status"]) == ("external", "accepted")
    for said in ("swap file", "M. Okafor", "R. Lindqvist", "SEC-412", "2027-01-19"):
        assert said in suppression["justification"]


def test_a_finding_keeps_its_fingerprint_when_its_words_and_its_status_change() -> None:
    def prints(*results: Any) -> list[str]:
        return [one["partialFingerprints"]["primaryLocationLineHash"] for one in run(reports.of(*results))["results"]]

    before = prints(reports.result(Status.FAIL, message="port 3000"))
    assert before == prints(reports.result(Status.INCONCLUSIVE, message="port 3001", severity="low"))
    others = prints(
        reports.result(Status.FAIL), reports.result(Status.FAIL, host="beta"), reports.result(Status.FAIL, "NET-02")
    )
    assert len({*before, *others}) == 3
    # one and the same text must not come of two pairs
    assert sarif.fingerprint("NET-0", "1a") != sarif.fingerprint("NET-01", "a")


def test_the_invocation_tells_what_did_not_go_well() -> None:
    (invocation,) = run(reports.rich())["invocations"]
    assert invocation["exitCode"] == 4
    notes = [note["message"]["text"] for note in invocation["toolExecutionNotifications"]]
    for said in (
        "beta was not measured: no route to host",
        "NET-09 matches no host",
        "ends in 9 days",
        "AGT-07",
        "CTR-01",
    ):
        assert any(said in note for note in notes), said
    (unmeasured,) = run(reports.of(reports.result(Status.ERROR)))["invocations"]
    assert unmeasured["executionSuccessful"] is False


def test_hostile_text_makes_no_link_and_no_uri() -> None:
    found = run(reports.hostile()[0])
    for result in found["results"]:
        assert not re.search(r"\[[^\]]*\]\(", result["message"]["text"])
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert re.fullmatch(r"docs/controls/[A-Z]{3}-\d\d\.md", uri)


def test_a_control_with_a_strange_name_is_percent_encoded() -> None:
    name = "../../x y?#%\u202e"
    (result,) = run(reports.of(reports.result(Status.FAIL, name)))["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "docs/controls/..%2F..%2Fx%20y%3F%23%25%E2%80%AE.md"
    assert urlsplit(uri).fragment == ""
