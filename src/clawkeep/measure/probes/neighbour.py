"""The neighbour's probe: hand-made SYNs for addresses that only misrouting reaches, and the guard ports by nmap.

Reads {"addresses": [the host's], "targets": [{"target", "port", "kind", "name"}], and what the outsider's probe reads}
from standard input and prints the facts as one JSON object. Runs at its vantage, on the host's own segment.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Mapping
from typing import Any

from clawkeep.measure.probes import outside
from clawkeep.measure.probes.frames import ROUNDS, Hop, LinkError, Syn, hop_to, send_syns
from clawkeep.subjects.network.listeners import split_endpoint


def hops(addresses: list[str]) -> tuple[dict[int, Hop], list[str]]:
    """For each IP version the host as next hop, by the first of its addresses on this segment; and what went wrong."""
    found: dict[int, Hop] = {}
    problems = []
    for address in addresses:
        version = ipaddress.ip_address(address).version
        if version in found:
            continue
        try:
            hop = hop_to(address)
        except (LinkError, OSError) as problem:
            problems.append(str(problem))
            continue
        if hop.on_link:
            found[version] = hop
        else:
            problems.append(f"{address} is behind a router: this vantage is no neighbour of the host")
    return found, problems


def instrument(endpoint: str) -> tuple[dict[str, Any], Syn | None]:
    """The SYN that must be answered: to the public endpoint through its router, made in the same way."""
    address, _, port = split_endpoint(endpoint)
    record = {"target": endpoint, "outcome": "silent"}
    try:
        return record, Syn(address, int(port), hop_to(address))
    except (LinkError, OSError) as problem:
        return dict(record, outcome=str(problem)), None


def probe(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """The facts `frames`, `instrument` and those of the outsider's probe."""
    via, problems = hops(list(wishes["addresses"]))
    controls = {family: instrument(endpoint) for family, endpoint in wishes["endpoints"].items()}
    records: list[dict[str, Any]] = []
    syns: list[Syn] = []
    for record, syn in controls.values():
        if syn is not None:
            records.append(record)
            syns.append(syn)
    frames = []
    for target in wishes["targets"]:
        hop = via.get(ipaddress.ip_address(target["target"]).version)
        if hop is not None:
            frames.append(dict(target, via=hop.mac.hex(":"), sent=ROUNDS))
            records.append(frames[-1])
            syns.append(Syn(target["target"], int(target["port"]), hop))
    for record, outcome in zip(records, send_syns(syns), strict=True):
        record["outcome"] = outcome
    facts = outside.probe(wishes)
    return {
        **facts,
        "frames": frames,
        "instrument": {family: record for family, (record, _) in controls.items()},
        "scan-problems": facts["scan-problems"] + problems,
    }


if __name__ == "__main__":
    json.dump(probe(json.load(sys.stdin)), sys.stdout)
