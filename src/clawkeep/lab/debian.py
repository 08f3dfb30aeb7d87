"""Debian trees made by mmdebstrap, with the downloaded packages kept for the next build."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clawkeep.lab import cache, tools

SUITE = "trixie"
SOURCES = (
    f"deb http://deb.debian.org/debian {SUITE} main",
    f"deb http://deb.debian.org/debian {SUITE}-updates main",
    f"deb http://deb.debian.org/debian-security {SUITE}-security main",
)
_NO_DOCUMENTATION = (
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/info/*",
)


def bootstrap(target: Path, packages: Sequence[str], *, variant: str, hooks: Sequence[str] = ()) -> None:
    """Install `packages` into the new tree (or, by its suffix, tar) `target`.

    Raises `LabError` with the last words when mmdebstrap fails.
    """
    debs = cache.home() / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    argv = [
        "mmdebstrap",
        "--mode=root",
        f"--variant={variant}",
        f"--include={','.join(packages)}",
        "--aptopt=APT::Install-Recommends false",
        "--aptopt=Acquire::Retries 3",
        *(f"--dpkgopt={option}" for option in _NO_DOCUMENTATION),
        # mmdebstrap's own idiom for keeping packages: bring them in, and do not delete them before they are saved.
        "--skip=download/empty",
        "--skip=essential/unlink",
        f'--setup-hook=mkdir -p "$1"/var/cache/apt/archives && cp -an {debs}/. "$1"/var/cache/apt/archives/',
        f'--customize-hook=find "$1"/var/cache/apt/archives -name "*.deb" -exec cp -n -t {debs} {{}} +',
        *hooks,
        SUITE,
        str(target),
        *SOURCES,
    ]
    tools.run(argv)
