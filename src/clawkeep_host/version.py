"""Which host programs these are: the release, and a digest of their own sources.

Two archives of the same sources have the same version on every machine; one changed byte makes another. The suite
compares what the programs on a host print with what this Clawkeep would install.
"""

from __future__ import annotations

import functools
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

RELEASE = "0.1.0"
PACKAGE = "clawkeep_host"


@functools.cache
def version() -> str:
    """`RELEASE+DIGEST` of the package that this module was imported from: an archive, or a folder of sources."""
    return named(sources())


def named(files: Mapping[str, bytes]) -> str:
    """The version of a package, by name and content of its modules (names as in an archive)."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(b"%d %s\0%d\0" % (len(name), name.encode(), len(files[name])))
        digest.update(files[name])
    return f"{RELEASE}+{digest.hexdigest()[:16]}"


def sources() -> dict[str, bytes]:
    """Name in the archive and content of every module beside this one."""
    here = Path(__file__).parent
    if here.parent.is_file():  # imported from the archive itself
        with zipfile.ZipFile(here.parent) as archive:
            return {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    return {f"{PACKAGE}/{path.relative_to(here).as_posix()}": path.read_bytes() for path in sorted(here.rglob("*.py"))}
