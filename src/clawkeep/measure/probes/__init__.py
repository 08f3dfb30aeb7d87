"""What other vantages measure of a host: `measure` runs their probes and returns their documents.

A vantage is a machine or network namespace that the site declares: `outside` anywhere beyond the host's segment or on
it, `neighbour` on the host's own segment. Nothing is sent to an address that the host does not itself say it has.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from clawkeep.base import clock
from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import SCHEMA, Document, HostEvidence
from clawkeep.measure.probes.plan import Plan
from clawkeep.measure.probes.vantage import run_probe
from clawkeep.site.inventory import Host, Site, Vantage
from clawkeep.subjects.network.scans import Scans

Ask = Callable[[Sequence[str]], str]

COUNTERS = ("nft", "-j", "list", "counters", "table", "inet", "clawkeep")
COUNTERS_BEFORE = "reach-counters-after"  # the collector's last reading, made before any other vantage is asked
SHORT_SECONDS = 30  # the life of the session that is seen to end: long enough for the probe to come to it
SECONDS = 240.0  # a scan has a limit of its own
SLOWER = (3, 5)  # parts of the vantage's pace that are tried in turn when it was too fast for the path


def measure(host: Host, site: Site, inside: Mapping[str, Any] | None, ask: Ask | None) -> dict[str, dict[str, Any]]:
    """The document of every declared vantage that there is a probe for, by its name.

    `inside` is the host's own document; `ask` runs one command on the host as root and returns what it prints: it
    reads the firewall's counters once all probes are done. A probe that cannot be made is a problem in its document.
    """
    evidence = HostEvidence(host.name, {"schema": SCHEMA, "host": host.name, "inside": inside})
    documents = _stored(host, site, evidence)
    documents.update(_scanned(host, site, evidence, ask))
    if host.name in site.web_names:  # by the tunnel that the vantage `vpn` has settled
        documents.update(web_documents(host, site, ask))
    return documents


def _scanned(host: Host, site: Site, evidence: HostEvidence, ask: Ask | None) -> dict[str, dict[str, Any]]:
    vantages = {name: vantage for name, vantage in site.vantages.items() if name in ("outside", "neighbour", "vpn")}
    if not vantages:
        return {}
    endpoints = {"ipv4": site.public_endpoint, "ipv6": site.public_endpoint6}
    known = {family: endpoint for family, endpoint in endpoints.items() if endpoint}
    documents = {name: _empty(vantage) for name, vantage in vantages.items()}
    try:
        plan = Plan.of(evidence, host.addresses, known)
    except Unmeasured as problem:
        for document in documents.values():
            document["problems"]["plan"] = f"nothing was probed: {problem}"
        return documents
    before = _first_counters(evidence)
    with ThreadPoolExecutor(max_workers=len(vantages)) as pool:
        jobs = [
            pool.submit(_probe, documents[name], name, vantages[name], plan, vantages[name].pace)
            for name in vantages
            if name != "vpn"
        ]
        for job in jobs:
            job.result()
    after = _counters(ask)
    for name, document in documents.items():
        if name != "vpn":  # what it rests on is an answer, not a count
            _add_counters(document, before, after)
    if "vpn" in vantages:  # alone, after the counters were read: its packets are no scan's
        _probe_vpn(documents["vpn"], vantages["vpn"], evidence, plan, site)
        before = after = _counters(ask)
    for part in SLOWER:
        if "outside" not in documents or not _lossy(documents["outside"]):
            break
        pace = vantages["outside"].pace // part
        documents["outside"] = document = _empty(vantages["outside"])
        _probe(document, "outside", vantages["outside"], plan, pace)
        before, after = after, _counters(ask)
        _add_counters(document, before, after)
    for document in documents.values():
        document["finished"] = clock.now()
    return documents


def _stored(host: Host, site: Site, evidence: HostEvidence) -> dict[str, dict[str, Any]]:
    """What the log store has of this host's marks, asked before anything else: they have only their tier's seconds."""
    vantage = site.vantages.get("siem")
    if vantage is None or host.tier.settings.get("log_agent_remote", "none") == "none":
        return {}
    document = _empty(vantage)
    try:
        sent, turns = evidence.inside.fact("log-marks"), evidence.inside.fact("turn-marks")
        wishes = {
            "store": vantage.store,
            "marks": {**sent, **turns},
            "alerted": [sent[source]["mark"] for source in ("proxy", "system") if not sent[source]["tried"]],
            "attempts": evidence.inside.fact("log-store-attempts"),
            "seconds": host.tier.settings["log_agent_delivery_seconds"],
        }
        document["facts"] = run_probe("clawkeep.measure.probes.siem", vantage, wishes, seconds=SECONDS)
    except (Unmeasured, RuntimeError, ValueError, KeyError, TypeError) as problem:
        document["problems"]["probe"] = str(problem)
    document["finished"] = clock.now()
    return {"siem": document}


def web_documents(host: Host, site: Site, ask: Ask | None) -> dict[str, dict[str, Any]]:
    """The document `web` of the browser entry's probe, made at the vantage `vpn` with test sessions of the gate.

    The sessions' tokens are asked for over the host's own connection, handed to the probe on its standard input and
    kept nowhere; what is left of them ends with the probe.
    """
    vantage = site.vantages.get("vpn")
    if vantage is None or ask is None:
        return {}
    document = _empty(vantage)
    gate = "/usr/local/sbin/clawkeep-gate"
    try:
        tokens = {name: ask([gate, "probe-session", "--seconds", "240"]).strip() for name in ("fresh", "logout")}
        tokens["short"] = ask([gate, "probe-session", "--seconds", str(SHORT_SECONDS)]).strip()
        wishes = {
            "addresses": list(site.web_addresses),
            "port": 443,
            "name": site.web_names[host.name],
            "authority": site.web_authority,
            "sessions": tokens,
            "short_seconds": SHORT_SECONDS,
        }
        document["facts"] = run_probe("clawkeep.measure.probes.web", vantage, wishes, seconds=SECONDS)
    except Exception as problem:  # whatever the connection raises, the other vantages stand
        document["problems"]["probe"] = f"{type(problem).__name__}: {problem}"
    finally:
        with contextlib.suppress(Exception):
            ask([gate, "probe-end"])
    document["finished"] = clock.now()
    return {"web": document}


def _probe(document: dict[str, Any], name: str, vantage: Vantage, plan: Plan, pace: int) -> None:
    """Run the probe of one vantage and put its facts, or why there are none, into its document."""
    wishes = plan.outside(pace) if name == "outside" else plan.neighbour(pace)
    try:
        facts = run_probe(f"clawkeep.measure.probes.{name}", vantage, wishes, seconds=SECONDS)
    except (RuntimeError, ValueError) as problem:
        document["problems"]["probe"] = str(problem)
        return
    for number, sentence in enumerate(facts.pop("scan-problems")):
        document["problems"][f"scan {number}"] = sentence
    document["facts"] = {**facts, "not-scanned": dict(plan.missed)}


def _probe_vpn(document: dict[str, Any], vantage: Vantage, evidence: HostEvidence, plan: Plan, site: Site) -> None:
    """Run the colleague's probe; the host's public key and its addresses in the VPN are what the host itself tells."""
    try:
        preshared = f"{site.vpn_secrets}/psk/{vantage.device}" if site.vpn_secrets and vantage.device else ""
        wishes = plan.vpn(evidence, vantage.tunnel, str(Path(preshared).expanduser()) if preshared else "")
        facts = run_probe("clawkeep.measure.probes.vpn", vantage, wishes, seconds=SECONDS)
    except (RuntimeError, ValueError, Unmeasured) as problem:
        document["problems"]["probe"] = str(problem)
        return
    document["facts"] = {**facts, "inside": wishes["inside"]}


def _lossy(document: dict[str, Any]) -> bool:
    """Whether so many probes were lost on their way that a slower scan is worth its time."""
    try:
        scans = Scans.of(Document("outside", document))
        return scans.lost > 0
    except Unmeasured:
        return False


def _empty(vantage: Vantage) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "started": clock.now(),
        "finished": "",
        "identity": {"kind": vantage.kind, "name": vantage.name},
        "commands": {},
        "facts": {},
        "problems": {},
    }


def _first_counters(evidence: HostEvidence) -> Any:
    """The collector's reading; None on a host without such counters, which is scanned all the same."""
    try:
        return evidence.inside.json(COUNTERS_BEFORE)
    except Unmeasured:
        return None


def _counters(ask: Ask | None) -> Any:
    """The firewall's counters now, None when they cannot be read; whatever the connection raises, the probes stand."""
    try:
        return json.loads(ask(COUNTERS)) if ask else None
    except Exception:
        return None


def _add_counters(document: dict[str, Any], before: Any, after: Any) -> None:
    if before and after:
        document["facts"]["counters"] = {"before": before, "after": after}
    else:
        document["problems"]["counters"] = "the host's counters could not be read after the probes"


__all__ = ["Ask", "measure"]
