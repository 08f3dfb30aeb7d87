"""The commands: `evidence verify` and `evidence show`, and what `verify` does with keys, signers and what is kept."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.conftest import CommandLine

from clawkeep.base import repo
from clawkeep.cli import verify as cli_verify
from clawkeep.evidence import store
from clawkeep.evidence.bundle.bundle import open_bundle
from clawkeep.evidence.bundle.signature import Key
from clawkeep.evidence.document import digest
from clawkeep.evidence.observation import Observation
from clawkeep.register import tiers
from clawkeep.site.inventory import Inventory

from .conftest import STARTED, MakePath, observed

CHECKOUT = repo.find(Path(__file__))
RECORDED = CHECKOUT.recorded / "tier1_personal"


def test_an_intact_bundle_is_0_and_told_to_be_unsigned(clawkeep: CommandLine, bundle: Path) -> None:
    ended, out, err = clawkeep("evidence", "verify", bundle)
    assert (ended, err) == (0, "")
    assert "4 hosts of the site a site, measured from 2026-01-02T03:04:05Z on" in out
    assert open_bundle(bundle).manifest.digest in out
    assert "every file is as the manifest says" in out
    assert "unsigned: nothing shows who recorded it (exit status 0)" in out


def test_a_signed_bundle_is_0_and_told_by_whom(
    clawkeep: CommandLine, save: MakePath, key: Key, allow: MakePath
) -> None:
    folder = save(key)
    ended, out, _ = clawkeep("evidence", "verify", folder)
    assert ended == 0
    assert f"signed with the key {key.fingerprint}, whose it is was not checked" in out
    allowed = allow(key.file)
    ended, out, _ = clawkeep("evidence", "verify", folder, "--allowed-signers", allowed)
    assert ended == 0
    assert f"signed by ada@example.org with the key {key.fingerprint}" in out
    assert clawkeep("evidence", "verify", folder, "--allowed-signers", allowed, "--identity", "ada@example.org")[0] == 0
    ended, out, _ = clawkeep("evidence", "verify", folder, "--allowed-signers", allowed, "--identity", "bob")
    assert ended == 1
    assert "does not allow as bob" in out


def test_tampering_is_1_and_every_file_is_named(clawkeep: CommandLine, save: MakePath, key: Key) -> None:
    folder = save(key)
    for name in ("alpha.json", "gamma.json"):
        with (folder / "hosts" / name).open("ab") as file:
            file.write(b"x")
    (folder / "note.txt").touch()
    (folder / "manifest.json.sig").unlink()
    ended, out, err = clawkeep("evidence", "verify", folder)
    assert (ended, err) == (1, "")
    assert out.count("was edited after it was recorded") == 2
    for said in ("hosts/alpha.json", "hosts/gamma.json", "note.txt is no part", "manifest.json.sig is missing"):
        assert said in out
    assert "not as it was recorded (exit status 1)" in out


def test_a_crowd_of_findings_is_counted(clawkeep: CommandLine, tmp_path: Path) -> None:
    store.save(tmp_path / "many", [observed(f"h{n}") for n in range(70)], STARTED)
    shutil.rmtree(tmp_path / "many" / "hosts")
    ended, out, _ = clawkeep("evidence", "verify", tmp_path / "many")
    assert ended == 1
    assert out.count("is missing") == 50
    assert "and 20 more" in out


def test_a_signature_that_is_asked_for_and_not_there_is_2(
    clawkeep: CommandLine, bundle: Path, key: Key, allow: MakePath
) -> None:
    ended, _, err = clawkeep("evidence", "verify", bundle, "--allowed-signers", allow(key.file))
    assert ended == 2
    assert err == "clawkeep: the bundle is not signed, and a signature of an allowed signer is asked for\n"
    (bundle / "hosts" / "beta.json").unlink()
    assert clawkeep("evidence", "verify", bundle, "--allowed-signers", allow(key.file))[0] == 1  # tampering is worse


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere",), "nowhere is no evidence: it has no manifest.json"),
        ((__file__,), "is no evidence"),
        (("BUNDLE", "--identity", "ada"), "--identity names one of the --allowed-signers"),
        (("BUNDLE", "--allowed-signers", "nowhere"), "the allowed signers nowhere cannot be read: No such file"),
        (("BUNDLE", "--report", "nowhere"), "nowhere cannot be read: No such file"),
        (("BUNDLE", "--report", __file__), "is no report.json of Clawkeep"),
    ],
)
def test_what_cannot_be_told_is_2_and_one_sentence(
    clawkeep: CommandLine, bundle: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    ended, _, err = clawkeep("evidence", "verify", *(bundle if a == "BUNDLE" else a for a in arguments))
    assert ended == 2
    assert sentence in err
    assert err.count("\n") == 1


def test_a_later_schema_is_2(clawkeep: CommandLine, bundle: Path, edit: Callable[..., None]) -> None:
    edit(bundle, lambda m: m.update(schema=4))
    ended, _, err = clawkeep("evidence", "verify", bundle)
    assert ended == 2
    assert "was written by a later Clawkeep: update this one" in err


def test_without_openssh_an_unsigned_bundle_is_proved_and_a_signed_one_not(
    clawkeep: CommandLine, save: MakePath, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed, unsigned = save(key), save()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert clawkeep("evidence", "verify", unsigned)[0] == 0
    ended, _, err = clawkeep("evidence", "verify", signed)
    assert ended == 2
    assert "ssh-keygen is not installed" in err


def test_the_bundle_of_the_repo_is_proved(clawkeep: CommandLine) -> None:
    ended, out, _ = clawkeep("evidence", "verify", RECORDED)
    assert ended == 0
    assert "1 host of the site lab" in out


def test_a_bundle_is_shown(clawkeep: CommandLine, save: MakePath, key: Key) -> None:
    ended, out, _ = clawkeep("evidence", "show", save(key))
    assert ended == 0
    assert f"signature: {key.fingerprint}" in out
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith(("alpha", "beta", "gamma", "delta"))}
    assert set(rows) == {"alpha", "beta", "gamma", "delta"}
    assert "tier1_x" in rows["alpha"]
    assert "0.2 kB" in rows["alpha"]
    assert "no: ssh says no" in rows["delta"]
    assert "nothing is proved by this list" in out


def test_a_bundle_that_was_tampered_with_is_shown_as_such(
    clawkeep: CommandLine, bundle: Path, edit: Callable[..., None]
) -> None:
    edit(bundle, lambda m: m["hosts"].pop(1))
    ended, out, _ = clawkeep("evidence", "show", bundle)
    assert ended == 0
    assert "this is not as it was recorded" in out


HOSTILE = "x\x1b[2J\x1b]0;owned\x07\u202egnp\u200d\u2028 [bold]red[/bold]\r\n2"


def test_hostile_names_move_no_cursor(clawkeep: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    store.save(folder, [observed(HOSTILE), observed(HOSTILE + "2", message=HOSTILE)], STARTED)
    (folder / "hosts" / "\x1b[2Jnote").touch()
    (folder / "hosts" / "\udcff").touch()
    for command in ("show", "verify"):
        _, out, err = clawkeep("evidence", command, folder)
        assert {c for c in out + err if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl"}} <= {"\n"}
    assert "[bold]red" in clawkeep("evidence", "show", folder)[1]


# `clawkeep verify`


@pytest.fixture
def recorded() -> list[Observation]:
    return store.load(RECORDED, tiers.load(CHECKOUT.tiers))


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch, recorded: list[Observation], tmp_path: Path) -> tuple[object, ...]:
    """`verify` on an inventory whose one host answers as the recorded one did; gives its arguments."""
    known = Inventory(Path("production"), tuple(o.host for o in recorded), recorded[0].site, {})
    monkeypatch.setattr("clawkeep.site.inventory.load", lambda *_, **__: known)
    monkeypatch.setattr(cli_verify, "observe", lambda *_, **__: recorded)
    return ("verify", "-i", "production", "--control", "NET-04", "--report", tmp_path / "r", "--save-evidence")


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No host may be contacted."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a host was contacted")

    monkeypatch.setattr("clawkeep.site.inventory.load", never)
    monkeypatch.setattr(cli_verify, "observe", never)


def report(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "r" / "report.json").read_text())


def test_a_live_run_is_kept_signed_and_its_report_rests_on_it(
    clawkeep: CommandLine, live: tuple[object, ...], tmp_path: Path, key: Key, allow: MakePath
) -> None:
    kept = tmp_path / "kept"
    ended, out, _ = clawkeep(*live, kept, "--sign-key", key.file)
    assert ended == 0
    manifest = open_bundle(kept).manifest
    assert f"evidence: {manifest.digest}, signed with the key {key.fingerprint}" in out
    assert report(tmp_path)["bundle"] == {
        "digest": manifest.digest,
        "key": key.fingerprint,
        "signer": None,
        "problem": "",
    }
    held = json.loads((kept / "hosts" / "lab-tier1.json").read_text())
    digests = {digest(v) for s in ("commands", "facts") for v in held["inside"][s].values()}
    cited = [e for e in report(tmp_path)["results"][0]["evidence"] if e["source"].startswith("inside: ")]
    assert cited
    assert {e["digest"] for e in cited} <= digests
    arguments = ("--allowed-signers", allow(key.file), "--report", tmp_path / "r" / "report.json")
    assert clawkeep("evidence", "verify", kept, *arguments)[0] == 0


def test_a_report_of_another_run_is_1(
    clawkeep: CommandLine, live: tuple[object, ...], tmp_path: Path, recorded: list[Observation]
) -> None:
    assert clawkeep(*live, tmp_path / "one")[0] == 0
    store.save(tmp_path / "two", recorded, STARTED)
    ended, out, _ = clawkeep("evidence", "verify", tmp_path / "two", "--report", tmp_path / "r" / "report.json")
    assert ended == 1
    assert "rests on the bundle sha256:" in out


def test_an_unsigned_run_says_so(clawkeep: CommandLine, live: tuple[object, ...], tmp_path: Path) -> None:
    ended, out, _ = clawkeep(*live, tmp_path / "kept")
    assert ended == 0
    assert "unsigned: nothing shows who recorded it" in out
    assert report(tmp_path)["bundle"]["key"] is None


def test_a_run_that_keeps_nothing_names_no_bundle(
    clawkeep: CommandLine, live: tuple[object, ...], tmp_path: Path
) -> None:
    assert clawkeep(*live[:-1])[0] == 0
    assert report(tmp_path)["bundle"] is None


def test_a_key_that_fails_after_the_hosts_were_measured_is_2_and_nothing_is_lost(
    clawkeep: CommandLine,
    live: tuple[object, ...],
    tmp_path: Path,
    key: Key,
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[Observation],
) -> None:
    def gone(*_: object, **__: object) -> list[Observation]:
        key.file.unlink()
        return recorded

    monkeypatch.setattr(cli_verify, "observe", gone)
    ended, out, _ = clawkeep(*live, tmp_path / "kept", "--sign-key", key.file)
    assert ended == 2
    assert "the evidence is not signed as was asked for: there is no key" in out
    assert report(tmp_path)["exit_status"] == 2
    assert report(tmp_path)["results"][0]["status"] == "pass"
    assert clawkeep("evidence", "verify", tmp_path / "kept")[0] == 0


def test_a_folder_that_fails_after_the_hosts_were_measured_is_2_and_the_report_is_there(
    clawkeep: CommandLine,
    live: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[Observation],
) -> None:
    def meanwhile(*_: object, **__: object) -> list[Observation]:
        (tmp_path / "kept").write_text("")
        return recorded

    monkeypatch.setattr(cli_verify, "observe", meanwhile)
    ended, out, _ = clawkeep(*live, tmp_path / "kept")
    assert ended == 2
    assert "the evidence is not kept as was asked for" in out
    assert report(tmp_path)["results"][0]["status"] == "pass"


@pytest.mark.usefixtures("unreachable")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-i", "x", "--sign-key", "k"), "--sign-key signs what --save-evidence keeps: give both"),
        (("--evidence", "b", "--sign-key", "k"), "--sign-key signs what --save-evidence keeps: give both"),
        (("-i", "x", "--save-evidence", "new", "--sign-key", "nowhere"), "there is no key nowhere"),
        (("-i", "x", "--save-evidence", "new", "--sign-key", "ENCRYPTED"), "it is encrypted; load it into ssh-agent"),
        (("-i", "x", "--save-evidence", "new", "--sign-key", "OPEN"), "take that from them with `chmod 600"),
        (("-i", "x", "--save-evidence", "BUNDLE"), "is not empty: save evidence into a new folder"),
        (("-i", "x", "--save-evidence", __file__), "the evidence cannot be saved to"),
        (("-i", "x", "--allowed-signers", __file__), "it goes with --evidence"),
        (("--evidence", "BUNDLE", "--identity", "ada"), "--identity names one of the --allowed-signers: give both"),
    ],
)
def test_a_mistake_is_told_before_a_host_is_contacted(
    clawkeep: CommandLine,
    keygen: MakePath,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"BUNDLE": bundle, "ENCRYPTED": keygen("locked", encrypted=True), "OPEN": keygen("open")}
    places["OPEN"].chmod(0o640)
    ended, out, err = clawkeep("verify", *(places.get(a, a) for a in arguments))
    assert (ended, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert not Path("new").exists()


@pytest.mark.usefixtures("unreachable")
def test_a_replay_wants_the_signature_that_was_asked_for(
    clawkeep: CommandLine,
    recorded: list[Observation],
    tmp_path: Path,
    key: Key,
    keygen: MakePath,
    allow: MakePath,
) -> None:
    store.save(tmp_path / "signed", recorded, STARTED, key)
    store.save(tmp_path / "unsigned", recorded, STARTED)
    replay = ("verify", "--control", "NET-04", "--report", tmp_path / "r", "--evidence")
    allowed, other = allow(key.file), allow(keygen("eve"))
    ended, out, _ = clawkeep(*replay, tmp_path / "signed", "--allowed-signers", allowed)
    assert ended == 0
    assert "signed by ada@example.org" in out
    assert report(tmp_path)["bundle"]["signer"] == "ada@example.org"
    for folder, signers, sentence in (
        ("signed", other, "does not allow"),
        ("unsigned", allowed, "the bundle is not signed"),
    ):
        ended, _, err = clawkeep(*replay, tmp_path / folder, "--allowed-signers", signers)
        assert ended == 2
        assert sentence in err
    (tmp_path / "signed" / "manifest.json.sig").unlink()
    ended, _, err = clawkeep(*replay, tmp_path / "signed")
    assert ended == 2
    assert "manifest.json.sig is missing" in err


@pytest.mark.usefixtures("unreachable")
def test_a_replay_of_tampered_evidence_is_2(clawkeep: CommandLine, recorded: list[Observation], tmp_path: Path) -> None:
    store.save(tmp_path / "kept", recorded, STARTED)
    (tmp_path / "kept" / "hosts" / "note").touch()
    ended, out, err = clawkeep("verify", "--control", "NET-04", "--evidence", tmp_path / "kept")
    assert (ended, out) == (2, "")
    assert "hosts/note is no part of the bundle" in err


def test_help_tells_the_exit_statuses(clawkeep: CommandLine) -> None:
    out = " ".join(clawkeep("evidence", "verify", "--help")[1].split())
    for words in ("0 it is as it was recorded", "1 it was changed", "2 it cannot be told"):
        assert words in out
