"""Who recorded a bundle: the manifest's signature, made and checked by OpenSSH's `ssh-keygen -Y`.

Private keys stay where they are, in their file or in ssh-agent: ssh-keygen alone reads them.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from clawkeep.errors import ClawkeepError
from clawkeep.evidence.bundle.files import MANIFEST, SIGNATURE, Tampered
from clawkeep.evidence.bundle.manifest import Manifest

NAMESPACE = "clawkeep-evidence"  # what a signature is for: one made for a git commit or a file is none of ours
CAP = 64 * 1024  # bytes of a signature
PATIENCE = 120  # seconds; a security key may have to be touched, an agent may ask
TRIAL = b"clawkeep: can this key sign?\n"

_GOOD = re.compile(r"^Good .* signature .*with \S+ key (SHA256:[A-Za-z0-9+/=]+)\s*$", re.M)


@dataclass(frozen=True)
class Key:
    """A key that can sign: its file (private, or public with the private half in ssh-agent) and fingerprint."""

    file: Path
    fingerprint: str

    def sign(self, data: bytes) -> bytes:
        """The armoured signature of `data`; raises ClawkeepError with a sentence when the key does not give one."""
        armour = _sign(self.file, data)
        if _fingerprint(data, armour) != self.fingerprint:
            raise ClawkeepError(f"the key {self.file} was exchanged while this ran: nothing is signed with it")
        return armour


@dataclass(frozen=True)
class Allowed:
    """Whose signatures count: an allowed signers file (ssh-keygen(1), ALLOWED SIGNERS), and which of them if one."""

    file: Path
    identity: str | None = None

    def check(self) -> None:
        """Raise ClawkeepError when the file cannot be read."""
        try:
            self.file.open("rb").close()
        except OSError as problem:
            raise ClawkeepError(f"the allowed signers {self.file} cannot be read: {problem.strerror}") from None


@dataclass(frozen=True)
class Author:
    """Whose signature a bundle bears: the key's fingerprint, and the allowed signer (None where none was asked)."""

    key: str
    signer: str | None = None


class Unsigned(ClawkeepError):
    """A signature was required, and the bundle never had one."""


def ready(file: Path) -> Key:
    """The key in `file`, proved able to sign by signing something of no meaning.

    Raises ClawkeepError with the remedy when it is missing, open to others, encrypted, or not where it should be.
    """
    return Key(file, _fingerprint(TRIAL, _sign(file, TRIAL)))


def author(manifest: Manifest, data: bytes, armour: bytes | None, allowed: Allowed | None = None) -> Author | None:
    """Who signed the manifest, whose bytes are `data`, by the signature `armour`; None when it is unsigned.

    Raises Tampered when the signature is removed, of another manifest, of another purpose, of another key than the
    manifest says or not of an allowed signer; Unsigned when there is none and `allowed` asks for one.
    """
    if allowed is not None:
        allowed.check()
    if armour is None:
        if manifest.signed_by is not None:
            raise Tampered(f"{SIGNATURE} is missing: {MANIFEST} says that {manifest.signed_by} signed it")
        if allowed is not None:
            raise Unsigned("the bundle is not signed, and a signature of an allowed signer is asked for")
        return None
    key = _fingerprint(data, armour)
    if manifest.signed_by not in {None, key}:
        raise Tampered(f"{SIGNATURE} is by the key {key}, but {MANIFEST} says that {manifest.signed_by} signed it")
    return Author(key, _signer(manifest, data, armour, key, allowed) if allowed is not None else None)


def _sign(file: Path, data: bytes) -> bytes:
    try:
        with file.open("rb"):
            pass
    except FileNotFoundError:
        raise ClawkeepError(f"there is no key {file}: make one with `ssh-keygen -t ed25519 -f {file}`") from None
    except OSError as problem:
        raise ClawkeepError(f"the key {file} cannot be read: {problem.strerror}") from None
    # An empty passphrase is tried and none is asked for: a run on a schedule must not wait for a person.
    done = _ssh_keygen("-Y", "sign", "-P", "", "-f", str(file), "-n", NAMESPACE, data=data)
    if done.returncode == 0 and done.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        return done.stdout
    said = done.stderr.decode("utf-8", "replace")
    for pattern, why in _REFUSALS:
        if re.search(pattern, said, re.I):
            raise ClawkeepError(f"the key {file} cannot sign: {why.format(file=file)}")
    raise ClawkeepError(f"the key {file} cannot sign: {_last(said)}")


