"""Signatures of persons with the ssh key they have: `ssh-keygen -Y sign` and `-Y verify` (OpenSSH 8.2 and newer)."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from clawkeep.errors import ClawkeepError

LONGEST = 16_000  # characters of a signature
SECONDS = 30  # for one look at a signature
ARMOUR = re.compile(r"-----BEGIN SSH SIGNATURE-----\n[A-Za-z0-9+/=\n]+\n-----END SSH SIGNATURE-----\n?")
KEY = re.compile(r"(?:ssh-|sk-ssh-|ecdsa-sha2-|sk-ecdsa-sha2-)[a-z0-9@.-]{1,60} [A-Za-z0-9+/=]{16,8000}")
SIGNER = "signer"  # under this name the keys of whoever must have signed are given to ssh-keygen


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
    """The signature of `message` by the private key at `key` (or the agent's, for a public one), as armoured text.

    ssh-keygen may ask for a passphrase or a touch, on the terminal. Raises ClawkeepError when it does not sign.
    """
    done = _keygen(["-Y", "sign", "-f", str(key), "-n", namespace], message, seconds=None)
    signature = done.stdout.decode("ascii", "replace")
    if done.returncode:
        raise ClawkeepError(f"ssh-keygen did not sign with {key} (status {done.returncode})")
    return armoured(signature)


def verified(message: bytes, signature: str, keys: Iterable[str], namespace: str) -> bool:
    """Whether `signature` is one of `message`, for this namespace, by one of the public `keys`."""
    with tempfile.TemporaryDirectory(prefix="clawkeep-") as folder:
        allowed, given = Path(folder, "allowed"), Path(folder, "signature")
        allowed.write_text("".join(f'{SIGNER} namespaces="{namespace}" {public_key(key)}\n' for key in keys))
        given.write_text(armoured(signature), encoding="ascii")
        words = ["-Y", "verify", "-f", str(allowed), "-I", SIGNER, "-n", namespace, "-s", str(given)]
        return _keygen(words, message, seconds=SECONDS).returncode == 0


def _keygen(words: list[str], message: bytes, seconds: float | None) -> subprocess.CompletedProcess[bytes]:
    try:
        quiet = subprocess.PIPE if seconds else None
        return subprocess.run(
            ["ssh-keygen", *words], input=message, stdout=subprocess.PIPE, stderr=quiet, check=False, timeout=seconds
        )
    except FileNotFoundError:
        raise ClawkeepError("ssh-keygen is not installed: signatures are made and checked with it") from None
    except subprocess.TimeoutExpired:
        raise ClawkeepError(f"ssh-keygen did not answer within {seconds:.0f} s") from None
