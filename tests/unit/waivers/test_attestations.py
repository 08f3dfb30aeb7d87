"""What a person attests: in date, bound to what was measured, signed by them; everything else passes nothing."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.conftest import Checkout

from clawkeep.base import sshsig
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.verdict import Status
from clawkeep.register import register
from clawkeep.verify import attestations
from clawkeep.verify.attestations import Attestation
from clawkeep.verify.report import Exit, Report, Result

from .conftest import TODAY, Judge, Keys, MakeHost
from .conftest import waivers as waiver_file

MEASURED = "sha256:" + "a" * 64  # what BGL-02 measures of the good host
DAYS = 100  # for which BGL-02 of this checkout wants it

pytestmark = pytest.mark.usefixtures("manual")


Entry = Callable[..., str]


@pytest.fixture
def entry(keys: Keys) -> Entry:
    """An entry of attestations.yml, signed by the key of `by`; `after` changes what it says when it is signed."""

    def make(by: str = "Anna", site: str = "a site", after: dict[str, object] | None = None, **changes: object) -> str:
        values: dict[str, object] = {
            "control": "BGL-02",
            "scope": {"host": "alpha"},
            "statement": "Drilled over the console with Ben; the rollback came after 60 s.",
            "person": "Anna",
            "role": "owner",
            "date": "2026-11-01",
            "evidence": MEASURED,
            **changes,
        }
        signature = sshsig.sign(attestations.message(values, site), keys(by), attestations.NAMESPACE)
        return attestations.written(Attestation.model_validate({**values, "signature": signature, **(after or {})}))

    return make


def file(*entries: str) -> str:
    return "schema: 1\nattestations:\n" + "".join(entries)


def bgl(report: Report) -> Result:
    return next(r for r in report.results if r.control == "BGL-02")


def test_nobody_attested(judge: Judge, host: MakeHost) -> None:
    report = judge(host())
    assert bgl(report).status is Status.MANUAL
    assert bgl(report).message == (
        f"somebody must look; to attest it, `clawkeep attest BGL-02` with --evidence {MEASURED}"
    )
    assert report.exit_status is Exit.GREEN


def test_an_attestation_in_date_is_a_pass_that_rests_on_it(
    judge: Judge, host: MakeHost, signed: MakeHost, entry: Entry
) -> None:
    report = judge(signed(host()), attested=file(entry()))
    result = bgl(report)
    assert (result.status, report.objections, report.warnings) == (Status.PASS, (), ())
    assert result.message.startswith("Anna (owner) attested it on 2026-11-01, which stands until 2027-02-09: Drilled")
    cited = {excerpt.source.partition(":")[0]: excerpt.excerpt for excerpt in result.evidence}
    assert "Drilled over the console" in cited["attestation"]
    assert '"a"' in cited["inside"], "what was measured is still cited"


def test_what_is_measured_fails_whatever_is_attested(
    judge: Judge, host: MakeHost, signed: MakeHost, entry: Entry
) -> None:
    report = judge(signed(host(book="")), attested=file(entry()))
    assert bgl(report).status is Status.FAIL


@pytest.mark.parametrize(
    ("day", "status"),
    [(TODAY, Status.PASS), (datetime.date(2027, 2, 9), Status.PASS), (datetime.date(2027, 2, 10), Status.FAIL)],
)
def test_an_expired_attestation_fails(
    judge: Judge,
    host: MakeHost,
    signed: MakeHost,
    entry: Entry,
    day: date,
    status: Status,
) -> None:
    report = judge(signed(host()), attested=file(entry()), day=day)
    assert bgl(report).status is status
    if status is Status.FAIL:
        assert "stood for 100 days, until 2027-02-09: attest it again" in bgl(report).message
        assert report.exit_status is Exit.RED, "nothing is wrong with the file: the drill is due"
    else:
        assert bool(report.warnings) is (day != TODAY)


def test_an_attestation_of_something_else_fails(judge: Judge, host: MakeHost, signed: MakeHost, entry: Entry) -> None:
    report = judge(signed(host(book="b")), attested=file(entry()))
    assert bgl(report).status is Status.FAIL
    assert f"and sha256:{'b' * 64} was measured: what it attests has changed" in bgl(report).message


def test_of_many_attestations_one_that_stands_is_enough_and_the_newest_is_told(
    judge: Judge, host: MakeHost, signed: MakeHost, entry: Entry
) -> None:
    former, other = entry(date="2025-11-01"), entry(date="2026-11-20", evidence="sha256:" + "b" * 64)
    report = judge(signed(host()), attested=file(former, entry(), other, entry(date="2026-10-01")))
    assert bgl(report).status is Status.PASS
    assert "attested it on 2026-11-01" in bgl(report).message
    report = judge(signed(host()), attested=file(other, former))
    assert bgl(report).status is Status.FAIL
    assert "of 2026-11-20" in bgl(report).message


def test_an_attestation_is_of_its_scope_alone(judge: Judge, host: MakeHost, signed: MakeHost, entry: Entry) -> None:
    hosts = [signed(host(name)) for name in ("alpha", "beta", "gamma")]
    report = judge(*hosts, attested=file(entry(scope={"group": "edge"})))
    found = {r.host: r.status for r in report.results if r.control == "BGL-02"}
    assert found == {"alpha": Status.PASS, "beta": Status.PASS, "gamma": Status.MANUAL}


FORGED = [
    ({"by": "Mallory"}, "the signature is not Anna's of these words for the site a site"),
    ({"site": "another site"}, "the signature is not Anna's of these words"),
    ({"after": {"date": "2026-11-02"}}, "the signature is not Anna's of these words"),
    ({"after": {"statement": "Nothing was drilled."}}, "the signature is not Anna's of these words"),
    ({"after": {"scope": {"tier": "tier1_x"}}}, "the signature is not Anna's of these words"),
    ({"after": {"control": "INV-05"}}, "the signature is not Anna's of these words"),
    ({"person": "Mallory", "by": "Mallory"}, "Mallory is none of the site's signers"),
    ({"person": "anna"}, "anna is none of the site's signers"),
    ({"date": "2026-11-23"}, "it is dated 2026-11-23, which is after today, 2026-11-22 (UTC)"),
    ({"control": "BGL-77"}, "there is no control BGL-77"),
    ({"control": "AGT-07"}, "the control AGT-07 is planned"),
    ({"scope": {"host": "delta"}}, "BGL-02 for host delta matches no host of the inventory"),
]


@pytest.mark.parametrize(("changes", "sentence"), FORGED)
def test_an_attestation_that_is_not_in_order_is_told_and_counts_for_nothing(
    judge: Judge,
    host: MakeHost,
    signed: MakeHost,
    entry: Entry,
    changes: dict[str, Any],
    sentence: str,
) -> None:
    report = judge(signed(host()), attested=file(entry(**changes)))
    (objection,) = report.objections
    assert sentence in objection
    assert "attestations.yml:3: " in objection
    assert bgl(report).status is Status.MANUAL
    assert report.exit_status is Exit.WAIVERS


def test_a_signature_for_another_purpose_does_not_count(
    judge: Judge,
    host: MakeHost,
    signed: MakeHost,
    entry: Entry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attestations, "NAMESPACE", "git")
    text = file(entry())
    monkeypatch.undo()
    assert "the signature is not Anna's" in judge(signed(host()), attested=text).objections[0]


def test_a_limited_run_knows_attestations_of_other_hosts(
    judge: Judge, host: MakeHost, signed: MakeHost, entry: Entry
) -> None:
    report = judge(signed(host()), attested=file(entry(scope={"host": "beta"})), complete=False)
    assert report.objections == ()


def test_a_failing_attestation_can_be_waived(judge: Judge, host: MakeHost, signed: MakeHost, entry: Entry) -> None:
    waived = waiver_file({"control": "BGL-02"})
    report = judge(signed(host()), attested=file(entry(date="2026-01-01")), waived=waived)
    assert (bgl(report).status, report.exit_status) == (Status.WAIVED, Exit.GREEN)
    assert judge(signed(host()), waived=waived).objections[0].endswith("nothing there fails (manual): delete it")


def test_where_nothing_is_measured_the_promise_itself_is_attested(
    judge: Judge,
    host: MakeHost,
    signed: MakeHost,
    entry: Entry,
    manual: Checkout,
) -> None:
    def attested() -> Status:
        text = file(entry(control="INV-05", evidence=digest))
        report = judge(signed(host()), attested=text)
        return next(r.status for r in report.results if r.control == "INV-05")

    page = manual.repo.controls / "INV-05.md"
    digest = attestations.promise(register.read_page(page))
    assert attested() is Status.PASS
    page.write_text(page.read_text().replace("It holds.", "It\nholds.") + "\n## Why\n\nBecause.\n")
    assert attested() is Status.PASS, "other words around the promise leave it standing"
    page.write_text(page.read_text().replace("It\nholds.", "It mostly holds."))
    assert attested() is Status.FAIL


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"evidence": "sha256:" + "A" * 64}, "sha256:.0-9a-f"),
        ({"evidence": "a" * 64}, "sha256:.0-9a-f"),
        ({"date": "2026-11-01T00:00:00"}, "a date is YYYY-MM-DD"),
        ({"signature": "yes"}, "a signature begins with -----BEGIN SSH SIGNATURE-----"),
        ({"signature": "-----BEGIN SSH SIGNATURE-----\nA\n-----END SSH SIGNATURE-----\nmore"}, "a signature begins"),
        ({"signature": f"-----BEGIN SSH SIGNATURE-----\n{'A' * 20_000}\n-----END SSH SIGNATURE-----"}, "a signature"),
        ({"person": " "}, "it is empty"),
        ({"valid_days": "9999"}, "xtra inputs are not permitted"),
    ],
)
def test_an_entry_that_is_no_attestation(changes: dict[str, str], sentence: str) -> None:
    good = {
        "control": "BGL-02",
        "scope": {"host": "alpha"},
        "statement": "s",
        "person": "Anna",
        "role": "owner",
        "date": "2026-11-01",
        "evidence": MEASURED,
        "signature": "-----BEGIN SSH SIGNATURE-----\nAA==\n-----END SSH SIGNATURE-----",
    }
    Attestation.model_validate(good)
    with pytest.raises(ValueError, match=sentence):
        Attestation.model_validate({**good, **changes})


@pytest.mark.parametrize(
    "key", ["", "ssh-ed25519", "ssh-ed25519 AAAA\nroot ssh-rsa AAAA", "* ssh-rsa AAAAAAAAAAAAAAAA"]
)
def test_what_is_no_public_key(key: str) -> None:
    with pytest.raises(ValueError, match="a key is the line"):
        sshsig.public_key(key)


def test_hostile_words_are_signed_and_read_back_as_they_are(tmp_path: Path, keys: Keys, entry: Entry) -> None:
    words = 'a "quote" \\ : # \u202e\x1b[2J <b> {x} 日本 🦀 -----BEGIN'
    path = tmp_path / "attestations.yml"
    path.write_text(file(entry(statement=words, role=words)))
    (read,) = attestations.load(path)
    assert (read.statement, read.role) == (words, words)
    public = Path(f"{keys('Anna')}.pub").read_text()
    assert sshsig.verified(read.message("a site"), read.signature, [public], attestations.NAMESPACE)


def test_without_ssh_keygen_nothing_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClawkeepError, match="ssh-keygen is not installed"):
        sshsig.verified(b"", "-----BEGIN SSH SIGNATURE-----\nAA==\n-----END SSH SIGNATURE-----", [], "x")
