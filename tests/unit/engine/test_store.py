"""A bundle replays as it was recorded, and refuses everything that it is not."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.conftest import Checkout, Observe

from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence import store
from clawkeep.evidence.bundle.files import Tampered, encode
from clawkeep.evidence.bundle.manifest import SAFE_NAME, seal
from clawkeep.evidence.document import digest
from clawkeep.register.tiers import Tier
from clawkeep.verify.evaluate import evaluate

STARTED = "2026-01-02T03:04:05Z"


@pytest.fixture
def bundle(tmp_path: Path, observe: Observe) -> Path:
    """Two hosts, one of them not reached."""
    folder = tmp_path / "bundle"
    store.save(
        folder, [observe("alpha", facts={"ports": [1], "odd": "\u202e\ud800"}), observe("beta", message="no")], STARTED
    )
    return folder


@pytest.fixture
def known(observe: Observe) -> dict[str, Tier]:
    tier = observe().host.tier
    return {tier.name: tier}


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest as somebody does who knows how its digests are made."""
    path = folder / "manifest.json"
    old = json.loads(path.read_text())
    change(old)
    entries = [{k: v for k, v in entry.items() if k not in {"after", "chain"}} for entry in old["hosts"]]
    path.write_bytes(
        encode(seal({key: old[key] for key in ("tool", "started", "limited", "site", "signed_by")}, entries))
    )


def test_what_was_saved_is_loaded(bundle: Path, known: dict[str, Tier]) -> None:
    alpha, beta = store.load(bundle, known)
    assert alpha.evidence is not None
    assert alpha.evidence.inside.fact("odd") == "\u202e\ud800"
    assert (beta.reached, beta.message) == (False, "no")
    assert alpha.site.name == "a site"


def test_a_replay_judges_as_the_live_run_did(
    checkout: Checkout, observe: Observe, tmp_path: Path, known: dict[str, Tier]
) -> None:
    checkout.page("NET-01")
    checkout.test("NET-01", 'def test_it(evidence):\n    assert evidence.inside.fact("ports") == []\n')
    live = [observe("a"), observe("b", facts={"ports": ["3000 is open"]}), observe("c", message="ssh says no")]
    store.save(tmp_path / "saved", live, STARTED)
    before = evaluate(live, checkout=checkout.repo, started=STARTED)
    after = evaluate(store.load(tmp_path / "saved", known), checkout=checkout.repo, started=STARTED)
    assert after.results == before.results
    assert after.hosts == before.hosts
    assert after.exit_status == before.exit_status


def test_evidence_is_for_its_owner_alone(bundle: Path) -> None:
    for path in [bundle, *bundle.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_folder_in_use_is_not_written_into(bundle: Path, observe: Observe) -> None:
    with pytest.raises(ClawkeepError, match="is not empty"):
        store.save(bundle, [observe()], STARTED)


def test_a_place_that_cannot_be_written(tmp_path: Path, observe: Observe) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClawkeepError, match="cannot be saved"):
        store.save(tmp_path / "file" / "below", [observe()], STARTED)


def _alpha(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest["hosts"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_alpha(tier="tier9"), "has the tier tier9"),
        (_alpha(file="../manifest.json"), "hosts.0.file"),
        (_alpha(file="/etc/passwd"), "hosts.0.file"),
        (_alpha(file="other.json"), "alpha.json is no part of the bundle"),
        (_alpha(name="omega"), "is the evidence of 'alpha', not of the host omega"),
        (_alpha(reached=False), "was not reached, yet names evidence"),
        (lambda m: m["hosts"][1].update(reached=True), "was reached, but names no evidence"),
        (lambda m: m["hosts"][1].update(file="ALPHA.json"), "gives the file ALPHA.json to two hosts, alpha and beta"),
        (lambda m: m["hosts"].append(m["hosts"][0]), "names the host alpha twice"),
        (lambda m: m.update(started="yesterday"), "started: "),
        (lambda m: m["site"].pop("name"), "site_name: field required"),
    ],
)
def test_a_manifest_that_is_wrong(
    bundle: Path, known: dict[str, Tier], change: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    edit_manifest(bundle, change)
    with pytest.raises(ClawkeepError, match=sentence):
        store.load(bundle, known)


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        (4, "schema 4; it was written by a later Clawkeep"),
        (0, "schema 0"),
        (True, "schema True"),
        (None, "schema None"),
    ],
)
def test_a_schema_that_is_not_ours(
    bundle: Path, known: dict[str, Tier], schema: bool | int | None, sentence: str
) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": schema}))
    with pytest.raises(ClawkeepError, match=sentence) as refused:
        store.load(bundle, known)
    assert not isinstance(refused.value, Tampered)  # nobody's fault


def first_schema(bundle: Path) -> Path:
    """The bundle as Clawkeep wrote it before there was a chain."""
    path = bundle / "manifest.json"
    new = json.loads(path.read_text())
    hosts = {h.pop("name"): h for h in new["hosts"]}
    for entry in hosts.values():
        for key in ("after", "chain", "size", "groups"):
            del entry[key]
    old = {"schema": 1, **{key: new[key] for key in ("tool", "started", "site")}, "hosts": hosts}
    path.write_text(json.dumps({**old, "sha256": digest(old)}))
    return path


def test_a_bundle_of_the_first_schema_is_still_read(bundle: Path, known: dict[str, Tier]) -> None:
    first_schema(bundle)
    assert [(o.host.name, o.reached) for o in store.load(bundle, known)] == [("alpha", True), ("beta", False)]


def test_an_edited_bundle_of_the_first_schema_is_still_refused(bundle: Path, known: dict[str, Tier]) -> None:
    path = first_schema(bundle)
    path.write_text(path.read_text().replace("a site", "a sitE"))
    with pytest.raises(Tampered, match=r"manifest.json was edited after it was recorded"):
        store.load(bundle, known)


def test_evidence_of_no_size_to_be_kept(tmp_path: Path, observe: Observe) -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ClawkeepError, match="the evidence of alpha cannot be kept: it is nested too deep"):
        store.save(tmp_path / "deep", [observe(facts={"deep": deep})], STARTED)
    wide: list[Any] = []
    for _ in range(400):
        wide = [wide]
    with pytest.raises(ClawkeepError, match="cannot be kept: it is larger than 64 MB"):
        store.save(tmp_path / "wide", [observe(facts={"wide": [wide] * 1000})], STARTED)


def test_no_bundle(tmp_path: Path, known: dict[str, Tier]) -> None:
    with pytest.raises(ClawkeepError, match="is no evidence"):
        store.load(tmp_path, known)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ClawkeepError, match="is not JSON"):
        store.load(tmp_path, known)


def test_file_names_are_safe_and_apart(tmp_path: Path, observe: Observe) -> None:
    names = ["alpha", "ALPHA", "../../etc/passwd", "..", "", "a/b", "a_b", "ü" * 300, ".hidden", "con\x00\n"]
    taken: set[str] = set()
    files = [store.file_name(name, taken) for name in names]
    assert all(SAFE_NAME.fullmatch(file) for file in files)
    assert len({file.lower() for file in files}) == len(names)
    store.save(tmp_path / "b", [observe(name) for name in names], STARTED)
    known = {"tier1_x": observe().host.tier}
    assert sorted(o.host.name for o in store.load(tmp_path / "b", known)) == sorted(names)
