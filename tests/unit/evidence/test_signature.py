"""Who signed a bundle: a signature counts for this manifest, this purpose and an allowed signer, or not at all."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from clawkeep.base import repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence import store
from clawkeep.evidence.bundle import signature
from clawkeep.evidence.bundle.bundle import open_bundle
from clawkeep.evidence.bundle.files import Tampered
from clawkeep.evidence.bundle.signature import Allowed, Author, Key, Unsigned

from .conftest import STARTED, MakePath, observed


def author(folder: Path, allowed: Allowed | None = None) -> Author:
    """Who signed a bundle that is signed."""
    found = open_bundle(folder).author(allowed)
    assert found is not None
    return found


def signed_again(folder: Path, key: Path, namespace: str = signature.NAMESPACE) -> Path:
    """Sign the manifest as it lies there, by hand."""
    beside = folder / "manifest.json.sig"
    beside.unlink(missing_ok=True)
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", namespace, str(folder / "manifest.json")]
    subprocess.run(argv, check=True, capture_output=True)
    return beside


def test_a_signed_bundle_is_good_and_names_its_signer(save: MakePath, key: Key, allow: MakePath) -> None:
    bundle = open_bundle(save(key))
    assert list(bundle.findings()) == []
    assert bundle.manifest.signed_by == key.fingerprint
    assert bundle.author() == Author(key.fingerprint, None)
    allowed = allow(key.file)
    assert bundle.author(Allowed(allowed)) == Author(key.fingerprint, "ada@example.org")
    assert bundle.author(Allowed(allowed, "ada@example.org")) == Author(key.fingerprint, "ada@example.org")


def test_it_can_be_proved_without_clawkeep(save: MakePath, key: Key, allow: MakePath) -> None:
    """What the guide tells an auditor: OpenSSH for the manifest, SHA-256 for the files."""
    folder = save(key)
    argv = ["ssh-keygen", "-Y", "verify", "-f", str(allow(key.file)), "-I", "ada@example.org"]
    argv += ["-n", "clawkeep-evidence", "-s", str(folder / "manifest.json.sig")]
    with (folder / "manifest.json").open("rb") as manifest:
        assert subprocess.run(argv, stdin=manifest, capture_output=True, check=False).returncode == 0
    guide = (repo.find(Path(__file__)).root / "docs" / "guides" / "evidence.md").read_text()
    assert f"ssh-keygen -Y verify -f ../signers -I verifier@production -n {signature.NAMESPACE}" in guide
    (script,) = map(textwrap.dedent, re.findall(r'python3 -c "\n(.*?)"$', guide, re.M | re.S))

    def changed() -> str:
        argv = [sys.executable, "-c", script]
        return subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True).stdout

    assert changed() == ""
    (folder / "hosts" / "beta.json").write_text("{}")
    assert changed() == "beta.json was changed\n"


def test_an_unsigned_bundle_is_allowed_unless_a_signer_is_asked_for(bundle: Path, key: Key, allow: MakePath) -> None:
    assert open_bundle(bundle).author() is None
    with pytest.raises(Unsigned, match="is not signed"):
        open_bundle(bundle).author(Allowed(allow(key.file)))


def test_a_signature_that_was_taken_away(save: MakePath, key: Key) -> None:
    folder = save(key)
    (folder / "manifest.json.sig").unlink()
    with pytest.raises(Tampered, match=f"manifest.json.sig is missing: .* {re.escape(key.fingerprint)} signed it"):
        open_bundle(folder).author()


def test_a_signature_of_another_key(save: MakePath, key: Key, keygen: MakePath, allow: MakePath) -> None:
    folder = save(key)
    signed_again(folder, keygen("eve"))
    for allowed in (None, Allowed(allow(key.file))):
        with pytest.raises(Tampered, match=r"is by the key SHA256:\S+, but manifest.json says that SHA256:\S+ signed"):
            open_bundle(folder).author(allowed)


def test_a_bundle_that_was_recorded_by_somebody_else(save: MakePath, keygen: MakePath, allow: MakePath) -> None:
    """All of it new, and signed: good in itself, and yet not of the one who is allowed."""
    folder = save(signature.ready(keygen("eve")))
    allowed = allow(keygen("ada"))
    assert author(folder).signer is None
    with pytest.raises(Tampered, match=f"which {allowed} does not allow"):
        open_bundle(folder).author(Allowed(allowed))


def test_an_allowed_signer_is_not_another_one(save: MakePath, key: Key, allow: MakePath) -> None:
    folder = save(key)
    with pytest.raises(Tampered, match="does not allow as bob"):
        open_bundle(folder).author(Allowed(allow(key.file), "bob"))


def test_a_signature_of_another_manifest(save: MakePath, key: Key) -> None:
    first, second = save(key), save(key, more=1)
    shutil.copy(first / "manifest.json.sig", second / "manifest.json.sig")
    with pytest.raises(Tampered, match=r"manifest.json.sig is not of this manifest.json"):
        open_bundle(second).author()


def test_a_signature_of_another_purpose(save: MakePath, key: Key) -> None:
    folder = save(key)
    signed_again(folder, key.file, "git")
    with pytest.raises(Tampered, match="another purpose: its namespace is not clawkeep-evidence"):
        open_bundle(folder).author()


def test_a_signer_who_is_allowed_for_another_purpose(save: MakePath, key: Key, allow: MakePath) -> None:
    folder = save(key)
    assert author(folder, Allowed(allow(key.file, options='namespaces="clawkeep-evidence"'))).signer
    with pytest.raises(Tampered, match="not permitted for use in signature namespace"):
        open_bundle(folder).author(Allowed(allow(key.file, options='namespaces="git"')))


def test_a_signer_counts_for_the_time_that_the_bundle_names(save: MakePath, key: Key, allow: MakePath) -> None:
    folder = save(key)  # 2026-01-02
    assert author(folder, Allowed(allow(key.file, options='valid-before="20260103"'))).signer
    for options in ('valid-before="20260102"', 'valid-after="20260103"'):
        with pytest.raises(Tampered, match=r"does not allow .*verify time 2026-01-02T03:04:05"):
            open_bundle(folder).author(Allowed(allow(key.file, options=options)))


def test_a_signers_time_is_utc_wherever_it_is_looked_at(
    save: MakePath, key: Key, allow: MakePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    options = 'valid-after="20260102030400Z",valid-before="20260102030500Z"'
    assert author(save(key), Allowed(allow(key.file, options=options))).signer


@pytest.mark.parametrize("cut", [0, 1, 40, 200, -1, -30])
def test_a_signature_that_was_cut(save: MakePath, key: Key, cut: int) -> None:
    folder = save(key)
    path = folder / "manifest.json.sig"
    path.write_bytes(path.read_bytes()[:cut])
    if cut == -1:  # the line's end alone: nothing that OpenSSH or we would miss
        assert author(folder).key == key.fingerprint
        return
    with pytest.raises(Tampered, match=r"manifest.json.sig is no"):
        open_bundle(folder).author()


@pytest.mark.parametrize(
    "junk", [b"", b"\xff\xfe" * 50, b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"]
)
def test_a_signature_that_is_none(save: MakePath, key: Key, junk: bytes) -> None:
    folder = save(key)
    (folder / "manifest.json.sig").write_bytes(junk)
    with pytest.raises(Tampered, match=r"manifest.json.sig is no signature"):
        open_bundle(folder).author()


def test_a_signature_of_no_size(save: MakePath, key: Key) -> None:
    folder = save(key)
    os.truncate(folder / "manifest.json.sig", signature.CAP + 1)
    with pytest.raises(Tampered, match=r"manifest.json.sig is larger than 64 kB"):
        open_bundle(folder)


def test_a_signature_that_was_added_by_hand_counts(bundle: Path, key: Key, allow: MakePath) -> None:
    """Evidence that was kept unsigned may be signed later; the manifest names nobody then."""
    signed_again(bundle, key.file)
    assert author(bundle, Allowed(allow(key.file))).signer == "ada@example.org"


@pytest.mark.parametrize("text", ["", "# nobody\n", "nonsense\n", "ada ssh-ed25519 AAAA\n", "\xff\n"])
def test_allowed_signers_that_allow_nobody(save: MakePath, key: Key, tmp_path: Path, text: str) -> None:
    (tmp_path / "allowed").write_text(text, encoding="latin-1")
    with pytest.raises(Tampered, match="does not allow"):
        open_bundle(save(key)).author(Allowed(tmp_path / "allowed"))


def test_allowed_signers_that_are_not_there(save: MakePath, key: Key, tmp_path: Path) -> None:
    for path, why in ((tmp_path / "nowhere", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ClawkeepError, match=f"cannot be read: {why}") as refused:
            open_bundle(save(key)).author(Allowed(path))
        assert not isinstance(refused.value, Tampered)


def test_a_key_in_the_agent_signs_without_its_file(
    keygen: MakePath, save: MakePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keygen("ada")
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert agent.stdout is not None
        agent.stdout.readline()  # it listens by now
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", str(key)], check=True, capture_output=True)
        key.unlink()
        ready = signature.ready(key.with_name("ada.pub"))
        assert author(save(ready)).key == ready.fingerprint
    finally:
        agent.terminate()
        agent.wait()


def test_a_key_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ClawkeepError, match=r"there is no key .*/nokey: make one with `ssh-keygen -t ed25519"):
        signature.ready(tmp_path / "nokey")


def test_a_key_that_others_may_read(keygen: MakePath) -> None:
    path = keygen()
    path.chmod(0o644)
    with pytest.raises(ClawkeepError, match=f"others may read it; take that from them with `chmod 600 {path}`"):
        signature.ready(path)


def test_a_key_that_is_encrypted_asks_nobody(keygen: MakePath) -> None:
    path = keygen(encrypted=True)
    with pytest.raises(ClawkeepError, match=f"it is encrypted; load it into ssh-agent with `ssh-add {path}`"):
        signature.ready(path)


def test_a_public_key_whose_private_half_is_nowhere(keygen: MakePath) -> None:
    path = keygen()
    path.rename(path.with_name("away"))
    with pytest.raises(ClawkeepError, match="cannot sign: its private half is neither beside it nor in ssh-agent"):
        signature.ready(path.with_name("ada.pub"))


@pytest.mark.parametrize("content", ["", "no key at all\n", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_a_file_that_is_no_key(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ClawkeepError, match="cannot sign: it is no key that ssh-keygen can read"):
        signature.ready(path)


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(ClawkeepError, match="cannot be read: Is a directory"):
        signature.ready(tmp_path)


def test_without_openssh_there_is_one_sentence(key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClawkeepError, match="ssh-keygen is not installed: install OpenSSH's client"):
        signature.ready(key.file)


def test_a_key_that_was_exchanged_meanwhile_signs_nothing(key: Key, keygen: MakePath) -> None:
    keygen("eve").rename(key.file)
    key.file.with_name("eve.pub").rename(key.file.with_name("ada.pub"))
    with pytest.raises(ClawkeepError, match="was exchanged while this ran"):
        key.sign(b"something")


def test_a_key_that_fails_late_leaves_the_evidence_unsigned_and_whole(key: Key, tmp_path: Path) -> None:
    key.file.unlink()
    saved = store.save(tmp_path / "kept", [observed("alpha")], STARTED, key)
    assert saved.signed_by is None
    assert "there is no key" in saved.problem
    bundle = open_bundle(tmp_path / "kept")
    assert (list(bundle.findings()), bundle.author(), bundle.manifest.digest) == ([], None, saved.digest)


def test_no_private_key_is_in_a_bundle(save: MakePath, key: Key) -> None:
    folder = save(key)
    secret = key.file.read_bytes().splitlines()
    held = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"PRIVATE" not in held
    assert not any(line in held for line in secret[2:-1])
    assert sorted(path.name for path in folder.iterdir()) == ["hosts", "manifest.json", "manifest.json.sig"]
