"""Bundles of many controllers become one, which still proves who recorded which host."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.conftest import CommandLine

from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence import store
from clawkeep.evidence.bundle import files, signature
from clawkeep.evidence.bundle.bundle import open_bundle
from clawkeep.evidence.bundle.files import Tampered
from clawkeep.evidence.bundle.manifest import seal
from clawkeep.evidence.bundle.signature import Allowed, Unsigned
from clawkeep.evidence.merge import merge

from .conftest import STARTED, TIER, MakePath, observed

LATER = "2026-01-03T03:04:05Z"
WHEN = "2026-02-01T00:00:00Z"
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A bundle of the named hosts; a name with ! was not reached."""

    def write(*names: str, started: str = STARTED, key: signature.Key | None = None, limited: bool = True) -> Path:
        folder = tmp_path / f"part{len(list(tmp_path.glob('part*')))}"
        hosts = [observed(n.rstrip("!"), message="ssh says no" if "!" in n else "", started=started) for n in names]
        store.save(folder, hosts, started, key, limited=limited)
        return folder

    return write


@pytest.fixture
def merged(tmp_path: Path, make: Make) -> Path:
    merge(tmp_path / "all", [make("gamma", "alpha"), make("beta", "delta!", started=LATER)], WHEN)
    return tmp_path / "all"


def found(folder: Path) -> list[str]:
    try:
        return [finding.replace(f"{folder}/", "") for finding in open_bundle(folder).findings()]
    except Tampered as problem:
        return [str(problem).replace(f"{folder}/", "")]


def resealed(folder: Path, how: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and make all of its own digests anew, as somebody does who knows how."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    how(manifest)
    entries = [{k: v for k, v in entry.items() if k not in {"after", "chain"}} for entry in manifest["hosts"]]
    head = {k: v for k, v in manifest.items() if k not in {"schema", "start", "hosts", "last", "sha256"}}
    path.write_bytes(files.encode(seal(head, entries)))


def edited(folder: Path, name: str, manifest: Path) -> None:
    """Change a host's evidence, and what a manifest says of its file."""
    path = folder / "hosts" / f"{name}.json"
    path.write_text(path.read_text().replace("2026", "2025"))
    data = path.read_bytes()
    resealed(manifest.parent, lambda m: _entry(m, name).update(sha256=hashlib.sha256(data).hexdigest(), size=len(data)))


def _entry(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in manifest["hosts"] if entry["name"] == name)


def test_each_host_is_there_once_with_its_source_and_its_very_bytes(merged: Path) -> None:
    bundle = open_bundle(merged)
    assert found(merged) == []
    assert [(e.name, e.source, e.reached) for e in bundle.manifest.hosts] == [
        ("alpha", "001", True),
        ("beta", "002", True),
        ("delta", "002", False),
        ("gamma", "001", True),
    ]
    assert bundle.manifest.hosts[2].message == "ssh says no"
    assert (bundle.manifest.started, bundle.manifest.merged) == (STARTED, WHEN)
    parts = merged.parent / "part0"
    assert (merged / "hosts" / "alpha.json").read_bytes() == (parts / "hosts" / "alpha.json").read_bytes()
    assert (merged / "sources" / "001.json").read_bytes() == (parts / "manifest.json").read_bytes()
    assert stat.S_IMODE(merged.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in merged.rglob("*.json")} == {0o600}
    assert not (merged.parent / ".all.merging").exists()


def test_it_is_judged_like_any_other(merged: Path) -> None:
    observations = store.load(merged, {TIER.name: TIER})
    assert [o.host.name for o in observations if o.reached] == ["alpha", "beta", "gamma"]


def test_it_is_limited_as_its_sources_unless_they_are_the_whole(tmp_path: Path, make: Make) -> None:
    parts = [make("alpha"), make("beta", limited=False)]
    merge(tmp_path / "some", parts, WHEN)
    merge(tmp_path / "every", parts, WHEN, whole=True)
    assert open_bundle(tmp_path / "some").manifest.limited
    assert not open_bundle(tmp_path / "every").manifest.limited


def test_a_host_in_two_bundles_is_refused_naming_both(tmp_path: Path, make: Make) -> None:
    one, two = make("alpha", "beta"), make("beta", started=LATER)
    with pytest.raises(ClawkeepError, match=f"the host beta is in {one} and in {two}: leave one of them out"):
        merge(tmp_path / "all", [one, two], WHEN)
    assert not (tmp_path / "all").exists()


def test_the_newest_is_taken_in_whatever_order_they_are_named(tmp_path: Path, make: Make) -> None:
    old, new = make("alpha", "beta"), make("beta!", started=LATER)
    for number, parts in enumerate(([old, new], [new, old])):
        into = tmp_path / f"all{number}"
        assert merge(into, parts, WHEN, newest=True).replaced == 1
        (beta,) = (entry for entry in open_bundle(into).manifest.hosts if entry.name == "beta")
        assert (beta.reached, beta.message) == (False, "ssh says no")
        assert found(into) == []
    with pytest.raises(ClawkeepError, match="neither is the newer one"):
        merge(tmp_path / "same", [old, make("beta")], WHEN, newest=True)


def test_a_source_that_was_changed_is_refused_and_nothing_is_left(tmp_path: Path, make: Make) -> None:
    one, two = make("alpha"), make("beta")
    (two / "hosts" / "beta.json").write_text("{}")
    with pytest.raises(Tampered, match=r"part1/hosts/beta\.json was cut"):
        merge(tmp_path / "all", [one, two], WHEN)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part0", "part1"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda p, _: (p / "note").touch(), "note is no part of the bundle"),
        (lambda p, _: resealed(p, lambda m: m["site"].update(name="other")), "different facts of the site"),
        (lambda p, _: resealed(p, lambda m: m.update(hosts=[])), "has no host|is no part of the bundle"),
        (lambda _, i: i.mkdir() or (i / "x").touch(), "is not empty"),
        (lambda _, i: (i.parent / f".{i.name}.merging").mkdir(), "on its way or was stopped"),
        (lambda p, _: shutil.rmtree(p), "is no evidence"),
    ],
)
def test_what_cannot_be_merged(tmp_path: Path, make: Make, spoil: Callable[[Path, Path], None], why: str) -> None:
    one, two, into = make("alpha"), make("beta"), tmp_path / "all"
    spoil(two, into)
    with pytest.raises(ClawkeepError, match=why):
        merge(into, [one, two], WHEN)


