"""How tests decide controls, and controls a run."""

from __future__ import annotations

import pytest
from tests.unit.engine.conftest import Checkout, Observe

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.verdict import Status
from clawkeep.evidence.document import Citation
from clawkeep.verify.evaluate import SHOWN_EXCERPTS, Selection, decide, evaluate
from clawkeep.verify.plugin import Outcome
from clawkeep.verify.report import Exit

LOOKS = 'evidence.inside.fact("ports")'


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (f"assert {LOOKS} == []", Status.PASS, ""),
        ('assert ["a is open", "b is open", "c is open"] == []', Status.FAIL, "a is open (and 2 more)"),
        ('assert False, "the door is open"', Status.FAIL, "the door is open"),
        ('pytest.fail("the door is open")', Status.FAIL, "the door is open"),
        ('assert evidence.inside.fact("none")', Status.INCONCLUSIVE, "no fact none in the inside evidence"),
        ('raise Unmeasured("ss is missing")', Status.INCONCLUSIVE, "ss is missing"),
        ('raise NotApplicable("no Docker Desktop here")', Status.NOT_APPLICABLE, "no Docker Desktop here"),
        ('raise Manual("ask the owner")', Status.MANUAL, "ask the owner"),
        ('pytest.skip("not today")', Status.INCONCLUSIVE, "was skipped: not today"),
        ("assert True", Status.INCONCLUSIVE, "looked at no evidence"),
        ("{}['x']", Status.ERROR, "broke: KeyError"),
    ],
)
def test_each_ending_of_a_test_has_its_status(
    checkout: Checkout, observe: Observe, body: str, status: Status, message: str
) -> None:
    checkout.page("NET-01")
    checkout.test("NET-01", f"def test_it(evidence):\n    {body}\n")
    report = evaluate([observe()], checkout=checkout.repo)
    (result,) = report.results
    assert result.status is status
    assert message in result.message


ENDINGS = {
    "fail": "assert False",
    "error": "{}['x']",
    "inconclusive": "pytest.skip('x')",
    "manual": "raise Manual('x')",
    "pass": LOOKS,
    "not_applicable": "raise NotApplicable('x')",
}


@pytest.mark.parametrize(("worse", "better"), [(a, b) for i, a in enumerate(ENDINGS) for b in list(ENDINGS)[i:]])
def test_the_worst_test_decides_a_control(checkout: Checkout, observe: Observe, worse: str, better: str) -> None:
    checkout.page("NET-01")
    checkout.test(
        "NET-01", f"def test_a(evidence):\n    {ENDINGS[better]}\ndef test_b(evidence):\n    {ENDINGS[worse]}\n"
    )
    (result,) = evaluate([observe()], checkout=checkout.repo).results
    assert result.status == worse


def outcome(status: Status, *sentences: str, test: str = "test_it", seen: tuple[str, ...] = ("ss",)) -> Outcome:
    return Outcome("NET-01", "alpha", test, status, sentences, tuple(Citation(one, one, one) for one in seen))


@pytest.mark.parametrize("blind", [0, 1, 2])
def test_one_pass_that_looked_at_nothing_spoils_the_others(blind: int) -> None:
    outcomes = [outcome(Status.PASS, seen=() if number == blind else ("ss",)) for number in range(3)]
    assert decide(outcomes)[:2] == (Status.INCONCLUSIVE, "a test passed without evidence of this host")
    assert decide([one for one in outcomes if one.citations])[:2] == (Status.PASS, "")


def test_the_worst_says_why_and_everybodys_complaints_are_kept() -> None:
    status, message, evidence = decide(
        [
            outcome(Status.PASS, "it rests on a guard", test="test_a", seen=("nft",)),
            outcome(Status.FAIL, "first", "second", test="test_b"),
            outcome(Status.FAIL, "third", test="test_c", seen=("ss", "docker")),
            outcome(Status.INCONCLUSIVE, "unknown", test="test_d", seen=("wg",)),
        ]
    )
    assert (status, message) == (Status.FAIL, "first (and 2 more)")
    assert [one.excerpt for one in evidence] == [
        "it rests on a guard",
        "first; second",
        "third",
        "unknown",
        "ss",
        "docker",
    ]


def test_no_more_is_cited_than_a_person_reads() -> None:
    seen = tuple(f"command {number}" for number in range(SHOWN_EXCERPTS + 1))
    assert [one.source for one in decide([outcome(Status.PASS, seen=seen)])[2]] == list(seen[:-1])


def test_a_subject_that_cannot_be_read_is_inconclusive(checkout: Checkout, observe: Observe) -> None:
    checkout.page("NET-01")
    checkout.test(
        "NET-01",
        """
        @pytest.fixture
        def doors(evidence):
            return evidence.inside.fact("doors")
        def test_it(doors):
            assert doors == []
        """,
    )
    report = evaluate([observe()], checkout=checkout.repo)
    assert report.results[0].status is Status.INCONCLUSIVE
    assert report.exit_status is Exit.UNMEASURED


