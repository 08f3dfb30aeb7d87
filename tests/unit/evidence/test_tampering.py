"""Whatever is done to a bundle afterwards is found, and named: exit status 1, never 0."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence import store
from clawkeep.evidence.bundle.bundle import open_bundle
from clawkeep.evidence.bundle.files import CAP, Tampered, encode
from clawkeep.evidence.bundle.manifest import seal
from clawkeep.evidence.bundle.signature import Key

from .conftest import TIER

KNOWN = {TIER.name: TIER}


def proved(folder: Path) -> list[str]:
    """What is found in a bundle, the folder's own name left out."""
    try:
        return [finding.replace(f"{folder}/", "") for finding in open_bundle(folder).findings()]
    except Tampered as problem:
        return [str(problem).replace(f"{folder}/", "")]


def refused(folder: Path) -> bool:
    """A replay refuses it too."""
    with pytest.raises(Tampered):
        store.load(folder, KNOWN)
    return True


def test_a_bundle_as_it_was_saved_is_good(bundle: Path) -> None:
    assert proved(bundle) == []
    assert [o.host.name for o in store.load(bundle, KNOWN)] == ["alpha", "beta", "gamma", "delta"]


def test_the_digests_are_made_as_the_guide_says(bundle: Path) -> None:
    def digest(value: object) -> str:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    manifest = json.loads((bundle / "manifest.json").read_text())
    before, value = (
        None,
        digest({key: manifest[key] for key in ("schema", "tool", "started", "limited", "site", "signed_by")}),
    )
    assert manifest["start"] == value
    for entry in manifest["hosts"]:
        value = digest({**{k: v for k, v in entry.items() if k != "chain"}, "previous": value})
        assert (entry["after"], entry["chain"]) == (before, value)
        before = entry["name"]
        if entry["file"]:
            data = (bundle / "hosts" / entry["file"]).read_bytes()
            assert (entry["sha256"], entry["size"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert manifest["last"] == before == "delta"
    assert manifest.pop("sha256") == digest(manifest)


def test_no_single_bit_changes_unseen(bundle: Path) -> None:
    """Every byte of every file, one bit of it turned: that file is named, and no other host's."""
    for path in [bundle / "manifest.json", bundle / "hosts" / "beta.json"]:
        good = path.read_bytes()
        for at in range(len(good)):
            path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            try:
                found = proved(bundle)
            except ClawkeepError as problem:  # the schema's own number is the one thing that makes it another's file
                found = [str(problem)]
            assert found, f"byte {at} of {path.name}"
            if path.name == "beta.json":
                assert found == ["hosts/beta.json was edited after it was recorded: its digest does not match"]
        path.write_bytes(good)
    assert proved(bundle) == []


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_file_that_was_cut(bundle: Path, size: int) -> None:
    path = bundle / "hosts" / "beta.json"
    whole = path.stat().st_size
    os.truncate(path, size % whole)
    assert proved(bundle) == [
        f"hosts/beta.json was cut: {size % whole} of the {whole} bytes that were recorded are there"
    ]
    assert refused(bundle)


def test_a_manifest_that_was_cut(bundle: Path) -> None:
    path = bundle / "manifest.json"
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        (found,) = proved(bundle)
        assert found.startswith("manifest.json is not JSON")
    path.write_bytes(whole[:-1])
    (found,) = proved(bundle)
    assert "manifest.json was edited" in found
    assert refused(bundle)


def test_a_file_that_has_gone(bundle: Path) -> None:
    (bundle / "hosts" / "beta.json").unlink()
    assert proved(bundle) == ["hosts/beta.json is missing: the bundle is incomplete"]
    shutil.rmtree(bundle / "hosts")
    assert len(proved(bundle)) == 3
    assert refused(bundle)


@pytest.mark.parametrize(
    "name", ["note.txt", "hosts/delta.json", "hosts/.hidden", "manifest.json.bak", "hosts/beta.JSON"]
)
def test_a_file_that_was_added(bundle: Path, name: str) -> None:
    (bundle / name).write_text("{}")
    assert proved(bundle) == [f"{name} is no part of the bundle: it was added"]
    assert refused(bundle)


def test_a_folder_that_was_added(bundle: Path) -> None:
    (bundle / "hosts" / "more").mkdir()
    (bundle / "more").mkdir()
    assert len(proved(bundle)) == 2


def test_a_crowd_of_added_files_is_counted(bundle: Path) -> None:
    for number in range(1000):
        (bundle / "hosts" / f"x{number}").touch()
    found = proved(bundle)
    assert len(found) == 21
    assert found[-1] == "980 more are no part of the bundle"


@pytest.mark.parametrize("name", ["hosts/beta.json", "manifest.json", "hosts"])
def test_a_symbolic_link(bundle: Path, tmp_path: Path, name: str) -> None:
    """Even to the very same content: what it points at can change behind the bundle's back."""
    (bundle / name).rename(tmp_path / "elsewhere")
    (bundle / name).symlink_to(tmp_path / "elsewhere")
    assert f"{name} is a symbolic link: a bundle holds plain files alone" in proved(bundle)
    assert refused(bundle)


def test_a_dangling_link_beside_the_manifest(bundle: Path) -> None:
    (bundle / "manifest.json.sig").symlink_to("nowhere")
    assert proved(bundle) == ["manifest.json.sig is a symbolic link: a bundle holds plain files alone"]


@pytest.mark.parametrize("name", ["hosts/beta.json", "manifest.json"])
def test_a_named_pipe_holds_nobody(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    assert f"{name} is no plain file" in proved(bundle)


@pytest.mark.parametrize("name", ["hosts/beta.json", "manifest.json"])
def test_a_file_of_more_than_64_megabytes(bundle: Path, name: str) -> None:
    os.truncate(bundle / name, CAP + 1)
    assert proved(bundle) == [f"{name} is larger than 64 MB: nothing that Clawkeep writes there is"]
    assert refused(bundle)


def test_bytes_that_are_no_utf8(bundle: Path) -> None:
    path = bundle / "hosts" / "beta.json"
    path.write_bytes(path.read_bytes().replace(b"ports", b"p\xffrts"))
    assert proved(bundle) == ["hosts/beta.json was edited after it was recorded: its digest does not match"]
    path = bundle / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"ssh says no", b"ssh \xc3\x28 no"))
    (found,) = proved(bundle)
    assert found.startswith("manifest.json is not JSON: 'utf-8' codec")


def test_nesting_without_end(bundle: Path) -> None:
    (bundle / "manifest.json").write_bytes(b'{"schema": 2, "site": ' + b"[" * 100_000)
    (found,) = proved(bundle)
    assert found.startswith("manifest.json is not JSON")


HEAD_EDITED = (
    "manifest.json: what it says of the run (tool, started, limited, site, signed_by) was edited after it was recorded"
)

# What a hand does that mends the manifest's own digest, but does not know of the chain.
EDITS = {
    "a tier": (
        lambda m: m["hosts"][1].update(tier="tier9"),
        ["manifest.json: the entry of the host beta was edited after it was recorded"],
    ),
    "when": (
        lambda m: m.update(started="2027-01-02T03:04:05Z"),
        [HEAD_EDITED],
    ),
    "the site": (
        lambda m: m["site"].update(admin_networks=["0.0.0.0/0"]),
        [HEAD_EDITED],
    ),
    "the first host removed": (
        lambda m: m["hosts"].pop(0),
        ["manifest.json: the host alpha, recorded before beta, was removed"],
    ),
    "a host removed": (
        lambda m: m["hosts"].pop(1),
        ["manifest.json: the host beta, recorded before gamma, was removed"],
    ),
    "the last host removed": (
        lambda m: m["hosts"].pop(),
        ["manifest.json: the host delta, recorded last, was removed"],
    ),
    "a host removed and its neighbour mended": (
        lambda m: m["hosts"].pop(1) and m["hosts"][1].update(after="alpha"),
        ["manifest.json: the entry of the host gamma was edited after it was recorded"],
    ),
    "two hosts in each other's place": (
        lambda m: m["hosts"].insert(0, m["hosts"].pop(1)),
        [
            "manifest.json: the host beta was recorded after alpha and stands first: moved, or one added",
            "manifest.json: the host alpha was recorded first and stands after beta: moved, or one added",
            "manifest.json: the host gamma was recorded after beta and stands after alpha: moved, or one added",
        ],
    ),
    "the last host moved": (
        lambda m: m["hosts"].insert(0, m["hosts"].pop()),
        [
            "manifest.json: the host delta was recorded after gamma and stands first: moved, or one added",
            "manifest.json: the host alpha was recorded first and stands after delta: moved, or one added",
            "manifest.json: the host gamma stands last, where delta was recorded: moved, or one added",
        ],
    ),
    "a host added": (
        lambda m: m["hosts"].append({**m["hosts"][-1], "name": "omega", "after": "delta"}),
        [
            "manifest.json: the entry of the host omega was edited after it was recorded",
            "manifest.json: the host omega stands last, where delta was recorded: moved, or one added",
        ],
    ),
    "a host under another name": (
        lambda m: m["hosts"][1].update(name="omega"),
        [
            "manifest.json: the entry of the host omega was edited after it was recorded",
            "manifest.json: the host beta, recorded before gamma, was removed",
        ],
    ),
    "two hosts' evidence exchanged": (
        lambda m: [
            m["hosts"][0].update(file="beta.json", sha256=m["hosts"][1]["sha256"]),
            m["hosts"][1].update(file="alpha.json", sha256=m["hosts"][0]["sha256"]),
        ],
        [
            "manifest.json: the entry of the host alpha was edited after it was recorded",
            "manifest.json: the entry of the host beta was edited after it was recorded",
        ],
    ),
}


@pytest.mark.parametrize(("how", "named"), EDITS.values(), ids=EDITS.keys())
def test_an_edited_manifest_is_named_where_it_was_edited(
    bundle: Path, edit: Callable[..., None], how: Callable[[dict[str, Any]], object], named: list[str]
) -> None:
    edit(bundle, how)
    assert proved(bundle)[: len(named)] == named
    assert refused(bundle)


@pytest.mark.parametrize(("how", "named"), EDITS.values(), ids=EDITS.keys())
def test_an_edited_manifest_is_named_whatever_its_own_digest(
    bundle: Path, edit: Callable[..., None], how: Callable[[dict[str, Any]], object], named: list[str]
) -> None:
    edit(bundle, how, digest=False)
    assert proved(bundle)[: len(named)] == named


def test_a_host_removed_with_its_file_and_its_entry(bundle: Path, edit: Callable[..., None]) -> None:
    (bundle / "hosts" / "beta.json").unlink()
    edit(bundle, lambda m: m["hosts"].pop(1))
    assert proved(bundle) == ["manifest.json: the host beta, recorded before gamma, was removed"]


def test_two_files_exchanged(bundle: Path) -> None:
    alpha, beta, spare = (bundle / "hosts" / name for name in ("alpha.json", "beta.json", "spare"))
    alpha.rename(spare)
    beta.rename(alpha)
    spare.rename(beta)
    said = "holds what was recorded of the host {}: the evidence of two hosts was exchanged"
    assert proved(bundle) == [f"hosts/alpha.json {said.format('beta')}", f"hosts/beta.json {said.format('alpha')}"]
    assert refused(bundle)


def test_evidence_of_another_host_under_a_new_seal(bundle: Path) -> None:
    """Whoever makes all digests anew is found by the signature alone, but a host's evidence names its host."""
    path = bundle / "manifest.json"
    old = json.loads(path.read_text())
    entries = [{k: v for k, v in e.items() if k not in {"after", "chain"}} for e in old["hosts"]]
    for key in ("file", "sha256", "size"):
        entries[0][key], entries[1][key] = entries[1][key], entries[0][key]
    path.write_bytes(encode(seal({k: old[k] for k in ("tool", "started", "limited", "site", "signed_by")}, entries)))
    assert proved(bundle) == [
        "hosts/beta.json is the evidence of 'beta', not of the host alpha",
        "hosts/alpha.json is the evidence of 'alpha', not of the host beta",
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: json.dumps(json.loads(text)),
        lambda text: text.replace('"last"', '"last": "omega",\n "last"'),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("a site", "a\\u0020site"),
        lambda text: json.dumps(json.loads(text), indent=1),
    ],
)
def test_the_manifest_in_another_spelling(bundle: Path, change: Callable[[str], str]) -> None:
    """The same content in other bytes: a reader that takes the first of two equal keys would read another story."""
    path = bundle / "manifest.json"
    before = path.read_text()
    path.write_text(change(before))
    if path.read_text() == before:
        pytest.fail("nothing was changed")
    (found,) = proved(bundle)
    assert re.search("has other spaces, another order or a key twice", found)
    assert refused(bundle)


@pytest.mark.parametrize("key", ["start", "last", "hosts", "sha256", "signed_by", "site"])
def test_a_key_that_has_gone(bundle: Path, key: Key) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[key]
    path.write_bytes(encode(manifest))
    assert proved(bundle) == [f"manifest.json is not as Clawkeep writes it: {key}: field required"]


def test_a_key_that_was_added(bundle: Path, edit: Callable[..., None]) -> None:
    edit(bundle, lambda m: m.update(note="all is well"))
    (found,) = proved(bundle)
    assert found.startswith("manifest.json is not as Clawkeep writes it: note: extra inputs")
