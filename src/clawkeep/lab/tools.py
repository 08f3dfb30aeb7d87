"""The programs the lab needs on this machine, and the sentences that tell what is missing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clawkeep.lab.errors import LabError

QEMU = "qemu-system-x86_64"
OLDEST_QEMU = 8  # 7.2 panics Debian 13's kernel under TCG (double fault at cmpxchg16b); 10.0 runs it

_PACKAGES = {
    QEMU: "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "sysctl": "procps",
    "ssh": "openssh-client",
    "dnsmasq": "dnsmasq-base",
    "wg": "wireguard-tools",
    "wireguard-go": "wireguard-go",
    "rsyslogd": "rsyslog",
    "npm": "npm",
}
FOR_IMAGE = ("mmdebstrap", "mke2fs", "qemu-img", "unshare", "npm")
FOR_LAB = (QEMU, "qemu-img", "ip", "sysctl", "ssh", "dnsmasq", "wg", "wireguard-go")
_RELP = "*/rsyslog/imrelp.so"  # below /usr/lib; a package of its own

# sbin is not on every user's PATH, and sudo may drop it.
_PATIENCE = 5.0  # seconds that a stopped step has to clean up behind itself

SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def need(*programs: str) -> None:
    """Raise `LabError` with one apt command that installs every missing program of `programs`."""
    missing = [p for p in programs if shutil.which(p, path=SEARCH_PATH) is None]
    if missing:
        packages = " ".join(sorted({_PACKAGES[p] for p in missing}))
        raise LabError(f"the lab needs {', '.join(missing)}: run `apt-get install --no-install-recommends {packages}`")


def need_log_store(libraries: Path = Path("/usr/lib")) -> None:
    """Raise `LabError` when this machine cannot run the lab's log store."""
    need("rsyslogd")
    if next(libraries.glob(_RELP), None) is None:
        raise LabError("the lab's log store needs imrelp: run `apt-get install --no-install-recommends rsyslog-relp`")


def run(argv: Sequence[str], *, cwd: Path | None = None, path: str = SEARCH_PATH) -> None:
    """Run a build step. Raises `LabError` with the end of what it said when it fails.

    Whatever stops us stops the step and its children, too: none of them goes on in a tree that is being removed.
    """
    environment = {**os.environ, "PATH": path}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            failed = process.wait() != 0
        except BaseException:
            _end_group(process)
            raise
        if failed:
            said.seek(0)
            end = " | ".join(said.read().decode(errors="replace").splitlines()[-4:])
            raise LabError(f"`{' '.join(argv[:4])} ...` failed: {end}")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_PATIENCE)
        os.killpg(process.pid, signal.SIGKILL)


def use_every_processor() -> None:
    """Undo a pinning that was inherited: Mitogen ties its workers, and so all they start, to one processor each."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))


def need_root() -> None:
    """Raise `LabError` unless we are root: namespaces, taps and the image's file owners need it."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root for network namespaces and tap devices: run the command with sudo")


def refuse_old_qemu(version_text: str) -> None:
    """Raise `LabError` when the first line of `qemu-system-x86_64 --version` tells of a version that cannot work."""
    found = re.search(r"version (\d+)\.(\d+)", version_text)
    if found is None:
        raise LabError(f"{QEMU} --version told no version: {version_text.strip()[:80]!r}")
    if int(found[1]) < OLDEST_QEMU:
        raise LabError(
            f"QEMU {found[1]}.{found[2]} cannot run Debian 13's kernel in emulation: install QEMU {OLDEST_QEMU}.0 or "
            "newer (on Debian 12: `apt-get install -t bookworm-backports qemu-system-x86 qemu-utils`)"
        )


def need_good_qemu() -> None:
    """Raise `LabError` when this machine's QEMU is missing or too old."""
    need(QEMU)
    refuse_old_qemu(subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout)
