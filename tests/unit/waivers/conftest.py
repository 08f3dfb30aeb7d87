"""A small site: three controls, of which the third accepts no waiver; hosts alpha, beta (both in `edge`) and gamma."""

from __future__ import annotations

import dataclasses
import datetime
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.conftest import CommandLine
from tests.unit.engine.conftest import Checkout, checkout, observe  # noqa: F401 - fixtures

from clawkeep.base import clock, repo
from clawkeep.evidence.observation import Observation
from clawkeep.register import register
from clawkeep.site.inventory import Host, Signer, Site
from clawkeep.verify import evaluate, exceptions
from clawkeep.verify.report import Report

TODAY = datetime.date(2026, 11, 22)
MakeHost = Callable[..., Observation]
Judge = Callable[..., Report]
Keys = Callable[[str], Path]
NOW = f"{TODAY}T12:00:00Z"

LOOKS = 'def test_it(evidence):\n    assert evidence.inside.fact("{fact}") == []\n'
ASKS = """
from clawkeep.base.verdict import Question

def test_measured(evidence):
    assert evidence.inside.fact("book") != ""

def test_asked(evidence):
    raise Manual("somebody must look", Question("sha256:" + evidence.inside.fact("book") * 64, 100))
"""
CONTROLS = {"NET-01": ("high", "true"), "NET-02": ("critical", "true"), "NET-03": ("medium", "false")}

GOOD = {
    "control": "NET-01",
    "scope": "{host: alpha}",
    "reason": "the vendor's fix comes in spring",
    "owner": "Anna Example",
    "approved_by": "Ben Example",
    "ticket": "OPS-1",
    "created": "2026-11-01",
    "expires": "2027-01-10",
    "compensating": "only the office may connect",
}


def waivers(*entries: dict[str, str], schema: str = "1") -> str:
    """A waiver file, its values written as they are given; an empty value leaves the key out."""
    lines = [f"schema: {schema}", "waivers:"]
    for changes in entries:
        keys = {key: value for key, value in {**GOOD, **changes}.items() if value != ""}
        lines += [f"  {'- ' if i == 0 else '  '}{key}: {value}" for i, (key, value) in enumerate(keys.items())]
    return "\n".join(lines) + "\n"


@pytest.fixture
def register_of(checkout: Checkout) -> Checkout:  # noqa: F811
    """The checkout with its three controls, and two that a person attests: one measured in part, one not at all."""
    for control, (severity, waivable) in CONTROLS.items():
        page = checkout.page(control)
        text = page.read_text().replace("severity: high", f"severity: {severity}")
        page.write_text(text.replace("waivable: true", f"waivable: {waivable}"))
        checkout.test(control, LOOKS.format(fact=control.lower()))
    checkout.page("AGT-07", status="planned")
    checkout.repo.tiers.mkdir(parents=True)
    (checkout.repo.tiers / "tier1_x.yml").write_text("tier: {name: x, rank: 1}\nverify_attestation_days: 180\n")
    return checkout


@pytest.fixture
def manual(register_of: Checkout) -> Checkout:
    """With two more controls, which a person attests: one measured in part, one not at all."""
    register_of.page("BGL-02", status="manual")
    register_of.test("BGL-02", ASKS)
    register_of.page("INV-05", status="manual", title="It is as it was")
    return register_of


@pytest.fixture
def host(observe: MakeHost) -> MakeHost:  # noqa: F811
    """An observed host with groups; the controls in `red` fail on it, those in `dark` cannot be measured."""

    def make(name: str = "alpha", *, red: str = "", dark: str = "", book: str = "a", message: str = "") -> Observation:
        facts: dict[str, object] = {control.lower(): [] for control in CONTROLS if control not in dark}
        facts |= {control.lower(): [f"{control} is broken"] for control in red.split()}
        seen = observe(name, facts={**facts, "book": book}, message=message)
        groups = ("all", "edge", "tier1_x") if name in {"alpha", "beta"} else ("all", "tier1_x")
        tier = dataclasses.replace(seen.host.tier, settings={**seen.host.tier, "verify_attestation_days": 180})
        return dataclasses.replace(seen, host=Host(name, tier, (), groups))

    return make


@pytest.fixture
def judge(register_of: Checkout, tmp_path: Path) -> Judge:
    """Judge hosts with a waiver file and an attestation file, on a day."""

    def go(
        *hosts: Observation,
        waived: str = "",
        attested: str = "",
        day: datetime.date = TODAY,
        complete: bool = True,
        **selection: object,
    ) -> Report:
        (tmp_path / "waivers.yml").write_text(waived or "schema: 1\n")
        (tmp_path / "attestations.yml").write_text(attested or "schema: 1\n")
        files = exceptions.read(tmp_path / "hosts.yml")
        everything = register.load(register_of.repo.controls)
        reviewed = files.review(everything, [o.host for o in hosts], hosts[0].site, day, complete=complete)
        chosen = evaluate.Selection(**selection)  # type: ignore[arg-type]
        return evaluate.evaluate(hosts, chosen, checkout=register_of.repo, started=f"{day}T12:00:00Z", papers=reviewed)

    return go


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """The ssh private key of a person, made when first asked for."""
    folder = tmp_path_factory.mktemp("keys")

    def key(person: str) -> Path:
        path = folder / person
        if not path.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", person, "-f", path], check=True)
        return path

    return key


@pytest.fixture
def signed(keys: Keys) -> MakeHost:
    """An observation whose site knows Anna's key."""

    def make(seen: Observation) -> Observation:
        key = Path(f"{keys('Anna')}.pub").read_text()
        return dataclasses.replace(seen, site=Site(name="a site", signers=(Signer(name="Anna", key=key),)))

    return make


@pytest.fixture
def clawkeep(register_of: Checkout, monkeypatch: pytest.MonkeyPatch, clawkeep: CommandLine) -> CommandLine:
    """Run the command line on TODAY; gives exit status, standard output and standard error."""
    monkeypatch.setattr(repo, "find", lambda: register_of.repo)
    monkeypatch.setattr(clock, "now", lambda: NOW)
    return clawkeep