def test_a_host_is_bound_by_its_tier_and_those_below(checkout: Checkout, observe: Observe) -> None:
    checkout.page("NET-01", tier=1)
    checkout.page("NET-10", tier=3)
    for control in ("NET-01", "NET-10"):
        checkout.test(control, f"def test_it(evidence):\n    {LOOKS}\n")
    report = evaluate([observe("low"), observe("high", rank=3)], checkout=checkout.repo)
    statuses = {(r.host, r.control): r.status for r in report.results}
    assert statuses == {
        ("low", "NET-01"): Status.PASS,
        ("low", "NET-10"): Status.NOT_REQUIRED,
        ("high", "NET-01"): Status.PASS,
        ("high", "NET-10"): Status.PASS,
    }
    assert report.exit_status is Exit.GREEN


def test_an_unreached_host_passes_nothing(checkout: Checkout, observe: Observe) -> None:
    checkout.page("NET-01")
    checkout.test("NET-01", f"def test_it(evidence):\n    {LOOKS}\n")
    report = evaluate([observe("up"), observe("down", message="ssh says no")], checkout=checkout.repo)
    assert [r.status for r in report.results] == [Status.PASS, Status.INCONCLUSIVE]
    assert "ssh says no" in report.results[1].message
    assert report.exit_status is Exit.UNMEASURED


def test_a_control_without_a_test_is_inconclusive(checkout: Checkout, observe: Observe) -> None:
    checkout.page("NET-01")
    checkout.page("INV-05", status="manual")
    checkout.page("AGT-07", status="planned")
    report = evaluate([observe()], checkout=checkout.repo)
    assert {r.control: r.status for r in report.results} == {"NET-01": Status.INCONCLUSIVE, "INV-05": Status.MANUAL}
    assert report.planned == ("AGT-07",)


def test_a_module_that_cannot_be_imported_is_an_error_of_its_control_alone(
    checkout: Checkout, observe: Observe
) -> None:
    checkout.page("NET-01")
    checkout.page("NET-02")
    checkout.test("NET-01", "import nothing_of_that_name\n")
    checkout.test("NET-02", f"def test_it(evidence):\n    {LOOKS}\n")
    first, second = evaluate([observe()], checkout=checkout.repo).results
    assert first.status is Status.ERROR
    assert "nothing_of_that_name" in first.message
    assert second.status is Status.PASS


def test_inside_only_leaves_out_and_says_so(checkout: Checkout, observe: Observe) -> None:
    checkout.page("NET-01")
    checkout.page("NET-02")
    checkout.test("NET-01", f"def test_it(evidence):\n    {LOOKS}\n", mark='@pytest.mark.vantage("outside")\n')
    checkout.test("NET-02", f"def test_it(evidence):\n    {LOOKS}\n")
    report = evaluate([observe()], Selection(inside_only=True), checkout=checkout.repo)
    assert [r.control for r in report.results] == ["NET-02"]
    assert report.left_out == ("NET-01",)


@pytest.mark.parametrize("selection", [Selection(turns=False), Selection(inside_only=True)])
def test_what_needs_a_turn_of_the_agents_is_left_out_where_none_is_asked_for(
    checkout: Checkout, observe: Observe, selection: Selection
) -> None:
    checkout.page("LOG-01")
    checkout.page("NET-02")
    checkout.test("LOG-01", f"def test_it(evidence):\n    {LOOKS}\n", mark='@pytest.mark.vantage("model")\n')
    checkout.test("NET-02", f"def test_it(evidence):\n    {LOOKS}\n")
    report = evaluate([observe()], selection, checkout=checkout.repo)
    assert ([r.control for r in report.results], report.left_out) == (["NET-02"], ("LOG-01",))
    assert evaluate([observe()], checkout=checkout.repo).left_out == ()


def test_selected_controls_alone_are_judged(checkout: Checkout, observe: Observe) -> None:
    for control in ("NET-01", "NET-02"):
        checkout.page(control)
        checkout.test(control, f"def test_it(evidence):\n    {LOOKS}\n")
    report = evaluate([observe()], Selection(("NET-02",)), checkout=checkout.repo)
    assert [r.control for r in report.results] == ["NET-02"]
    with pytest.raises(ClawkeepError, match="no control NET-77"):
        evaluate([observe()], Selection(("NET-77",)), checkout=checkout.repo)


def test_no_host_is_no_report(checkout: Checkout) -> None:
    checkout.page("NET-01")
    with pytest.raises(ClawkeepError, match="no host"):
        evaluate([], checkout=checkout.repo)
