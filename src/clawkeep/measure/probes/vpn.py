"""A colleague's probe, from a device on the VPN: ssh and the front door by the tunnel, and handshakes by hand.

Reads {"public": [the host's public addresses], "inside": [its addresses in the VPN], "port", "host_key", "ports": [TCP
ports], "tunnel": interface, "preshared": file} from standard input and prints the facts as one JSON object. With a
tunnel, the interface is given the host as its peer first, and its own key is the declared one. No secret is printed.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clawkeep.measure.probes.handshake import shake, stranger
from clawkeep.subjects.network.listeners import joined

CONNECT_SECONDS = 10.0  # a tunnel's first packet waits for its handshake, which is repeated after five
SHAKE_SECONDS = 5.0


def wg(*words: str) -> str:
    """What `wg` prints; raises RuntimeError with its last words."""
    done = subprocess.run(["wg", *words], capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        raise RuntimeError(f"`wg {words[0]} {words[1]}` failed at the vantage: {done.stderr.strip()}")
    return done.stdout.strip()


def settle(wishes: Mapping[str, Any]) -> None:
    """Make the host the tunnel's one peer."""
    allowed = ",".join(wishes["inside"])
    for other in wg("show", wishes["tunnel"], "peers").split():
        if other != wishes["host_key"]:
            wg("set", wishes["tunnel"], "peer", other, "remove")
    end = joined(wishes["public"][0], wishes["port"])
    words = ["peer", wishes["host_key"], "endpoint", end, "allowed-ips", allowed]
    wg("set", wishes["tunnel"], *words, *(["preshared-key", wishes["preshared"]] if wishes["preshared"] else []))


def connect(address: str, port: int) -> str:
    """`open`, `refused`, or why nothing came back."""
    try:
        with socket.create_connection((address, port), CONNECT_SECONDS):
            return "open"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "timeout"
    except OSError as problem:
        return problem.strerror or str(problem)


def probe(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Facts `connects` and `handshakes`; of the latter the stranger's first, then the declared key's."""
    own = ""
    if wishes["tunnel"]:
        settle(wishes)
        own = wg("show", wishes["tunnel"], "private-key")
    places = [(address, port) for address in wishes["inside"] for port in wishes["ports"]]
    with ThreadPoolExecutor(max_workers=16) as pool:
        tried = {joined(*place): pool.submit(connect, *place) for place in places}
        connects = {place: job.result() for place, job in tried.items()}
    handshakes = {}
    for address in wishes["public"]:
        given = (address, wishes["port"], SHAKE_SECONDS)
        handshakes[address] = {
            "stranger": shake(stranger(), wishes["host_key"], *given),
            "declared": shake(own, wishes["host_key"], *given) if own else "not tried",
        }
    return {"connects": connects, "handshakes": handshakes}


if __name__ == "__main__":
    json.dump(probe(json.load(sys.stdin)), sys.stdout)
