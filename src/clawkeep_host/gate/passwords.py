"""Passwords of people: hashed by scrypt, compared in equal time, and refused when they are easy to guess."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets

LEAST = 14  # characters
LIMIT = 1024  # bytes; what is longer is neither taken nor hashed
DIFFERENT = 6  # characters that have to differ, also in what is left without common words

LOG_N, R, P = 15, 8, 3  # 32 MB, three times over: what OWASP calls enough
LOG_N_MOST, P_MOST = 16, 8  # of a stored hash; scrypt may take 128 MB at most
MEMORY = 1 << 27

WORDS = frozenset(
    (  # noqa: SIM905 - words are easier to read without quotes
        "password passwort passwd letmein welcome changeme secret admin administrator root qwertyuiop qwerty "
        "asdfgh zxcvbn iloveyou monkey dragon football baseball sunshine princess master superman batman trustno "
        "openclaw clawkeep clawdbot moltbot correct horse battery staple correcthorsebatterystaple default "
        "example test user login access company team summer winter spring autumn january february march april "
        "june july august september october november december"
    ).split()
)
RUNS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm")
RUN_LEAST = 4
LEET = str.maketrans("@4310$5!7", "aaeiossit")


def scrypt(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    """The 32 bytes of scrypt; raises ValueError for more than 128 MB."""
    text = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=1 << log_n, r=r, p=p, maxmem=MEMORY, dklen=32)


def hashed(password: str) -> str:
    """A new hash as it is kept: `scrypt$log N$r$p$salt$digest`, the last two in hex."""
    salt = secrets.token_bytes(16)
    return f"scrypt${LOG_N}${R}${P}${salt.hex()}${scrypt(password, salt, LOG_N, R, P).hex()}"


DUMMY = f"scrypt${LOG_N}${R}${P}${'00' * 16}${'00' * 32}"  # the work for a name that is nobody's


def matches(password: str, stored: str) -> bool:
    """Whether `password` has this hash; anything but scrypt with at least today's cost matches nothing."""
    with contextlib.suppress(ValueError):
        scheme, log_n, r, p, salt, digest = stored.split("$")
        cost = (int(log_n), int(r), int(p))
        if scheme == "scrypt" and LOG_N <= cost[0] <= LOG_N_MOST and cost[1] == R and P <= cost[2] <= P_MOST:
            return hmac.compare_digest(scrypt(password, bytes.fromhex(salt), *cost), bytes.fromhex(digest))
    return False


def weakness(password: str, user: str) -> str:
    """Why a password is not taken, as the end of a sentence; empty when it is."""
    if len(password) < LEAST:
        return f"it has {len(password)} characters, and {LEAST} are the least"
    if len(password.encode("utf-8", "surrogatepass")) > LIMIT:
        return f"it is longer than {LIMIT} bytes"
    if len(set(password)) < DIFFERENT:
        return "it repeats a few characters"
    plain = password.lower()
    for text in (plain, plain.translate(LEET)):
        if len(set(_without_common_parts(text, user))) < DIFFERENT:
            return "it is made of common words, names or runs of keys"
    return ""


def _without_common_parts(text: str, user: str) -> str:
    for word in sorted({*WORDS, user, user.replace("_", "")}, key=lambda word: (-len(word), word)):
        text = text.replace(word, "")
    for run in RUNS:
        for size in range(len(run), RUN_LEAST - 1, -1):
            for start in range(len(run) - size + 1):
                part = run[start : start + size]
                text = text.replace(part, "").replace(part[::-1], "")
    return text
