"""What other vantages measure of a host: `measure` runs their probes and returns their documents.

A vantage is a machine or network namespace that the site declares: `outside` anywhere beyond the host's segment or on
it, `neighbour` on the host's own segment. Nothing is sent to an address that the host does not itself say it has.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clawkeep.evidence.document import SCHEMA, HostEvidence
from clawkeep.inventory import Host, Site, Vantage
from clawkeep.probes.plan import Plan
from clawkeep.probes.vantage import run_probe
from clawkeep.verdict import Unmeasured

Ask = Callable[[Sequence[str]], str]

COUNTERS = ("nft", "-j", "list", "counters", "table", "inet", "clawkeep")
COUNTERS_BEFORE = "reach-counters-after"  # the collector's last reading, made before any other vantage is asked
SECONDS = 240.0  # a scan has a limit of its own


def measure(host: Host, site: Site, inside: Mapping[str, Any] | None, ask: Ask | None) -> dict[str, dict[str, Any]]:
    """The document of every declared vantage that there is a probe for, by its name.

    `inside` is the host's own document; `ask` runs one command on the host as root and returns what it prints: it
    reads the firewall's counters once all probes are done. A probe that cannot be made is a problem in its document.
    """
    vantages = {name: vantage for name, vantage in site.vantages.items() if name in ("outside", "neighbour")}
    if not vantages:
        return {}
    evidence = HostEvidence(host.name, {"schema": SCHEMA, "host": host.name, "inside": inside})
    endpoints = {"ipv4": site.public_endpoint, "ipv6": site.public_endpoint6}
    known = {family: endpoint for family, endpoint in endpoints.items() if endpoint}
    documents = {name: _empty(vantage) for name, vantage in vantages.items()}
    try:
        plan = Plan.of(evidence, host.addresses, known)
    except Unmeasured as problem:
        for document in documents.values():
            document["problems"]["plan"] = f"nothing was probed: {problem}"
        return documents
    with ThreadPoolExecutor(max_workers=len(vantages)) as pool:
        jobs = {name: pool.submit(_probe, name, vantage, plan) for name, vantage in vantages.items()}
        for name, job in jobs.items():
            try:
                facts = job.result()
            except (RuntimeError, ValueError) as problem:
                documents[name]["problems"]["probe"] = str(problem)
                continue
            for number, sentence in enumerate(facts.pop("scan-problems")):
                documents[name]["problems"][f"scan {number}"] = sentence
            documents[name]["facts"] = {**facts, "not-scanned": dict(plan.missed)}
    counters = _counters(evidence, ask)
    for document in documents.values():
        if counters:
            document["facts"]["counters"] = counters
        else:
            document["problems"]["counters"] = "the host's counters could not be read after the probes"
        document["finished"] = _now()
    return documents


def _probe(name: str, vantage: Vantage, plan: Plan) -> dict[str, Any]:
    wishes = plan.outside() if name == "outside" else plan.neighbour()
    return run_probe(f"clawkeep.probes.{name}", vantage, wishes, seconds=SECONDS)


def _empty(vantage: Vantage) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "started": _now(),
        "finished": "",
        "identity": {"kind": vantage.kind, "name": vantage.name},
        "commands": {},
        "facts": {},
        "problems": {},
    }


def _counters(evidence: HostEvidence, ask: Ask | None) -> dict[str, Any] | None:
    try:
        before = evidence.inside.json(COUNTERS_BEFORE)
        return {"before": before, "after": json.loads(ask(COUNTERS))} if ask else None
    except Exception:  # whatever the connection raises: the reading is then missing, which the document says
        return None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = ["Ask", "measure"]
