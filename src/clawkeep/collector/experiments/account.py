"""What the agent's account can do on the host, tried: run as a program of its own, `python3 - UID SOCKET STATE WRITES`.

A process of its own because it forks and drops privileges, which a process with threads must not. Every attempt is
made in a child that has become the account. Writes use O_TMPFILE: even one that succeeds leaves nothing behind. Each
forbidden act has a permitted sibling, so that "everything fails" is told from "this is denied".
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

PTRACE_ATTACH, PTRACE_DETACH = 16, 17
PR_SET_DUMPABLE = 4
WALL = 0x40000000  # __WALL: wait for a child of any kind
SECONDS = 10


def account(uid: int) -> Tuple[int, List[int]]:
    """The primary and supplementary groups of an account; the uid's own number where there is no account."""
    try:
        known = pwd.getpwuid(uid)
    except KeyError:
        return uid, []
    return known.pw_gid, os.getgrouplist(known.pw_name, known.pw_gid)


def named(problem: OSError) -> str:
    """The name of an error number, such as EACCES."""
    return errno.errorcode.get(problem.errno or 0, str(problem))


def become(uid: int) -> None:
    """Become the account for good; nothing to do for who is it already."""
    if os.getuid() == uid:
        return
    gid, groups = account(uid)
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)


def in_child(uid: Optional[int], act: Callable[[], Any]) -> Any:
    """What `act` returns in a child process that has become `uid` (None: stays root); a sentence when it dies."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer: Any = "the attempt broke"
        try:
            signal.alarm(SECONDS)
            if uid is not None:
                become(uid)
            answer = act()
        except OSError as problem:
            answer = named(problem)
        finally:
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said) if said else "the attempt did not end within %d s" % SECONDS


def write(folder: str, within: Optional[int] = None) -> str:
    """`ok` when a nameless file could be made in `folder`, else the error's name; `within` is an open directory."""
    os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600, dir_fd=within))
    return "ok"


def connect(path: str) -> str:
    """`ok` when the Unix socket took a connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(SECONDS)
        client.connect(path)
    return "ok"


def attach(pid: int) -> str:
    """`ok` when the caller could attach to a process as a debugger; lets go of it again."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(pid, WALL)
    libc.ptrace(PTRACE_DETACH, pid, None, None)
    return "ok"


def sleeper(uid: int) -> int:
    """A child that has become the account and waits; dumpable again, as an account's own program is."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(SECONDS)
            become(uid)
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # a change of uid takes it away
            os.write(writer, b"!")
            signal.pause()
        finally:
            os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return pid


def debugging(uid: int) -> Dict[str, str]:
    """Whether the account may attach to a sibling, and as controls to its own child and, as root, to anything."""

    def own_child() -> str:
        child = sleeper(uid)
        try:
            return attach(child)
        finally:
            os.kill(child, signal.SIGKILL)

    sibling = sleeper(uid)
    try:
        return {
            "sibling": in_child(uid, lambda: attach(sibling)),
            "own-child": in_child(uid, own_child),
            "root": in_child(None, lambda: attach(sibling)),
        }
    finally:
        os.kill(sibling, signal.SIGKILL)
        os.waitpid(sibling, 0)


def schedule(uid: int) -> Dict[str, Any]:
    """What `crontab -l` and `at -l` tell the account; a permitted account without a table is told so, too."""
    gid, groups = account(uid)
    found: Dict[str, Any] = {}
    for tool, option in (("crontab", "-l"), ("at", "-l")):
        path = shutil.which(tool)
        if path is None:
            found[tool] = {"present": False}
            continue
        done = subprocess.run(
            [path, option],
            user=uid,
            group=gid,
            extra_groups=groups,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            cwd="/",
            env={"LC_ALL": "C"},
        )
        found[tool] = {"present": True, "status": done.returncode, "says": (done.stderr or "").strip()[:300]}
    return found


def state(uid: int, folder: str) -> str:
    """Whether the account can write its own state: the directory is opened by root, who alone reaches it."""
    try:
        within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as problem:
        return named(problem)
    return str(in_child(uid, lambda: write(".", within)))


def main() -> None:
    """Run every experiment and print what came of it as JSON."""
    uid, engine, home, folders = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
    print(
        json.dumps(
            {
                "uid": uid,
                "writes": {folder: in_child(uid, partial(write, folder)) for folder in folders},
                "writes-as-root": {folder: in_child(None, partial(write, folder)) for folder in folders},
                "state": {"path": home, "write": state(uid, home) if home else "there is no state directory"},
                "engine-socket": {
                    "agent": in_child(uid, partial(connect, engine)),
                    "root": in_child(None, partial(connect, engine)),
                },
                "ptrace": debugging(uid),
                "schedule": schedule(uid),
            }
        )
    )


if __name__ == "__main__":
    main()
