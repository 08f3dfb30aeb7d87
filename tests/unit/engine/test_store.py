"""A bundle replays as it was recorded, and refuses everything that it is not."""

from __future__ import annotations

import json
import stat

import pytest

from clawkeep.errors import ClawkeepError
from clawkeep.evidence import store
from clawkeep.run import evaluate

STARTED = "2026-01-02T03:04:05Z"


@pytest.fixture
def bundle(tmp_path, observe):
    """Two hosts, one of them not reached."""
    folder = tmp_path / "bundle"
    store.save(
        folder, [observe("alpha", facts={"ports": [1], "odd": "\u202e\ud800"}), observe("beta", message="no")], STARTED
    )
    return folder


@pytest.fixture
def known(observe):
    tier = observe().host.tier
    return {tier.name: tier}


def edit_manifest(folder, change, *, sign=True):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    if sign:
        manifest.pop("sha256", None)
        manifest["sha256"] = store.digest(manifest)
    path.write_text(json.dumps(manifest))


def test_what_was_saved_is_loaded(bundle, known):
    alpha, beta = store.load(bundle, known)
    assert alpha.evidence is not None
    assert alpha.evidence.inside.fact("odd") == "\u202e\ud800"
    assert (beta.reached, beta.message) == (False, "no")
    assert alpha.site.name == "a site"


def test_a_replay_judges_as_the_live_run_did(checkout, observe, tmp_path, known):
    checkout.page("NET-01")
    checkout.test("NET-01", 'def test_it(evidence):\n    assert evidence.inside.fact("ports") == []\n')
    live = [observe("a"), observe("b", facts={"ports": ["3000 is open"]}), observe("c", message="ssh says no")]
    store.save(tmp_path / "saved", live, STARTED)
    before = evaluate(live, checkout=checkout.repo, started=STARTED)
    after = evaluate(store.load(tmp_path / "saved", known), checkout=checkout.repo, started=STARTED)
    assert after.results == before.results
    assert after.hosts == before.hosts
    assert after.exit_status == before.exit_status


def test_evidence_is_for_its_owner_alone(bundle):
    for path in [bundle, *bundle.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_folder_in_use_is_not_written_into(bundle, observe):
    with pytest.raises(ClawkeepError, match="is not empty"):
        store.save(bundle, [observe()], STARTED)


def test_a_place_that_cannot_be_written(tmp_path, observe):
    (tmp_path / "file").write_text("")
    with pytest.raises(ClawkeepError, match="cannot be saved"):
        store.save(tmp_path / "file" / "below", [observe()], STARTED)


def _rename(manifest, file):
    manifest["hosts"]["alpha"]["file"] = file


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.update(schema=2), "schema 2; it was written by a later Clawkeep"),
        (lambda m: m.pop("schema"), "schema None"),
        (lambda m: m.pop("hosts"), "hosts: field required"),
        (lambda m: m["hosts"]["alpha"].update(tier="tier9"), "has the tier tier9"),
        (lambda m: _rename(m, "../manifest.json"), "hosts.alpha.file"),
        (lambda m: _rename(m, "/etc/passwd"), "hosts.alpha.file"),
        (lambda m: _rename(m, "other.json"), "other.json is missing"),
        (lambda m: _rename(m, None), "was reached, but names no evidence"),
        (lambda m: m["site"].pop("name"), "site_name: field required"),
    ],
)
def test_a_manifest_that_is_wrong(bundle, known, change, sentence):
    edit_manifest(bundle, change)
    with pytest.raises(ClawkeepError, match=sentence):
        store.load(bundle, known)


def test_an_edited_manifest_is_refused(bundle, known):
    edit_manifest(bundle, lambda m: m["site"].update(name="elsewhere"), sign=False)
    with pytest.raises(ClawkeepError, match=r"manifest.json was edited after it was recorded"):
        store.load(bundle, known)


def test_edited_evidence_is_refused_by_name(bundle, known):
    path = bundle / "hosts" / "alpha.json"
    path.write_text(path.read_text().replace("[\n    1\n   ]", "[]"))
    with pytest.raises(ClawkeepError, match=r"hosts/alpha.json was edited after it was recorded"):
        store.load(bundle, known)


def test_evidence_that_points_elsewhere_is_refused(bundle, known, tmp_path):
    path = bundle / "hosts" / "alpha.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ClawkeepError, match=r"alpha.json is missing"):
        store.load(bundle, known)


def test_no_bundle(tmp_path, known):
    with pytest.raises(ClawkeepError, match="is no evidence"):
        store.load(tmp_path, known)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ClawkeepError, match="is not JSON"):
        store.load(tmp_path, known)


def test_file_names_are_safe_and_apart(tmp_path, observe):
    names = ["alpha", "ALPHA", "../../etc/passwd", "..", "", "a/b", "a_b", "ü" * 300, ".hidden", "con\x00\n"]
    taken: set[str] = set()
    files = [store.file_name(name, taken) for name in names]
    assert all(store.SAFE_NAME.fullmatch(file) for file in files)
    assert len({file.lower() for file in files}) == len(names)
    store.save(tmp_path / "b", [observe(name) for name in names], STARTED)
    known = {"tier1_x": observe().host.tier}
    assert sorted(o.host.name for o in store.load(tmp_path / "b", known)) == sorted(names)
