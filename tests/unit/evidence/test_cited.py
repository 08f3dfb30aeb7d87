"""A report rests on its bundle: every digest that it cites is that of a piece of the saved evidence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base import repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.verdict import Status, Unmeasured
from clawkeep.evidence import store
from clawkeep.evidence.bundle.bundle import open_bundle
from clawkeep.evidence.bundle.cited import pieces, unfounded
from clawkeep.evidence.document import Citation, Document, digest
from clawkeep.register import tiers
from clawkeep.report.machine import as_json
from clawkeep.verify.evaluate import decide, evaluate
from clawkeep.verify.plugin import Outcome
from clawkeep.verify.report import Bundle, Report

from .conftest import observed

CHECKOUT = repo.find(Path(__file__))
VANTAGES = ("inside: ", "outside: ", "neighbour: ", "controller: ")


Kept = tuple[Path, Report]
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """The recorded good host, judged by the whole suite, and saved: the report is made before, as in a live run."""
    observations = store.load(CHECKOUT.recorded / "tier1_personal", tiers.load(CHECKOUT.tiers))
    report = evaluate(observations, checkout=CHECKOUT)
    folder = tmp_path_factory.mktemp("kept") / "bundle"
    store.save(folder, observations, report.started)
    return folder, report


def test_every_digest_of_a_report_can_be_computed_from_the_saved_files(kept: tuple[Path, Report]) -> None:
    folder, report = kept
    raw = {path: json.loads(path.read_bytes()) for path in (folder / "hosts").iterdir()}
    held = {
        digest(value)
        for host in raw.values()
        for document in (host["inside"], *host["vantages"].values())
        for section in ("commands", "facts")
        for value in document.get(section, {}).values()
    }
    cited = [e for r in as_json(report)["results"] for e in r["evidence"] if not e["source"].startswith("test: ")]
    assert len(cited) > 50
    assert [e["source"] for e in cited if e["digest"] not in held] == []


def test_every_pass_rests_on_evidence(kept: tuple[Path, Report]) -> None:
    _, report = kept
    passed = [r for r in report.results if r.status is Status.PASS]
    assert passed
    assert [r.control for r in passed if not any(e.source.startswith(VANTAGES) for e in r.evidence)] == []


@pytest.fixture
def written(kept: Kept, tmp_path: Path) -> Callable[..., list[str]]:
    """The report as report.json, changed by a function."""
    folder, report = kept

    def write(change: Change = dict) -> list[str]:
        data = as_json(report)
        data["bundle"] = {"digest": open_bundle(folder).manifest.digest, "key": None}
        change(data)
        path = tmp_path / "report.json"
        path.write_text(json.dumps(data))
        return list(unfounded(path, open_bundle(folder)))

    return write


def _passing(data: dict[str, Any]) -> Any:
    return next(r for r in data["results"] if r["status"] == "pass")


def test_a_report_of_this_bundle_is_founded(written: Callable[..., list[str]]) -> None:
    assert written() == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r.update(bundle=None), "names no bundle"),
        (lambda r: r.pop("bundle"), "names no bundle"),
        (lambda r: r["bundle"].update(digest="sha256:00"), "rests on the bundle sha256:00, this one is sha256:"),
        (lambda r: _passing(r).update(evidence=[]), "passes on lab-tier1 without evidence"),
        (lambda r: _passing(r)["evidence"][0].update(digest="sha256:00"), "of which the bundle holds another"),
        (lambda r: r["results"].append({**_passing(r), "host": "ghost", "evidence": []}), "passes on ghost without"),
    ],
)
def test_a_report_of_other_evidence_is_named(written: Callable[..., list[str]], change: Change, sentence: str) -> None:
    (found,) = written(change)
    assert sentence in found


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"results": [{}]}', "\xff", "[" * 100_000])
def test_a_file_that_is_no_report(kept: tuple[Path, Report], tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ClawkeepError, match=r"report.json is no report.json of Clawkeep"):
        list(unfounded(path, open_bundle(kept[0])))


def test_a_report_that_is_not_there(kept: tuple[Path, Report], tmp_path: Path) -> None:
    with pytest.raises(ClawkeepError, match="cannot be read: No such file"):
        list(unfounded(tmp_path / "none", open_bundle(kept[0])))


@pytest.mark.parametrize("raw", [{}, {"inside": None}, {"inside": [], "vantages": []}, {"vantages": {"outside": 3}}])
def test_evidence_of_an_odd_shape_has_no_pieces(raw: dict[str, Any]) -> None:
    assert pieces(raw) == {}


CITED = (Citation("inside: ss", "sha256:00", "x"),)


@pytest.mark.parametrize(
    ("citations", "status"),
    [
        ([CITED], Status.PASS),
        ([CITED, CITED], Status.PASS),
        ([()], Status.INCONCLUSIVE),
        ([CITED, ()], Status.INCONCLUSIVE),
    ],
)
def test_no_pass_is_made_of_outcomes_without_evidence(citations: list[tuple[Citation, ...]], status: Status) -> None:
    """By construction: whatever hands in outcomes, the plugin or another, a pass has citations or is none."""
    outcomes = [Outcome("NET-01", "alpha", "test_it", Status.PASS, (), cited) for cited in citations]
    found, message, evidence = decide(outcomes)
    assert found is status
    assert bool(evidence) == (status is Status.PASS)
    assert bool(message) == (status is not Status.PASS)


def test_what_is_not_there_is_cited_by_nobody() -> None:
    """A test that swallows `Unmeasured` and passes has looked at nothing."""
    evidence = observed("alpha").evidence
    assert evidence is not None
    with pytest.raises(Unmeasured):
        evidence.inside.fact("none")
    with pytest.raises(Unmeasured):
        evidence.inside.command("none")
    assert evidence.take_citations() == []
    evidence.inside.fact("ports")
    assert [c.source for c in evidence.take_citations()] == ["inside: ports"]
    assert not Document("inside", {"schema": 1, "facts": []}).has("facts/x")


def test_a_bundle_in_the_report_has_the_digest_of_the_manifest(kept: tuple[Path, Report]) -> None:
    manifest = json.loads((kept[0] / "manifest.json").read_text())
    whole = {key: value for key, value in manifest.items() if key != "sha256"}
    assert Bundle(open_bundle(kept[0]).manifest.digest).digest == digest(whole)
