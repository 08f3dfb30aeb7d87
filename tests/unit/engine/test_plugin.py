"""What the plugin must not do: run a control test elsewhere, or let a shell's options thin out the suite."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.unit.engine.conftest import Checkout, Observe

from clawkeep.base.verdict import Status
from clawkeep.verify.evaluate import evaluate

LOOKS = 'def test_it(evidence):\n    evidence.inside.fact("ports")\n'


def test_a_control_test_alone_fails_and_says_what_to_run(checkout: Checkout) -> None:
    checkout.page("NET-01")
    path = checkout.test("NET-01", LOOKS)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "clawkeep.verify.plugin",
            "-p",
            "no:cacheprovider",
            "-c",
            "/dev/null",
            str(path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "run `clawkeep verify`" in done.stdout


def test_options_of_the_shell_do_not_reach_the_suite(
    checkout: Checkout, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.page("NET-01")
    checkout.test("NET-01", LOOKS)
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing_of_that_name --collect-only")
    (result,) = evaluate([observe()], checkout=checkout.repo).results
    assert result.status is Status.PASS


def test_a_test_of_no_known_control_is_nobodys_pass(checkout: Checkout, observe: Observe) -> None:
    checkout.page("NET-01")
    checkout.test("NET-01", LOOKS.replace("def", '@pytest.mark.control("NET-99")\ndef', 1))
    (result,) = evaluate([observe()], checkout=checkout.repo).results
    assert result.status is Status.ERROR
    assert "NET-99, which has no page" in result.message


def test_what_one_test_read_is_not_the_evidence_of_the_next(checkout: Checkout, observe: Observe) -> None:
    checkout.page("NET-01")
    checkout.page("NET-02")
    checkout.test("NET-01", LOOKS)
    checkout.test("NET-02", "def test_it(evidence):\n    pass\n")
    first, second = evaluate([observe()], checkout=checkout.repo).results
    assert [e.source for e in first.evidence] == ["inside: ports"]
    assert second.status is Status.INCONCLUSIVE


def test_every_sentence_of_a_violation_is_kept_as_evidence(checkout: Checkout, observe: Observe) -> None:
    checkout.page("NET-01")
    checkout.test("NET-01", 'def test_it(evidence):\n    assert evidence.inside.fact("open") == []\n')
    sentences = [f"port {number} is open" for number in range(30)]
    (result,) = evaluate([observe(facts={"open": sentences})], checkout=checkout.repo).results
    assert result.message == "port 0 is open (and 29 more)"
    assert result.evidence[0].excerpt == "; ".join(sentences)


def test_an_assertion_that_compares_nothing_still_says_what_does_not_hold(checkout: Checkout, observe: Observe) -> None:
    checkout.page("NET-01")
    checkout.test("NET-01", "def test_the_door_is_shut(evidence):\n    assert evidence.inside.fact('ports')\n")
    (result,) = evaluate([observe()], checkout=checkout.repo).results
    assert result.message.startswith("the door is shut does not hold")


@pytest.mark.parametrize("body", ["raise SystemExit(0)", "import os; raise KeyError('x')", "pytest.xfail('known')"])
def test_odd_endings_are_no_pass(checkout: Checkout, observe: Observe, body: str) -> None:
    checkout.page("NET-01")
    checkout.test("NET-01", f"def test_it(evidence):\n    evidence.inside.fact('ports')\n    {body}\n")
    (result,) = evaluate([observe()], checkout=checkout.repo).results
    assert result.status in {Status.ERROR, Status.INCONCLUSIVE, Status.FAIL}
