"""Observe the hosts of an inventory: from inside over their own connection, from the site's other vantages, and by what
the machine that verifies knows of them itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clawkeep.base import clock
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.repo import Repo
from clawkeep.evidence.document import CONTROLLER, SCHEMA, HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.measure import probes
from clawkeep.measure.controller import Controller
from clawkeep.measure.transport import Connection, TransportError, connections
from clawkeep.site.inventory import Host, Inventory, Site

AT_ONCE = 20  # hosts
UNTOLD = {
    "operators",
    "signers",
    "console",
    "images",
    "emergency_key",
    "vpn_peers",
    "vpn_secrets",
}  # no host's business


def observe(
    inventory: Inventory, checkout: Repo, *, inside_only: bool = False, turns: bool = True
) -> list[Observation]:
    """Every host of the inventory, in its order; a host that gives no evidence is there too, with the reason.

    Without `turns`, and where only the inside is looked at, agents are not asked to do anything.
    """
    ways = connections(inventory, checkout.root / "ansible.cfg")
    node = inventory.control_node
    controller = Controller.look(inventory, ways[node.name].ask if node is not None else None)

    def one(host: Host) -> Observation:
        return _host(host, inventory.site, ways[host.name], controller, inside_only=inside_only, turns=turns)

    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(inventory.hosts))) as pool:
        return list(pool.map(one, inventory.hosts))


def _host(
    host: Host, site: Site, way: Connection, controller: Controller, *, inside_only: bool, turns: bool
) -> Observation:
    began = clock.now()
    try:
        inside = way.collect(parameters(host, site, turns=turns and not inside_only))
    except TransportError as problem:
        return Observation(host, site, None, str(problem))
    own = controller.document(host, began, clock.now())
    vantages = {} if inside_only else _vantages(host, site, inside, way)
    return Observation(host, site, HostEvidence(host.name, whole(host.name, inside, own, vantages)))


def whole(
    name: str, inside: Mapping[str, Any], own: Mapping[str, Any], vantages: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The evidence of one host: what it said, what the controller knows of it, and what the other vantages saw."""
    return {"schema": SCHEMA, "host": name, "inside": inside, "vantages": {**(vantages or {}), CONTROLLER: own}}


def _vantages(host: Host, site: Site, inside: Mapping[str, Any], way: Connection) -> dict[str, Any]:
    """What the other vantages saw; when probing breaks as a whole, each has the reason in place of measurements."""
    try:
        documents = probes.measure(host, site, inside, way.ask)
        # As a bundle would give them back, so that a replay is the same to the letter.
        return json.loads(json.dumps(documents, sort_keys=True))  # type: ignore[no-any-return]
    except ClawkeepError as problem:
        why = str(problem)
    except Exception as problem:
        why = f"the probes broke: {type(problem).__name__}: {problem}"
    return {name: {"schema": SCHEMA, "problems": {"probes": why}} for name in site.vantages}


def parameters(host: Host, site: Site, *, turns: bool) -> dict[str, Any]:
    """What the collector is told: where it may knock, how the tier names things, whether the agents take `turns`.

    No person's data, no secret.
    """
    facts = site.model_dump(mode="json", exclude=UNTOLD)
    return {
        "host": {"name": host.name, "addresses": list(host.addresses)},
        "site": facts,
        "tier": dict(host.tier.settings),
        "turns": turns,
    }
