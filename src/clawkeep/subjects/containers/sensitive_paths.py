"""Which paths of a host no container may see: judged as paths, not as text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

DENIED = ("/", "/boot", "/dev", "/etc", "/home", "/proc", "/root", "/run", "/sys", "/var/lib/docker")
DENIED_NAMES = (".aws", ".config", ".docker", ".gnupg", ".kube", ".netrc", ".ssh")


def why_sensitive(path: str) -> str | None:
    """Why the real, absolute `path` may not enter a container, as the end of a sentence; None when it may."""
    real = PurePosixPath(path)
    for name in real.parts:
        if name in DENIED_NAMES:
            return f"lies in a {name}"
    for text in DENIED:
        denied = PurePosixPath(text)
        if real == denied:
            return f"is {text}"
        if text != "/" and real.is_relative_to(denied):
            return f"lies below {text}"
        if denied.is_relative_to(real):
            return f"contains {text}"
    return None


def engine_sockets_in(path: str, sockets: Iterable[str]) -> list[str]:
    """Those of the engine `sockets` that the real, absolute `path` is or contains."""
    return [socket for socket in sockets if PurePosixPath(socket).is_relative_to(path)]
