"""Names under which a secret stands: of a variable, a key of JSON, a header, an option. What `redaction` goes by."""

from __future__ import annotations

import re

# Parts of a name, whatever its case and its separators.
_KEYS = (
    r"api|private|access|secret|signing|encryption|master|account|pre[_. -]?shared|shared|service|deploy|auth|storage"
    r"|admin|subscription|functions|license|webhook"
)
STEM = (
    r"token(?!i[sz])|secret(?!ar)|passw(?:or)?d|pass[_. -]?phrase|passcode|credential|authorization|mnemonic"
    rf"|connection[_. -]?string|(?:{_KEYS})[_. -]?key(?!s?tone|board|word)|key[_. -]data"
)
# Whole words, anywhere in a name.
_WORD = re.compile(r"(?:cookies?|jwt|psk|webhooks?)\Z")
# Whole words, as the last of a name only: prose has them, too, so that text needs `=` or quotes beside them.
_LAST_WORD = re.compile(r"(?:pass|pwd|o?auth)\Z")
_NO_PASSWORD = ("bypass", "compass", "trespass", "surpass")
# In lower case, what a text is searched for before anything is asked about a name.
ANCHOR = re.compile(rf"{STEM}|cookies?|webhooks?|jwt|psk|pass(?![a-z])|pwd(?![a-z])|auth(?![a-z])")
# STRIPE_KEY, as variables of an environment are called; a key of any other case is most often none.
VARIABLE = re.compile(r"(?<=[A-Z0-9]_)KEY(?![A-Za-z])")
_NO_SECRET_KEY = re.compile(r"(?:public|host|primary|foreign|sort|cache|partition|sandbox|registry|hot|row)\Z")
# Last words that tell something about a secret: `token_file`, `password_length`, {"secret": {"source": ...}}.
_ABOUT = re.compile(
    r"(?:age|alg|algorithm|at|attributes|audience|authentication|budget|count|created|days|description|dir|directory"
    r"|domain|enabled|endpoint|env|exp|expiration|expires|expiry|file|filename|files|fingerprint|folder|format|helper"
    r"|host|hours|id|ids|index|issuer|kind|label|least|leaked|len|length|level|limit|line|location|mark|max|maximum"
    r"|method|min|minimum|minutes|mode|ms|name|names|owner|path|paths|policy|port|prefix|prompt|provider|ref|required"
    r"|role|rotation|samesite|scope|scopes|seconds|size|source|state|status|stdin|store|title|told|total|tried|ttl"
    r"|types?|until|updated|uri|usage|used|user|username|var|version|where)\Z"
)
_SECRET_ID = re.compile(r"(?:access[_. -]?key|secret)[_. -]?id\Z")  # an AWS key id comes with its key; Vault's is one
_OTHERWISE = re.compile(
    r"(?:(?:old)?pwd|loadcredential(?:encrypted)?|importcredential|(?:proxy|fastcgi|uwsgi|scgi|grpc|memcached)_pass)\Z"
)
_COUNTED = re.compile(r"tokens(?![a-z])")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

STRONG, WEAK, NONE = 2, 1, 0


def is_secret_name(name: str) -> bool:
    """Whether a name (of a variable, key, header or option) says that its value is a secret.

    `token_file`, `password_length` or `secret_name` tell about one: their values are none. A path names a file.
    """
    return weight(name) > NONE


def weight(name: str) -> int:
    """How surely a name is a secret's: STRONG, WEAK (only beside `=` or in quotes), or NONE."""
    if name.startswith("/"):
        return NONE
    name = name.strip("-")
    low = lower(name)
    words = _WORDS.findall(name)
    if not words or _OTHERWISE.match(low):
        return NONE
    if _SECRET_ID.search(low):
        return STRONG
    last = words[-1].lower()
    if _ABOUT.match(last) or low.endswith("authentication"):
        return NONE
    if _STEM.search(low) or any(_WORD.match(word.lower()) for word in words):
        return STRONG
    if _LAST_WORD.match(last) or (low.endswith(("pass", "pwd")) and not low.endswith(_NO_PASSWORD)):
        return WEAK
    if last == "key" and name.isupper() and len(words) > 1 and not _NO_SECRET_KEY.match(words[-2].lower()):
        return STRONG
    return NONE


_STEM = re.compile(STEM)


def counts(name: str) -> bool:
    """Whether a number under that name counts secrets or the tokens of a model, and is none itself."""
    return bool(_COUNTED.search(lower(name)))


def lower(text: str) -> str:
    """`text` in lower case, each character at its place."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(c.lower() if c < "\x80" else c for c in text)


_HARMLESS = re.compile(
    r"(?:|yes|no|true|false|on|off|none|null|nil|undefined|\[redacted\].{0,2}|\[dropped[ \w]*\])\Z", re.I | re.S
)
_KINDS = {  # by the whole name: nsswitch.conf, and estate.yml
    "passwd": re.compile(r"(?:files|compat|systemd|sss|ldap|nis|nisplus|db|winbind|extrausers)\Z"),
    "credentials": re.compile(r"(?:test|scoped|live)\Z"),
}


def harmless(name: str, value: str) -> bool:
    """Whether a value under a secret's name is none: empty, masked, or a word that tells whether or what there is."""
    kinds = _KINDS.get(name)
    return bool(_HARMLESS.match(value) or (kinds is not None and kinds.match(value)))
