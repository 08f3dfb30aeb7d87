"""Signatures with ssh keys: `ssh-keygen -Y` (OpenSSH 8.2 and newer), run here and nowhere else.

Private keys stay where they are, in their file or in ssh-agent: ssh-keygen alone reads them. It has neither a terminal
nor an askpass program, so nobody is ever asked for a passphrase, and what it prints is not shown.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clawkeep.base.errors import ClawkeepError

LONGEST = 16_000  # characters of a signature in a file that people write
PATIENCE = 120  # seconds; a security key may have to be touched, an agent may ask
ARMOUR = re.compile(r"-----BEGIN SSH SIGNATURE-----\n[A-Za-z0-9+/=\n]+\n-----END SSH SIGNATURE-----\n?")
KEY = re.compile(r"(?:ssh-|sk-ssh-|ecdsa-sha2-|sk-ecdsa-sha2-)[a-z0-9@.-]{1,60} [A-Za-z0-9+/=]{16,8000}")
SIGNER = "signer"  # under this name the keys of whoever must have signed are given to ssh-keygen
ASKING = frozenset({"DISPLAY", "WAYLAND_DISPLAY", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE"})

_REFUSALS = (  # what ssh-keygen says, and the remedy
    ("too open|unprotected private key", "others may read it; take that from them with `chmod 600 {key}`"),
    ("passphrase", "it is encrypted; load it into ssh-agent with `ssh-add {key}`"),
    ("no private key found", "its private half is neither beside it nor in ssh-agent; load it with `ssh-add`"),
    ("couldn't load public key|invalid format|error in libcrypto", "it is no key that ssh-keygen can read"),
)


@dataclass(frozen=True)
class Answer:
    """How ssh-keygen ended: whether with status 0, what it printed, and what it complained about."""

    good: bool
    out: str
    complaint: str

    @property
    def reason(self) -> str:
        """The last line of its complaint."""
        lines = [line.strip() for line in self.complaint.splitlines() if line.strip()]
        return lines[-1] if lines else "ssh-keygen gave no reason"


def public_key(text: str) -> str:
    """The key of a line as in `id_ed25519.pub`, without its comment; raises ValueError when it is none."""
    found = KEY.fullmatch(" ".join(text.split()[:2]))
    if not found:
        raise ValueError("a key is the line of an ssh public key file: ssh-ed25519 AAAA...")
    return found.group()


def armoured(text: str) -> str:
    """`text`, when it is an armoured signature, with its last line ended; raises ValueError when it is none."""
    if len(text) > LONGEST or not ARMOUR.fullmatch(text):
        raise ValueError("a signature begins with -----BEGIN SSH SIGNATURE-----: `clawkeep attest` makes one")
    return text.rstrip("\n") + "\n"


def sign(message: bytes, key: Path, namespace: str) -> str:
    """The armoured signature of `message` by the private key at `key` (or the agent's, for a public one).

    Raises ClawkeepError with the remedy when the key gives none: it is missing, open to others, encrypted, or no key.
    """
    answer = _keygen("sign", namespace, message, "-P", "", "-f", str(key))  # an empty passphrase is tried
    if answer.good and ARMOUR.fullmatch(answer.out):
        return answer.out
    try:
        with key.open("rb"):
            pass
    except FileNotFoundError:
        raise ClawkeepError(f"there is no key {key}: make one with `ssh-keygen -t ed25519 -f {key}`") from None
    except OSError as problem:
        raise ClawkeepError(f"the key {key} cannot be read: {problem.strerror}") from None
    remedies = (why.format(key=key) for pattern, why in _REFUSALS if re.search(pattern, answer.complaint, re.I))
    raise ClawkeepError(f"the key {key} cannot sign: {next(remedies, answer.reason)}")


def check(how: str, message: bytes, signature: bytes, namespace: str, *more: str) -> Answer:
    """What ssh-keygen answers when `signature` is checked as `-Y` names `how`: a file holds the very bytes given."""
    with tempfile.NamedTemporaryFile(prefix="clawkeep-", suffix=".sig") as file:
        file.write(signature)
        file.flush()
        return _keygen(how, namespace, message, "-s", file.name, *more)


def verified(message: bytes, signature: str, keys: Iterable[str], namespace: str) -> bool:
    """Whether `signature` is one of `message`, for this namespace, by one of the public `keys`."""
    allowed = "".join(f'{SIGNER} namespaces="{namespace}" {public_key(key)}\n' for key in keys)
    with tempfile.NamedTemporaryFile("w", prefix="clawkeep-", suffix=".allowed", encoding="ascii") as file:
        file.write(allowed)
        file.flush()
        given = armoured(signature).encode("ascii")
        return check("verify", message, given, namespace, "-f", file.name, "-I", SIGNER).good


def _keygen(how: str, namespace: str, message: bytes, *more: str) -> Answer:
    """Run `ssh-keygen -Y` with `message` on its standard input, in English and UTC, with nobody to ask."""
    environment = {name: value for name, value in os.environ.items() if name not in ASKING}
    try:
        done = subprocess.run(
            ["ssh-keygen", "-Y", how, "-n", namespace, *more],
            input=message,
            capture_output=True,
            env=environment | {"LC_ALL": "C", "TZ": "UTC"},
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
    out, complaint = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    return Answer(done.returncode == 0, out, complaint)
