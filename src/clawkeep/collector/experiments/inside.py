"""The probe that runs inside an agent container, as the agent's own uid, in one exec session. Standard library only.

The agent runs beside it under the same uid, and would like to speak for it. Its first act is therefore to become
undumpable: from then on its memory and its descriptors belong to root. Whatever was open before is not used. It makes
two pipes, waits, and the collector opens them from the host: through one it gives the program and a random token,
through the other it takes the rows, each with that token and its number. Who traces it is seen from the host. Between
its start and that first act a debugger could attach and let go again unseen: kernel.yama.ptrace_scope (HST-03) keeps
it from that. What is left to the agent is to stop or end the probe, and then nothing was measured.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import time
from typing import Any, Dict, List, Optional, Tuple

from clawkeep.collector import api, docker, proc
from clawkeep.collector.experiments.probe_script import BOOT, filled, script
from clawkeep.collector.inside import authentic, rows
from clawkeep.collector.recorder import Recorder
from clawkeep_host.agents import name_of

__all__ = ["collect", "probe", "rows"]

PERL = "/usr/bin/perl"  # not by PATH, on which the agent may have a folder of its own
# Settings of the container that would have Perl or its loader read files of somebody else.
ENVIRONMENT = ("LD_PRELOAD=", "LD_LIBRARY_PATH=", "PERL5LIB=", "PERL5OPT=", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
PROBE_SECONDS = 45.0  # the probe is given up after this; on an idle host it takes two under emulation
POLL_SECONDS = 0.05
MOST_BYTES = 4_000_000  # of rows; thousands of directories are some hundred kilobytes


class Ended(Exception):
    """The probe is no longer there; the words say how it went."""


def probe(container: str, uid: int, nonce: str, root: str = "") -> Dict[str, Any]:
    """What the probe found in `container`, by its name or id: {"rows": [[kind, field ...]], "error": sentence or None}.

    Whoever interferes with it is told under "tampering", a list of sentences, which is there only then. The name of the
    canaries is random; rows give the directory in which one was found.
    """
    token = secrets.token_hex(16)
    end = time.monotonic() + PROBE_SECONDS
    found: List[List[str]] = []
    tampering: List[str] = []
    error: Optional[str] = None
    try:
        session = _start(container, uid)
        with contextlib.ExitStack() as stack:
            process, given, taken = _attached(session, end, stack)
            tracer = _tracer(process)
            if tracer:
                tampering.append("process %s of the host traces it" % tracer)
                raise Ended("it was traced from its start")
            _give(given, script(nonce, token, root), end)
            printed = _take(taken, end)
            late = time.monotonic() > end
            found, foreign = authentic(printed.decode("ascii", "replace"), token)
            tampering += foreign
        if ["done"] not in found:
            said = next((": " + row[1] for row in found if row[0] == "error" and len(row) > 1), "")
            how = "did not end within %g s" % PROBE_SECONDS if late else "ended early%s" % _status(session)
            error = "the probe %s%s" % (how, said)
    except (OSError, ValueError, KeyError, TypeError, Ended) as problem:
        error = "%s" % problem
    found = [row for row in found if row[0] != "error"]
    for row in found:
        if row[0] == "canary" and len(row) > 1:
            row[1] = os.path.dirname(row[1])
    return {"rows": found, "error": error, **({"tampering": tampering} if tampering else {})}


def _start(container: str, uid: int) -> str:
    """Start the probe in the background; the exec session's id."""
    wish = {
        "Cmd": [PERL, "-e", filled(BOOT)],
        "Env": list(ENVIRONMENT),
        "User": "%d:%d" % (uid, uid),
        "WorkingDir": "/",
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
    }
    session = str(api.post("/containers/%s/exec" % container, wish)["Id"])
    api.post("/exec/%s/start" % session, {"Detach": True, "Tty": False})
    return session


def _pid(session: str) -> int:
    """The probe's number on the host, 0 before it has one; raises Ended when it is no longer there."""
    shown = api.get("/exec/%s/json" % session)
    if not shown.get("Running") and shown.get("ExitCode") is not None:
        raise Ended("the probe ended with status %s before it began" % shown["ExitCode"])
    return int(shown.get("Pid") or 0)


def _status(session: str) -> str:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        shown = api.get("/exec/%s/json" % session)
        if not shown.get("Running"):
            return " with status %s" % shown.get("ExitCode")
    return ""


