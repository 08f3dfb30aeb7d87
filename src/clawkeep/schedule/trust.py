"""Whose certificates count for mail and web hook."""

from __future__ import annotations

import ssl
from pathlib import Path

from clawkeep.base.errors import ClawkeepError


def context(authorities: Path | None) -> ssl.SSLContext:
    """A TLS context that asks for a good certificate, of the system's authorities or of those in a file."""
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as problem:  # ssl.SSLError is one
        raise ClawkeepError(f"the authorities in {authorities} cannot be read: {problem.strerror}") from None
