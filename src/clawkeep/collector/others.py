"""Ask the kernel what another uid may do, by doing it as that uid. Standard library only."""

from __future__ import annotations

import json
import sys
from typing import Any, Dict, List

from clawkeep.collector.recorder import Recorder

# Runs as root in a process of its own: a collector with threads must not fork. Reads a list of requests and answers
# each as the uid asked for. Directories are opened while still root, so that only the tree's own modes decide.
SCRIPT = r"""
import errno, json, os, pwd, socket, sys

def groups(uid):
    try:
        known = pwd.getpwuid(uid)
    except KeyError:
        return []
    return os.getgrouplist(known.pw_name, known.pw_gid)  # a group may open what the uid alone cannot

def attempt(request):
    try:
        if request["do"] == "connect":
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(5)
                client.connect(request["path"])
            return "ok"
        os.close(os.open(request["path"], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=request["fd"]))
        return "ok"
    except OSError as problem:
        return errno.errorcode.get(problem.errno or 0, str(problem))

requests = json.load(sys.stdin)
for request in requests:
    try:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
        request["fd"] = os.open(request["tree"], flags) if "tree" in request else None
    except OSError:
        request["fd"] = None
answers = [None] * len(requests)
for uid in sorted({request["uid"] for request in requests}):
    inner, outer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups(groups(uid))
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        mine = [n for n, r in enumerate(requests) if r["uid"] == uid and ("tree" not in r or r["fd"] is not None)]
        said = {n: attempt(requests[n]) for n in mine}
        with os.fdopen(outer, "w") as stream:
            json.dump(said, stream)
        os._exit(0)
    os.close(outer)
    with os.fdopen(inner) as stream:
        for number, answer in json.load(stream).items():
            answers[int(number)] = answer
    os.waitpid(child, 0)
json.dump(answers, sys.stdout)
"""


def ask(rec: Recorder, requests: List[Dict[str, Any]]) -> List[Any]:
    """What became of each request when its uid made it: `ok`, the name of an errno, or None when it was not tried.

    A request is {"uid": int, "do": "connect", "path": unix socket} or {"uid": int, "do": "read", "tree": directory,
    "path": name below it}.
    """
    if not requests:
        return []
    result = rec.run(
        "", [sys.executable or "python3", "-I", "-c", SCRIPT], stdin=json.dumps(requests), timeout=30, keep=False
    )
    try:
        answers = json.loads(result.text)
    except ValueError:
        answers = None
    return answers if isinstance(answers, list) and len(answers) == len(requests) else [None] * len(requests)
