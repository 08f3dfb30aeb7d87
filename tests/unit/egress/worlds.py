"""A made-up agent behind a proxy that refuses everything it should, as the collector would record it."""

from __future__ import annotations

from typing import Any

from tests.unit.exposure import worlds

from clawkeep.collector.experiments.bypass_cases import DIRECT, QUERY, TCP, TLS, facts, filled
from clawkeep.evidence.document import HostEvidence

SITE: dict[str, Any] = {
    "egress_probes": {
        "approved4": "198.51.100.30",
        "approved6": "2001:db8:51::30",
        "forbidden": "forbidden.example",
        "forbidden4": "198.51.100.20",
        "forbidden6": "2001:db8:51::20",
        "resolver4": "198.51.100.54",
        "resolver6": "2001:db8:51::54",
        "doh": "dns.example",
        "redirect": "allowed.example/redirect?to=http://169.254.169.254/",
        "rebinding": ["rebind4.example"],
    }
}
TIER = {"egress_allowed_domains": [{"name": "api.model.example"}], "egress_mode": "proxy_allowlist"}


def attempts(*, peer: bool = False) -> list[dict[str, Any]]:
    """Every case, refused; with `peer` the direct ones as the host makes them."""
    known, rebinding = facts(SITE, TIER, ("label", "long.labels"))
    found = []
    for case, target, _ in filled(known, rebinding):
        one: dict[str, Any] = {"case": case.id, "way": case.way, "target": target, "sent": 1}
        if case.way in DIRECT:
            if peer:
                one["outcome"] = "open" if case.way == TCP else "answered"
            else:
                one["outcome"] = "timeout" if case.way == TCP else "silent"
        elif peer:
            continue
        elif case.way == QUERY:
            one.update(outcome="answered", status=3, records=0, server="127.0.0.11")
        elif case.way == TLS:
            one.update(outcome="answered", status=200, served=False)
        else:
            one.update(outcome="answered", status=403)
        found.append(one)
    return found


def inside() -> dict[str, Any]:
    """The host's own document."""
    own = worlds.inside()
    agent = {
        "name": "openclaw",
        "host_network": False,
        "attempts": attempts(),
        "approved": [{"target": "api.model.example:443", "status": 200, "served": True}],
        "resolved": [{"server": "127.0.0.11", "records": 1, "status": 0}],
    }
    own["facts"]["bypass"] = {"host": attempts(peer=True), "containers": [agent]}
    for when, packets in (("before", 3), ("after", 200)):
        own["commands"][f"bypass-counters-{when}"] = worlds.command(
            "nft -j list counters", json=worlds.counters(egress_forward_drop=packets)
        )
    return own


def host(own: dict[str, Any]) -> HostEvidence:
    """The evidence of a host with this document."""
    return worlds.host(own)