def _attached(session: str, end: float, stack: contextlib.ExitStack) -> Tuple[int, int, int]:
    """The probe once it is undumpable: its folder in /proc, and our ends of its two pipes, to write to and to read.

    They are open, and the probe lives, as long as `stack` does. Raises Ended when it comes to nothing in time.
    """
    while True:
        pid = _pid(session)
        with contextlib.ExitStack() as attempt:
            try:
                process = _opened(attempt, "/proc/%d" % pid, os.O_RDONLY | os.O_DIRECTORY)
                pipes = _pipes(process)
                if pipes and _pid(session) == pid:  # it is the probe's folder, for it was still there afterwards
                    given = _opened(attempt, "fd/%d" % pipes[0], os.O_WRONLY | os.O_NONBLOCK, process)
                    taken = _opened(attempt, "fd/%d" % pipes[1], os.O_RDONLY | os.O_NONBLOCK, process)
                    attempt.callback(_end, _handle(pid))
                    stack.push(attempt.pop_all())
                    return process, given, taken
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has gone: the engine will say so
        if time.monotonic() > end:
            handle = _handle(pid)
            if _pid(session) == pid:
                _end(handle)
            raise Ended("the probe did not begin within %g s" % PROBE_SECONDS)
        time.sleep(POLL_SECONDS)


def _opened(stack: contextlib.ExitStack, path: str, flags: int, folder: Optional[int] = None) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC, dir_fd=folder)
    stack.callback(os.close, descriptor)
    return descriptor


def _handle(pid: int) -> Optional[int]:
    """A descriptor for a process, by which no other one is ever meant; None where kernel or Python have none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _end(handle: Optional[int]) -> None:
    """End the probe, should it still be there: the agent can stop it, and its own alarm with it."""
    if handle is not None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)


def _pipes(process: int) -> Optional[Tuple[int, int]]:
    """The write end of the first and the read end of the second pipe of an undumpable probe; None before it has them.

    Of an undumpable process everything in /proc but its folder belongs to root.
    """
    if os.stat("fd", dir_fd=process).st_uid == os.fstat(process).st_uid:
        return None
    folder = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=process)
    try:
        places = {number: os.readlink(str(number), dir_fd=folder) for number in map(int, os.listdir(folder))}
    finally:
        os.close(folder)
    own = [number for number in sorted(places) if number > 2 and places[number].startswith("pipe:")]
    kinds = [places[number] for number in own]
    if len(own) != 4 or kinds[0] != kinds[1] or kinds[2] != kinds[3] or kinds[0] == kinds[2]:
        return None
    return own[1], own[2]


def _tracer(process: int) -> str:
    """The number of whoever debugs the process; empty when nobody does."""
    descriptor = os.open("status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    with os.fdopen(descriptor, "rb") as file:
        number = proc.fields(file.read().decode("utf-8", "replace")).get("TracerPid", "")
    return "" if number == "0" else number or "of an unknown number"


def _give(pipe: int, program: str, end: float) -> None:
    """Write the program with its length; a pipe may be short, for its owner has a limit for all of them."""
    data = program.encode("ascii")
    data = b"%8d" % len(data) + data
    while data:
        _await(pipe, select.POLLOUT, end)
        data = data[os.write(pipe, data[:4096]) :]


def _take(pipe: int, end: float) -> bytes:
    """What the probe prints until its end; what there is by then when it takes too long."""
    found = b""
    while len(found) < MOST_BYTES:
        try:
            _await(pipe, select.POLLIN, end)
        except Ended:
            break
        block = os.read(pipe, 65536)
        if not block:
            break
        found += block
    return found


def _await(pipe: int, event: int, end: float) -> None:
    waiting = select.poll()
    waiting.register(pipe, event)
    if not waiting.poll(max(0.0, 1000 * (end - time.monotonic()))):
        raise Ended("the probe did not go on within %g s" % PROBE_SECONDS)


def collect(rec: Recorder, nonce: str) -> None:
    """Record the probe's findings for every running agent container."""
    uid = docker.service_uid(rec)
    found = {name_of(one): probe(str(one.get("Id") or name_of(one)), uid, nonce) for one in docker.agents(rec)}
    rec.note("inside-probe", found)