_REFUSALS = (
    ("too open|unprotected private key", "others may read it; take that from them with `chmod 600 {file}`"),
    ("passphrase", "it is encrypted; load it into ssh-agent with `ssh-add {file}`"),
    ("no private key found", "its private half is neither beside it nor in ssh-agent; load it with `ssh-add`"),
    ("couldn't load public key|invalid format|error in libcrypto", "it is no key that ssh-keygen can read"),
)


def _fingerprint(data: bytes, armour: bytes) -> str:
    """The fingerprint of the key that signed `data`; raises Tampered when `armour` is no such signature."""
    done = _checked("check-novalidate", data, armour)
    found = _GOOD.search(done.stdout.decode("utf-8", "replace"))
    if done.returncode == 0 and found:
        return found.group(1)
    said = done.stderr.decode("utf-8", "replace")
    if "namespace does not match" in said:
        raise Tampered(f"{SIGNATURE} was made for another purpose: its namespace is not {NAMESPACE}")
    if "incorrect signature" in said:
        raise Tampered(f"{SIGNATURE} is not of this {MANIFEST}: one of the two was exchanged or edited")
    raise Tampered(f"{SIGNATURE} is no signature: {_last(said)}")


def _signer(manifest: Manifest, data: bytes, armour: bytes, key: str, allowed: Allowed) -> str:
    """The allowed signer whose signature it is; validity is judged at the time when the bundle says it was recorded."""
    at = "-Overify-time=" + re.sub(r"\D", "", manifest.started)
    known = ("-f", str(allowed.file), at)
    names, said = [allowed.identity] if allowed.identity is not None else [], ""
    if not names:
        done = _checked("find-principals", data, armour, *known)
        names = done.stdout.decode("utf-8", "replace").splitlines()
        said = done.stderr.decode("utf-8", "replace")
    for name in names:
        done = _checked("verify", data, armour, *known, "-I", name)
        if done.returncode == 0 and _GOOD.search(done.stdout.decode("utf-8", "replace")):
            return name
        said = done.stderr.decode("utf-8", "replace")
    whom = f" as {allowed.identity}" if allowed.identity is not None else ""
    reasons = [line for line in said.splitlines() if line.startswith(f"{allowed.file}:")]
    why = f" ({reasons[-1]})" if reasons else ""
    raise Tampered(f"{SIGNATURE} is by the key {key}, which {allowed.file} does not allow{whom}{why}")


def _checked(how: str, data: bytes, armour: bytes, *more: str) -> subprocess.CompletedProcess[bytes]:
    """Run a check of `armour`; ssh-keygen wants it in a file, and must see the bytes that were read, not others."""
    with tempfile.NamedTemporaryFile(prefix="clawkeep-", suffix=".sig") as file:
        file.write(armour)
        file.flush()
        return _ssh_keygen("-Y", how, "-n", NAMESPACE, "-s", file.name, *more, data=data)


def _ssh_keygen(*arguments: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run ssh-keygen with `data` on its standard input, in English and UTC, with no terminal to ask at."""
    asking = {"DISPLAY", "WAYLAND_DISPLAY", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE"}
    environment = {name: value for name, value in os.environ.items() if name not in asking}
    environment |= {"LC_ALL": "C", "TZ": "UTC"}
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments],
            input=data,
            capture_output=True,
            env=environment,
            start_new_session=True,
            timeout=PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        raise ClawkeepError("ssh-keygen is not installed: install OpenSSH's client, 8.2 or later") from None
    except subprocess.TimeoutExpired:
        raise ClawkeepError(
            f"ssh-keygen did not end within {PATIENCE} s: see what its key or agent waits for"
        ) from None


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "ssh-keygen gave no reason"
