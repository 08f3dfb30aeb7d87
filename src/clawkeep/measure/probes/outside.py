"""The outsider's probe: nmap over both families, /healthz where a guard port is open. Runs at its vantage.

Reads {"addresses": [...], "endpoints": {"ipv4": "ADDRESS:PORT", ...}, "tcp": [ports] or null for the full range,
"udp": [ports], "guard": [ports], "pace": probes a second} from standard input and prints the facts as one JSON object.
The addresses must be known as the host's own: whoever calls has checked that.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clawkeep.measure.probes.scan import ScanError, scan
from clawkeep.subjects.network.listeners import joined, split_endpoint

HTTP_SECONDS = 5


def source_to(address: str) -> str:
    """The address from which this vantage speaks to `address`; raises OSError when there is no route."""
    family = socket.AF_INET if ipaddress.ip_address(address).version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.connect((address, 9))
        return str(client.getsockname()[0])


def healthz(address: str, port: int) -> str:
    """What `GET /healthz` gives there, in a word: `HTTP 200`, or why there was no answer."""
    connection = http.client.HTTPConnection(address, port, timeout=HTTP_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return f"HTTP {connection.getresponse().status}"
    except (OSError, http.client.HTTPException) as problem:
        return f"no HTTP answer: {problem}"
    finally:
        connection.close()


def control(endpoint: str, pace: int) -> dict[str, Any]:
    """The state in which the scanner sees the site's public endpoint, by the very same kind of scan."""
    address, _, port = split_endpoint(endpoint)
    try:
        seen = scan(address, [int(port)], "tcp", pace)
    except ScanError as problem:
        return {"target": endpoint, "state": str(problem)}
    return {"target": endpoint, "state": seen["ports"].get(port, "not reported")}


def probe(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Scan every address at the same time; facts `targets`, `tcp`, `udp`, `control`, `healthz`, and `scan-problems`."""
    targets, problems = [], []
    for address in wishes["addresses"]:
        try:
            family = f"ipv{ipaddress.ip_address(address).version}"
            targets.append({"address": address, "family": family, "source": source_to(address)})
        except OSError as problem:
            problems.append(f"{address} cannot be reached from here: {problem.strerror}")
    addresses = [str(target["address"]) for target in targets]

    def one(address: str, ports: Sequence[int] | None, protocol: str) -> dict[str, Any] | None:
        try:
            return scan(address, ports, protocol, wishes["pace"])
        except ScanError as problem:
            problems.append(str(problem))
            return None

    with ThreadPoolExecutor(max_workers=16) as pool:
        tcp = {address: pool.submit(one, address, wishes["tcp"], "tcp") for address in addresses}
        udp = {address: pool.submit(one, address, wishes["udp"], "udp") for address in addresses if wishes["udp"]}
        seen = {
            family: pool.submit(control, endpoint, wishes["pace"]) for family, endpoint in wishes["endpoints"].items()
        }
        scanned = {address: found for address, job in tcp.items() if (found := job.result()) is not None}
        answering = [
            (address, int(port))
            for address, found in scanned.items()
            for port, state in found["ports"].items()
            if state == "open" and int(port) in wishes["guard"]
        ]
        asked = {joined(*place): pool.submit(healthz, *place) for place in answering}
        return {
            "targets": targets,
            "tcp": scanned,
            "udp": {address: found for address, job in udp.items() if (found := job.result()) is not None},
            "control": {family: job.result() for family, job in seen.items()},
            "healthz": {place: job.result() for place, job in asked.items()},
            "scan-problems": problems,
        }


if __name__ == "__main__":
    json.dump(probe(json.load(sys.stdin)), sys.stdout)
