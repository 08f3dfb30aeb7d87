"""The host's own attempt to reach cloud metadata as different users, beside one to an address that answers.

Standard library only.
"""

from __future__ import annotations

import ctypes
import encodings.idna  # noqa: F401 - getaddrinfo loads it, and another user may not read this Python's files
import pwd
import threading
from typing import Any, Dict, List, Sequence

from clawkeep.collector import docker
from clawkeep.collector.experiments.connects import Connect, connect_all
from clawkeep.collector.recorder import Recorder
from clawkeep_host.addresses import METADATA

COUNTERS = ("nft", "-j", "list", "counters", "table", "inet", "clawkeep")
HTTP = 80
NOBODY = 65534
PROXY = "proxy"  # the account whose way out is the control experiment of all others


def collect(rec: Recorder) -> None:
    """Try cloud metadata and the site's public endpoint as root, nobody, proxy and service uid, all at once."""
    site = rec.parameters.get("site") or {}
    public = [str(site[key]) for key in ("public_endpoint", "public_endpoint6") if site.get(key)]
    wishes = [Connect("metadata", address, HTTP) for address in METADATA]
    wishes += [Connect("public", host.strip("[]"), int(port)) for host, _, port in (e.rpartition(":") for e in public)]
    attempts: Dict[str, List[Dict[str, Any]]] = {}

    def attempt(uid: int) -> None:
        attempts[str(uid)] = connect_as(uid, wishes)

    rec.json("output-counters-before", COUNTERS)
    uids = {0, NOBODY, docker.service_uid(rec), *_uid_of(PROXY)}
    threads = [threading.Thread(target=attempt, args=(uid,)) for uid in sorted(uids)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rec.json("output-counters-after", COUNTERS)
    rec.note("metadata-output", attempts)


def _uid_of(account: str) -> List[int]:
    """The uid of an account, [] when there is none."""
    try:
        return [pwd.getpwnam(account).pw_uid]
    except KeyError:
        return []


def connect_as(uid: int, wishes: Sequence[Connect]) -> List[Dict[str, Any]]:
    """What `connect_all` gives when `uid` owns the sockets.

    Packet filters ask for the file-system uid of who made the socket. setfsuid(2) changes it for the calling thread
    alone, unlike setuid, so no process has to be started; the thread must end afterwards.
    """
    ctypes.CDLL(None).setfsuid(uid)
    return connect_all(wishes)
