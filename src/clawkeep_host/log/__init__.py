"""The log agent's programs on a host, and the log store's: read, redact, send; raise alerts and sign the digest."""

from __future__ import annotations
