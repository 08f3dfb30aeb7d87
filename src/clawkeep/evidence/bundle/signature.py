"""Who recorded a bundle: the manifest's signature by an ssh key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from clawkeep.base import sshsig
from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence.bundle.files import MANIFEST, SIGNATURE, Tampered
from clawkeep.evidence.bundle.manifest import Manifest

NAMESPACE = "clawkeep-evidence"  # what a signature is for: one made for a git commit or a file is none of ours
CAP = 64 * 1024  # bytes of a signature
TRIAL = b"clawkeep: can this key sign?\n"

_GOOD = re.compile(r"^Good .* signature .*with \S+ key (SHA256:[A-Za-z0-9+/=]+)\s*$", re.M)


@dataclass(frozen=True)
class Key:
    """A key that can sign: its file (private, or public with the private half in ssh-agent) and fingerprint."""

    file: Path
    fingerprint: str

    def sign(self, data: bytes) -> bytes:
        """The armoured signature of `data`; raises ClawkeepError with a sentence when the key does not give one."""
        armour = sshsig.sign(data, self.file, NAMESPACE).encode("ascii")
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
    return Key(file, _fingerprint(TRIAL, sshsig.sign(TRIAL, file, NAMESPACE).encode("ascii")))


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


def _fingerprint(data: bytes, armour: bytes) -> str:
    """The fingerprint of the key that signed `data`; raises Tampered when `armour` is no such signature."""
    answer = _checked("check-novalidate", data, armour)
    found = _GOOD.search(answer.out)
    if answer.good and found:
        return found.group(1)
    if "namespace does not match" in answer.complaint:
        raise Tampered(f"{SIGNATURE} was made for another purpose: its namespace is not {NAMESPACE}")
    if "incorrect signature" in answer.complaint:
        raise Tampered(f"{SIGNATURE} is not of this {MANIFEST}: one of the two was exchanged or edited")
    raise Tampered(f"{SIGNATURE} is no signature: {answer.reason}")


def _signer(manifest: Manifest, data: bytes, armour: bytes, key: str, allowed: Allowed) -> str:
    """The allowed signer whose signature it is; validity is judged when the bundle says it was recorded, or merged."""
    at = "-Overify-time=" + re.sub(r"\D", "", manifest.merged or manifest.started)
    known = ("-f", str(allowed.file), at)
    names, said = [allowed.identity] if allowed.identity is not None else [], ""
    if not names:
        answer = _checked("find-principals", data, armour, *known)
        names, said = answer.out.splitlines(), answer.complaint
    for name in names:
        answer = _checked("verify", data, armour, *known, "-I", name)
        if answer.good and _GOOD.search(answer.out):
            return name
        said = answer.complaint
    whom = f" as {allowed.identity}" if allowed.identity is not None else ""
    reasons = [line for line in said.splitlines() if line.startswith(f"{allowed.file}:")]
    why = f" ({reasons[-1]})" if reasons else ""
    raise Tampered(f"{SIGNATURE} is by the key {key}, which {allowed.file} does not allow{whom}{why}")


def _checked(how: str, data: bytes, armour: bytes, *more: str) -> sshsig.Answer:
    return sshsig.check(how, data, armour, NAMESPACE, *more)
