"""A file in the agent's workspace that is made, changed, renamed and removed, and what the kernel recorded of it.

As the agent and as root, each in a process of its own; nothing of it is left. Standard library only.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from typing import Any, Dict, List

from clawkeep.collector import docker
from clawkeep.collector.recorder import Recorder, short
from clawkeep_host import files

AUDIT_LOG = "/var/log/audit/audit.log"
AUDIT_SECONDS = 10.0
WORKSPACE = "/var/lib/docker/volumes/openclaw-workspace/_data"


def collect(rec: Recorder) -> None:
    """Record what became of a file in the agent's workspace."""
    rec.note("audit-canary", canary(rec))


def canary(rec: Recorder) -> Dict[str, Any]:
    """Make, change, rename and remove a file in the agent's workspace, as agent and as root; what was recorded of it.

    `{"agent": {"nonce", "tried": why it could not be | "", "names": {name: [uids]}}, "root": the same}`.
    """
    uid = int(rec.parameters.get("tier", {}).get("openclaw_uid", 1000))
    pid = docker.agent_pid(rec)
    inside = ("/proc/%d/root" % pid, "/home/node/.openclaw/workspace")
    outside = ("/", WORKSPACE)
    found = {}
    for who, (root, folder), number in (("agent", inside, uid), ("root", outside, 0)):
        nonce = secrets.token_hex(8)
        began = os.path.getsize(AUDIT_LOG) if os.path.isfile(AUDIT_LOG) else 0
        tried = touch(root, folder, nonce, number)
        found[who] = {"nonce": nonce, "tried": tried, "uid": number, "names": {} if tried else recorded(nonce, began)}
    return found


# Makes a folder of its own first, and works in there: what it has made nobody else can exchange before it is opened
# again, for the folder around it belongs to the agent. Its name holds nothing of the nonce, so that it is no step.
TOUCH = """
import os, sys
around, nonce, uid, own = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
made, moved = "clawkeep-" + nonce + ".made", "clawkeep-" + nonce + ".moved"
os.mkdir(own, 0o700, dir_fd=around)
folder = os.open(own, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=around)
try:
    status = os.fstat(folder)
    if status.st_uid != uid or status.st_mode & 0o777 != 0o700:
        sys.exit("the folder is no longer the one that was made")
    first = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    again = os.open(made, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    if not os.path.samestat(os.fstat(first), os.fstat(again)):
        sys.exit("the file is no longer the one that was made")
    os.write(again, b"x")
    os.rename(made, moved, src_dir_fd=folder, dst_dir_fd=folder)
    os.unlink(moved, dir_fd=folder)
finally:
    for name in set(os.listdir(folder)) & {made, moved}:
        os.unlink(name, dir_fd=folder)
    os.rmdir(own, dir_fd=around)
"""


def touch(root: str, folder: str, nonce: str, uid: int) -> str:
    """Make, change, rename and remove `clawkeep-NONCE` in `folder` as the account; why not, or empty.

    In a process of its own; `folder` is found below `root` without a link of the agent's.
    """
    try:
        around = files.pin_beneath(root, folder)
    except OSError as problem:
        return "%s cannot be entered: %s" % (folder, problem.strerror)
    words = ["-c", TOUCH, str(around), nonce, str(uid), ".clawkeep-" + secrets.token_hex(8)]
    argv = [sys.executable or "python3", "-I", "-S", *words]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, pass_fds=[around])
    except (OSError, subprocess.TimeoutExpired) as problem:
        return short(str(problem), 200)
    finally:
        os.close(around)
    return (
        ""
        if done.returncode == 0
        else short((done.stderr.strip().splitlines() or ["it ended without a word"])[-1], 200)
    )


def recorded(nonce: str, began: int) -> Dict[str, List[Any]]:
    """Which steps the audit log tells of within its time: `made`, `changed`, `moved`, `removed`, each with the uids."""
    limit = time.monotonic() + AUDIT_SECONDS
    found: Dict[str, List[Any]] = {}
    while time.monotonic() < limit and len(found) < 4:
        found = steps(tail(began), nonce)
        if len(found) < 4:
            time.sleep(0.5)
    return found


def tail(began: int, path: str = AUDIT_LOG) -> str:
    """What was added to a log since it had `began` bytes; the whole when it was begun anew meanwhile."""
    try:
        with open(path, "rb") as file:  # of root's, or of the proxy's account: no agent writes here
            size = os.fstat(file.fileno()).st_size
            file.seek(began if began <= size else 0)
            return file.read(8_000_000).decode("utf-8", "replace")
    except OSError:
        return ""


def steps(text: str, nonce: str) -> Dict[str, List[Any]]:
    """The steps of one file's life that records speak of. An event is all lines with one serial number."""
    events: Dict[str, List[str]] = {}
    for line in text.splitlines():
        serial = line.partition("audit(")[2].partition(")")[0]
        if serial:
            events.setdefault(serial, []).append(line)
    found: Dict[str, List[Any]] = {}
    for lines in events.values():
        paths = [line for line in lines if "type=PATH" in line and nonce in line]
        call = next((line for line in lines if "type=SYSCALL" in line), "")
        if not paths or not call:
            continue
        types = {line.partition("nametype=")[2].split(" ")[0] for line in paths}
        renamed = any(".made" in line for line in paths) and any(".moved" in line for line in paths)
        step = "moved" if renamed else "made" if "CREATE" in types else "removed" if "DELETE" in types else "changed"
        uid = call.partition(" uid=")[2].split(" ")[0]
        if uid not in found.setdefault(step, []):
            found[step].append(uid)
    return found