def test_a_merged_bundle_is_not_merged_again(tmp_path: Path, merged: Path, make: Make) -> None:
    with pytest.raises(ClawkeepError, match="was merged of others itself"):
        merge(tmp_path / "more", [merged, make("omega")], WHEN)


# --- whatever is done afterwards ---


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda f: (f / "hosts/alpha.json").write_text("{}"), "hosts/alpha.json was cut"),
        (lambda f: edited(f, "alpha", f / "manifest.json"), "host alpha is not as sources/001.json recorded it"),
        (lambda f: (f / "sources/002.json").unlink(), "sources/002.json is missing"),
        (lambda f: (f / "sources/003.json").touch(), "sources/003.json is no part of the bundle"),
        (
            lambda f: (f / "sources/001.json").write_text("{}"),
            "sources/001.json was edited after the bundles were merged",
        ),
        (lambda f: resealed(f, lambda m: _entry(m, "beta").update(message="x")), "beta is not as sources/002.json"),
        (lambda f: resealed(f, lambda m: _entry(m, "beta").update(source="001")), "beta was added: sources/001.json"),
        (lambda f: resealed(f, lambda m: _entry(m, "beta").update(source="009")), "source 009, which is not there"),
        (lambda f: resealed(f, lambda m: m["hosts"].remove(_entry(m, "delta"))), "delta, recorded in sources/002.json"),
        (lambda f: resealed(f, lambda m: m["site"].update(name="x")), "of another site"),
        (lambda f: resealed(f, lambda m: m["sources"].pop()), "sources/002.json is no part of the bundle"),
    ],
)
def test_tampering_after_the_merge_is_found(merged: Path, change: Callable[[Path], None], finding: str) -> None:
    change(merged)
    assert any(finding in said for said in found(merged)), found(merged)
    with pytest.raises(ClawkeepError):
        store.load(merged, {TIER.name: TIER})


def test_an_older_reading_in_place_of_the_newer_is_found(tmp_path: Path, make: Make) -> None:
    merge(tmp_path / "all", [make("alpha", "beta"), make("beta!", started=LATER)], WHEN, newest=True)
    older = json.loads((tmp_path / "part0" / "manifest.json").read_text())
    shutil.copy(tmp_path / "part0/hosts/beta.json", tmp_path / "all/hosts/beta.json")
    taken = {k: v for k, v in _entry(older, "beta").items() if k not in {"after", "chain"}}
    resealed(tmp_path / "all", lambda m: _entry(m, "beta").update(taken, source="001"))
    assert found(tmp_path / "all") == [
        "the host beta is taken from sources/001.json, and sources/002.json has a newer one"
    ]


