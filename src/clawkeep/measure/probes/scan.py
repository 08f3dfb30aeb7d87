"""Port scans by nmap, through python-nmap, as plain data.

Rates. A host that drops everything silently makes nmap guess the network's capacity from nothing, and a full range
then takes minutes. `--min-rate` sets the pace instead. It loses nothing that nmap would have found otherwise: to a port
that never answers nmap sends at most two probes whatever its timing (measured: 131,068 packets for 65,534 silent ports
both with `-T4` in 88 s and at 20,000 packets a second in 7 s), and `--max-retries 1` is the same two. Whether the pace
was too fast for the path is not assumed but measured: the host's firewall counts the probes that arrived (an emulated
host lost 10 % of 20,000 a second).
"""

from __future__ import annotations

import ipaddress
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import nmap

TRIES = 2  # probes that a silent port gets
TCP = f"-sS --max-retries {TRIES - 1} --min-rtt-timeout 300ms"
UDP = "-sU --max-retries 2 --min-rate 100 --min-rtt-timeout 500ms"  # responders to mDNS wait before they answer
TIME_LIMIT = 120  # seconds for one scan; a good one takes some 15 s


class ScanError(Exception):
    """A scan that did not take place, in one sentence."""


def scan(address: str, ports: Sequence[int] | None, protocol: str, pace: int) -> dict[str, Any]:
    """What nmap finds at `address`: {"argv", "probed", "tries", "seconds", "states": {state: count}, "ports"}.

    `pace` is TCP probes a second. `ports` None means the full range; `probed` is the list of ports or None for
    the full range; `ports` in the result maps each port that nmap names singly to its state (`open`, `closed`,
    `filtered`, `open|filtered`), as strings. nmap never folds open ports into a count. Raises ScanError when nmap is
    missing or the scan did not finish.
    """
    version = ipaddress.ip_address(address.split("%")[0]).version
    manner = f"{TCP} --min-rate {pace}" if protocol == "tcp" else UDP
    arguments = f"-Pn -n {'-6 ' if version == 6 else ''}{manner}"
    wanted = "-" if ports is None else ",".join(str(port) for port in ports)
    began = time.monotonic()
    try:
        scanner = nmap.PortScanner()
        scanner.scan(address, wanted, arguments, timeout=TIME_LIMIT)
        tree = ET.fromstring(scanner.get_nmap_last_output())  # noqa: S314 - as above
    except (nmap.PortScannerError, nmap.PortScannerTimeout, ET.ParseError) as problem:
        raise ScanError(f"nmap did not scan {address}: {str(problem).strip() or 'it was stopped'}") from problem
    host = tree.find("host")
    finished = tree.find("runstats/finished")
    if host is None or finished is None or finished.get("exit") != "success":
        raise ScanError(f"nmap did not finish the scan of {address}")
    named = {str(item.get("portid")): _state(item) for item in host.iterfind("ports/port")}
    states: dict[str, int] = {}
    for state in named.values():
        states[state] = states.get(state, 0) + 1
    for rest in host.iterfind("ports/extraports"):
        state = str(rest.get("state"))
        states[state] = states.get(state, 0) + int(rest.get("count", "0"))
    return {
        "argv": tree.get("args", ""),
        "probed": None if ports is None else list(ports),
        "tries": TRIES if protocol == "tcp" else 3,
        "seconds": round(time.monotonic() - began, 1),
        "states": states,
        "ports": named,
    }


def _state(port: ET.Element) -> str:
    state = port.find("state")
    return str(state.get("state")) if state is not None else "unknown"
