"""What a secret looks like, and a value or text without it."""

from __future__ import annotations

import re
from typing import Any

REDACTED = "[redacted]"

SECRET_NAME = re.compile(r"(TOKEN|SECRET|PASSW|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIAL|COOKIE|AUTH)", re.I)
SECRET_TEXT = re.compile(
    r"(?P<keep>\b(?:authorization|x-api-key)\s*[:=]\s*(?:bearer\s+|basic\s+)?)[^\s\"',]+"
    r"|(?P<name>\b[A-Za-z0-9_]*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY)[A-Za-z0-9_]*\s*[=:]\s*)[^\s\"',;]+"
    r"|(?<=://)(?P<user>[^/\s:@\"']{0,200}:)[^/\s@\"']{1,500}(?=@)"
    r"|\beyJ[A-Za-z0-9_-]{8,400}\.[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]*"
    r"|\$(?:1|2[aby]|5|6|7|y|gy|argon2i?d?)\$[A-Za-z0-9./$=,+-]{13,400}"
    r"|\bsk-[A-Za-z0-9_-]{16,}|\bA(?:KIA|SIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bgithub_pat_\w{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.I,
)


def is_secret_name(name: str) -> bool:
    """Whether a name (of an environment variable) says that its value is a secret."""
    return name.upper().endswith(("TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIALS"))


def redact_text(text: str) -> str:
    """`text` with everything that looks like a secret's value replaced."""

    def blank(match: re.Match[str]) -> str:
        return (match.group("keep") or match.group("name") or match.group("user") or "") + REDACTED

    return SECRET_TEXT.sub(blank, text)


def redact(value: Any) -> Any:
    """A JSON value with secrets replaced: by the name of a key, by `NAME=value` strings, by their look."""
    if isinstance(value, dict):
        return {
            key: REDACTED if SECRET_NAME.search(str(key)) and isinstance(item, str) and item else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [redact(item) for item in value]
    if isinstance(value, str):
        name, sep, rest = value.partition("=")
        if sep and rest and name.replace("_", "").isalnum() and SECRET_NAME.search(name):
            return name + sep + REDACTED
        return redact_text(value)
    return value
