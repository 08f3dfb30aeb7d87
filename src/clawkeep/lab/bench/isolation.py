"""One process tree in namespaces of its own, confined as an engine would confine it, and ended with its parent.

No engine takes part: `unshare` makes the namespaces, a shell text mounts what the container sees, `setpriv` lets go of
every right. The shell text is a pure function of the container, so that it can be read and tested.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from clawkeep.lab import tools
from clawkeep.lab.errors import LabError

NEEDED = ("setpriv", "unshare", "ip")
NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts")
DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
LIMITS = {"core": "-c", "nofile": "-n"}  # what a shell's `ulimit` calls them
STOP_SECONDS = 15.0
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine as the container sees it; neither setuid programs nor devices count in it."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Container:
    """What an engine would be told. `tmpfs` has mount options by folder."""

    root: Path
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    uid: int
    hostname: str
    folder: str = "/"
    read_only: bool = True
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)


def script(container: Container, work: Path) -> str:
    """The shell text that furnishes new namespaces and becomes the container's process; `work` is an empty folder."""
    return "\n".join([*_root(container, work), *_furniture(container), *_entry(container)]) + "\n"


def _root(container: Container, work: Path) -> list[str]:
    """A root as an engine makes one: the image below, and above it a layer that goes with the namespace."""
    return [
        "set -eu",
        f"inner=$PATH PATH={_PATH}",  # the container's environment is ours already
        "mount --make-rprivate /",
        f"cd {shlex.quote(str(work))}",
        "mount -t tmpfs -o mode=0700 bench .",
        f"cd {shlex.quote(str(work))}",
        "mkdir image upper work root",
        f"mount --bind {shlex.quote(str(container.root))} image",
        "mount -t overlay -o lowerdir=image,upperdir=upper,workdir=work overlay root",
        "cd root",
        "mkdir -p proc dev etc",
    ]


def _furniture(container: Container) -> Iterator[str]:
    yield "mount -t proc -o nosuid,nodev,noexec proc proc"
    yield "mount -t tmpfs -o nosuid,noexec,mode=0755 tmpfs dev"
    for name in DEVICES:
        yield f": > dev/{name} && mount --bind /dev/{name} dev/{name}"
    yield "mkdir dev/shm && mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=64m shm dev/shm"
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        yield f"ln -s /proc/self/fd/{number} dev/{name}"
    yield "ln -s /proc/self/fd dev/fd"
    yield f"printf '127.0.0.1 localhost\\n127.0.0.1 %s\\n' {shlex.quote(container.hostname)} > etc/hosts"
    for target, options in container.tmpfs.items():
        place = _below(target)
        yield f"mkdir -p {place} && mount -t tmpfs -o {shlex.quote(options)} tmpfs {place}"
    for mount in sorted(container.mounts, key=lambda one: one.target.count("/")):
        yield from _mounted(mount)


def _mounted(mount: Mount) -> Iterator[str]:
    place, source = _below(mount.target), shlex.quote(str(mount.source))
    if mount.source.is_dir():
        yield f"mkdir -p {place}"
    else:
        yield f'mkdir -p "$(dirname {place})" && : >> {place}'
    yield f"mount --bind {source} {place}"
    yield f"mount -o remount,bind,nosuid,nodev{',ro' if mount.read_only else ''} {place}"


def _entry(container: Container) -> Iterator[str]:
    if container.read_only:
        yield "mount -o remount,bind,ro ."
    yield "ip link set lo up"
    yield f"hostname {shlex.quote(container.hostname)}"
    yield "mkdir dev/.old && pivot_root . dev/.old"
    yield f"cd {shlex.quote(container.folder)}"
    yield "umount -l /dev/.old && rmdir /dev/.old"
    for name, value in container.limits.items():
        yield f"ulimit {LIMITS[name]} {value}"
    yield "umask 022"
    rights = (
        f"--reuid {container.uid} --regid {container.uid} --clear-groups --bounding-set=-all --inh-caps=-all "
        # The change of uid takes the parent's death signal away, so it is asked for behind it.
        "--no-new-privs --pdeathsig KILL"
    )
    yield f"PATH=$inner exec /usr/bin/setpriv {rights} {shlex.join(container.argv)}"


def _below(target: str) -> str:
    """A path of the container, from its root as the current folder."""
    return shlex.quote("." + target)


@contextmanager
def running(container: Container, work: Path, log: Path) -> Iterator[int]:
    """Run the container while this lasts: the pid of its first process. Its output is appended to `log`.

    Whatever ends us ends it too: this process, the thread that called, and the block.
    """
    tools.need_root()
    tools.need(*NEEDED)
    setpriv, unshare = (str(shutil.which(name, path=tools.SEARCH_PATH)) for name in NEEDED[:2])
    argv = [setpriv, "--pdeathsig", "KILL", unshare, *NAMESPACES, "--fork", "--kill-child", "--"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*argv, "/bin/sh", "-c", script(container, work)],
            env=dict(container.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us; we end it in order
        )
    try:
        yield _first(process, log)
    finally:
        _stop(process)


def _first(process: subprocess.Popen[bytes], log: Path) -> int:
    """The first process in the new pid namespace, once there is one."""
    while process.poll() is None:
        if found := _children(process.pid):
            return found[0]
        time.sleep(0.01)
    raise LabError(f"the bench did not start: {last_line(log)}")


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the container's first process, with which all others go; `unshare` itself ignores SIGTERM and follows."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        for pid in _children(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
    process.kill()
    process.wait()


def last_line(log: Path) -> str:
    """The last line that was said there."""
    said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return said[-1].strip()[:400] if said else "it said nothing"
