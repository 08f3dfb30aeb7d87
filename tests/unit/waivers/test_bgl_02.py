"""BGL-02 on the recorded good host: an attested drill passes; a lapsed, forged or outdated one does not."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from clawkeep.base import repo, sshsig
from clawkeep.base.verdict import Status
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register import register
from clawkeep.sabotage.record import recorded
from clawkeep.site.inventory import Signer
from clawkeep.verify import attestations
from clawkeep.verify.attestations import Attestation
from clawkeep.verify.evaluate import Selection, evaluate
from clawkeep.verify.exceptions import Files
from clawkeep.verify.report import Exit, Report

from .conftest import Keys

CHECKOUT = repo.find(Path(__file__))
DRILLED = datetime.date(2026, 11, 1)
NEXT_DAY = DRILLED + datetime.timedelta(1)


@pytest.fixture(scope="module")
def good() -> Observation:
    return recorded(CHECKOUT, "tier1_personal")


def with_runbook(seen: Observation, change: Callable[[str], str]) -> Observation:
    assert seen.evidence is not None
    raw = json.loads(json.dumps(seen.evidence.raw))
    runbook = raw["inside"]["facts"]["runbook"]
    runbook["text"] = change(runbook["text"])
    return dataclasses.replace(seen, evidence=HostEvidence(seen.host.name, raw))


@pytest.fixture
def verify(good: Observation, keys: Keys) -> Callable[..., Report]:
    """Judge BGL-02 with a drill that was attested of the good host's runbook on DRILLED, by the key of `by`."""
    assert good.evidence is not None
    text = good.evidence.raw["inside"]["facts"]["runbook"]["text"]
    public = Path(f"{keys('Anna')}.pub").read_text()

    def run(day: datetime.date, change: Callable[[str], str] = str, by: str = "Anna") -> Report:
        seen = with_runbook(good, change)
        site = seen.site.model_copy(update={"signers": (Signer(name="Anna", key=public),)})
        seen = dataclasses.replace(seen, site=site)
        values: dict[str, object] = {
            "control": "BGL-02",
            "scope": {"host": seen.host.name},
            "statement": "Over the serial console, with Ben; the rollback came.",
            "person": "Anna",
            "role": "owner",
            "date": DRILLED.isoformat(),
            "evidence": "sha256:" + hashlib.sha256(text.encode()).hexdigest(),  # as sha256sum has it
        }
        signature = sshsig.sign(attestations.message(values, site.name), keys(by), attestations.NAMESPACE)
        files = Files(attestations=(Attestation.model_validate({**values, "signature": signature}),))
        papers = files.review(register.load(CHECKOUT.controls), [seen.host], site, day)
        return evaluate([seen], Selection(("BGL-02",)), checkout=CHECKOUT, started=f"{day}T00:00:00Z", papers=papers)

    return run


@pytest.mark.parametrize(("days", "status"), [(1, Status.PASS), (365, Status.PASS), (366, Status.FAIL)])
def test_a_drill_stands_for_the_days_of_the_tier(verify: Callable[..., Report], days: int, status: Status) -> None:
    report = verify(DRILLED + datetime.timedelta(days))
    assert report.results[0].status is status
    assert report.exit_status is (Exit.GREEN if status is Status.PASS else Exit.RED)


def test_a_drill_of_another_runbook_is_no_drill_of_this_one(verify: Callable[..., Report]) -> None:
    (result,) = verify(NEXT_DAY, lambda text: text + "\n").results
    assert result.status is Status.FAIL
    assert "what it attests has changed" in result.message


def test_a_runbook_of_a_former_address_fails_though_its_drill_is_in_date(verify: Callable[..., Report]) -> None:
    (result,) = verify(NEXT_DAY, lambda text: text.replace("203.0.113.10", "203.0.113.99")).results
    assert result.status is Status.FAIL


def test_another_persons_signature_is_no_drill(verify: Callable[..., Report]) -> None:
    report = verify(NEXT_DAY, by="Mallory")
    assert (report.results[0].status, report.exit_status) == (Status.MANUAL, Exit.WAIVERS)


def test_a_runbook_that_was_not_read_whole_cannot_be_attested(verify: Callable[..., Report]) -> None:
    (result,) = verify(NEXT_DAY, lambda text: text + "x" * 262_144).results
    assert result.status is Status.INCONCLUSIVE
    assert "longer than the 256 KB" in result.message


def test_without_an_attestation_it_waits_and_says_for_what(good: Observation) -> None:
    (result,) = evaluate([good], Selection(("BGL-02",)), checkout=CHECKOUT).results
    assert result.status is Status.MANUAL
    assert "`clawkeep attest BGL-02` with --evidence sha256:" in result.message
