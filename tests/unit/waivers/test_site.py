"""What a site says besides: the groups of its hosts, its signers, what a bundle keeps of both, and the example."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from tests.unit.engine.conftest import Checkout

from clawkeep.base import repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence import store
from clawkeep.evidence.bundle.bundle import open_bundle
from clawkeep.evidence.document import digest
from clawkeep.register import register, tiers
from clawkeep.site import inventory
from clawkeep.verify import exceptions

from .conftest import NOW, MakeHost

CHECKOUT = repo.find(Path(__file__))


def test_a_host_has_all_its_groups(register_of: Checkout, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    (folder / "group_vars").mkdir(parents=True)
    (folder / "group_vars" / "all.yml").write_text("site_name: here\n")
    (folder / "hosts.yml").write_text(
        "tier1_x: {children: {edge: {children: {attic: {hosts: {alpha: {}}}}}, idle: {}}, hosts: {beta: {}}}\n"
    )
    for name in ("waivers.yml", "attestations.yml"):  # beside it, in a folder that Ansible reads as a whole
        (folder / name).write_text((CHECKOUT.root / "inventories" / "example" / name).read_text())
    for source in (folder, folder / "hosts.yml"):
        alpha, beta = inventory.load(source, register_of.repo).hosts
        assert alpha.groups == ("all", "attic", "edge", "tier1_x")
        assert beta.groups == ("all", "tier1_x")


def test_a_bundle_keeps_groups_and_an_older_one_has_none(register_of: Checkout, host: MakeHost, tmp_path: Path) -> None:
    folder, known = tmp_path / "bundle", tiers.load(register_of.repo.tiers)
    store.save(folder, [host()], NOW, limited=True)
    assert store.load(folder, known)[0].host.groups == ("all", "edge", "tier1_x")
    assert open_bundle(folder).manifest.limited is True
    path = folder / "manifest.json"
    new = json.loads(path.read_text())
    entry = {key: new["hosts"][0][key] for key in ("file", "sha256", "tier", "addresses", "reached", "message")}
    old = {"schema": 1, **{key: new[key] for key in ("tool", "started", "site")}, "hosts": {"alpha": entry}}
    path.write_text(json.dumps({**old, "sha256": digest(old)}))
    assert store.load(folder, known)[0].host.groups == ()
    assert open_bundle(folder).manifest.limited is False


@pytest.mark.parametrize(
    ("signers", "sentence"),
    [
        ("[Anna]", "site_signers.0"),
        ("[{name: Anna}]", "site_signers.0.key: field required"),
        ("[{name: Anna, key: AAAA}]", "a key is the line of an ssh public key file"),
    ],
)
def test_wrong_signers_are_one_sentence(tmp_path: Path, signers: str, sentence: str) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(f"site_name: here\nsite_signers: {signers}\n")
    with pytest.raises(ClawkeepError) as raised:
        inventory.read_site(tmp_path)
    assert sentence in str(raised.value)


def test_the_example_is_in_order() -> None:
    folder = CHECKOUT.root / "inventories" / "example"
    files = exceptions.read(folder / "hosts.yml")
    assert (len(files.waivers), len(files.attestations)) == (1, 1)
    known = inventory.load(folder / "hosts.yml", CHECKOUT)
    day = datetime.date(2026, 11, 22)
    found = files.review(register.load(CHECKOUT.controls), known.hosts, known.site, day)
    assert found.objections == ()
    assert found.attested("BGL-02", "claw-anna") == list(files.attestations)
