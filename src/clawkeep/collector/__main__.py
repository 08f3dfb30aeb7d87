"""Collect every part in parallel and print the document as one line of JSON on standard output."""

from __future__ import annotations

import datetime
import json
import os
import resource
import socket
import sys
import threading
import traceback
from typing import Callable, Dict

from clawkeep.collector import docker, host, logs, mounts, network, processes, programs, proxy, vpn, web
from clawkeep.collector.experiments import audit_canary, bypass, egress, gateways, log_marks, metadata, turns
from clawkeep.collector.recorder import Recorder

Part = Callable[[Recorder], None]


def parts() -> Dict[str, Part]:
    """The parts of the collection by name; each gathers one subject and runs in a thread of its own."""
    return {
        "audit canary": audit_canary.collect,
        "bypass": bypass.collect,
        "egress": egress.collect,
        "gateways": gateways.collect,
        "host": host.collect,
        "docker": docker.collect,
        "processes": processes.collect,
        "programs": programs.collect,
        "log marks": log_marks.collect,
        "logs": logs.collect,
        "metadata": metadata.collect,
        "mounts": mounts.collect,
        "network": network.collect,
        "vpn": vpn.collect,
        "proxy": proxy.collect,
        "turns": turns.collect,
        "web": web.collect,
    }


def now() -> str:
    """The time as RFC 3339 in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def collect(parameters: Dict[str, object]) -> Dict[str, object]:
    """The whole document; a part that breaks is named in `problems` and costs only itself."""
    recorder = Recorder(parameters)
    started = now()

    def guard(name: str, part: Part) -> None:
        try:
            part(recorder)
        except Exception as problem:
            last = traceback.extract_tb(problem.__traceback__)[-1]
            where = "%s:%s" % (os.path.basename(last.filename), last.lineno)
            recorder.problem(name, "the collector's part %s broke at %s: %s" % (name, where, problem))

    threads = [threading.Thread(target=guard, args=item, daemon=True) for item in parts().items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot_id = file.read().strip()
    return {
        "schema": 1,
        "started": started,
        "finished": now(),
        "identity": {"hostname": socket.gethostname(), "boot_id": boot_id, "uid": os.geteuid()},
        "commands": recorder.commands,
        "facts": recorder.facts,
        "problems": recorder.problems,
    }


def main() -> None:
    """Read the parameters (one JSON object) from standard input and print the document."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each folder on the way through a tree is one
    text = sys.stdin.read()
    json.dump(collect(json.loads(text) if text.strip() else {}), sys.stdout, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