def test_who_recorded_stays_proved_when_all_digests_are_made_anew(
    tmp_path: Path, make: Make, key: signature.Key, allow: MakePath
) -> None:
    """Somebody with a key of his own who remakes source and merged bundle is found by the source's signature."""
    into = tmp_path / "all"
    merge(into, [make("alpha", key=key), make("beta", key=key)], WHEN, key=key)
    allowed = Allowed(allow(key.file))
    assert open_bundle(into).author(allowed) is not None
    source = json.loads((into / "sources/001.json").read_text())
    work = tmp_path / "work"
    work.mkdir()
    (work / "manifest.json").write_text(json.dumps(source))
    (into / "manifest.json.sig").unlink()
    path = into / "hosts/alpha.json"
    path.write_text(path.read_text().replace("2026", "2025"))
    new = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
    resealed(work, lambda m: _entry(m, "alpha").update(new))
    shutil.copy(work / "manifest.json", into / "sources/001.json")
    digest = hashlib.sha256((into / "sources/001.json").read_bytes()).hexdigest()

    def again(m: dict[str, Any]) -> None:
        _entry(m, "alpha").update(new)
        m["sources"][0]["sha256"] = digest
        m["signed_by"] = None

    resealed(into, again)
    assert found(into) == []  # every digest fits
    for whose in (None, allowed):
        with pytest.raises(Tampered, match=r"sources/001\.json: manifest\.json\.sig is not of this manifest\.json"):
            open_bundle(into).author(whose)


def test_a_source_without_the_signature_that_is_asked_for(
    tmp_path: Path, make: Make, key: signature.Key, keygen: MakePath, allow: MakePath
) -> None:
    allowed = Allowed(allow(key.file))
    good, bare, other = make("alpha", key=key), make("beta"), make("gamma", key=signature.ready(keygen("eve")))
    with pytest.raises(Unsigned, match=r"part1: the bundle is not signed"):
        merge(tmp_path / "all", [good, bare], WHEN, allowed=allowed)
    with pytest.raises(Tampered, match=r"part2: manifest\.json\.sig is by the key \S+, which \S+ does not allow"):
        merge(tmp_path / "all", [good, other], WHEN, allowed=allowed)
    merge(tmp_path / "all", [good, bare], WHEN, key=key)
    with pytest.raises(Unsigned, match=r"merged as sources/002\.json is not signed"):
        open_bundle(tmp_path / "all").author(allowed)


def test_the_merged_signature_is_judged_by_the_time_of_the_merge(
    tmp_path: Path, make: Make, key: signature.Key, keygen: MakePath, allow: MakePath
) -> None:
    young = signature.ready(keygen("young"))
    allowed = allow(key.file)
    line = allow(young.file, "young@example.org", 'valid-after="20260115"').read_text()
    allowed.write_text(f"{allowed.read_text()}\n{line}")
    merge(tmp_path / "all", [make("alpha", key=key)], WHEN, key=young)
    author = open_bundle(tmp_path / "all").author(Allowed(allowed, "young@example.org"))
    assert author is not None
    assert author.signer == "young@example.org"


# --- the command ---


def test_the_command_merges_and_verify_tells_who_recorded_which(
    clawkeep: CommandLine, tmp_path: Path, make: Make, key: signature.Key, allow: MakePath
) -> None:
    parts, allowed = [make("alpha", key=key), make("beta", "gamma!", key=key)], allow(key.file)
    into = tmp_path / "all"
    options = ("--allowed-signers", allowed)
    ended, out, err = clawkeep("evidence", "merge", into, *parts, *options, "--sign-key", key.file, "--whole")
    assert (ended, err) == (0, "")
    assert f"{into}: 3 hosts of 2 bundles" in out
    ended, out, err = clawkeep("evidence", "verify", into, *options)
    assert (ended, err) == (0, "")
    assert "merged from 2 bundles at" in out
    assert "source 001: 1 host, measured from 2026-01-02T03:04:05Z on" in out
    assert out.count(f"signed by ada@example.org with the key {key.fingerprint}") == 3
    ended, out, err = clawkeep("evidence", "show", into)
    assert ended == 0
    assert "source 002: 2 hosts" in out
    assert "nothing is proved by this list" in out


def test_the_command_ends_with_1_for_a_changed_source_and_2_for_a_host_twice(
    clawkeep: CommandLine, tmp_path: Path, make: Make
) -> None:
    one, two = make("alpha"), make("alpha")
    assert clawkeep("evidence", "merge", tmp_path / "all", one, two)[0] == 2
    (one / "hosts/alpha.json").write_text("{}")
    ended, out, _ = clawkeep("evidence", "merge", tmp_path / "all", one)
    assert (ended, "nothing was merged (exit status 1)" in out) == (1, True)


def test_evidence_of_the_inside_alone_says_so() -> None:
    seen = observed("alpha").evidence
    assert seen is not None
    with pytest.raises(
        Exception, match="not measured from the outside vantage: this evidence was collected from inside"
    ):
        seen.vantage("outside")
