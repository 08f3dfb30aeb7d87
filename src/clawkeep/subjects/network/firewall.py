"""Whether the packet filter outlives restarts: what boot would load, what runs, and which units see to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import legible, mapping, texts
from clawkeep.netfilter.model import Table, read_tables
from clawkeep.netfilter.xtables import read_save
from clawkeep.subjects.network.ruleset import FAMILY, NAME, Ruleset
from clawkeep.subjects.systemd import units

CHAIN = "CLAWKEEP"
TOOL = "/usr/local/sbin/clawkeep-firewall"
RULESET_UNIT = "clawkeep-firewall.service"
LAYER_UNIT = "clawkeep-docker-user.service"
SAVED_RULESET = "clawkeep.nft"
# What starts each unit's command, what must come later or earlier, and what pulls the unit in.
DEMANDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    RULESET_UNIT: {"Before": ("network-pre.target", "docker.service")},
    LAYER_UNIT: {"After": ("docker.service",), "WantedBy": ("docker.service",)},
}
VERBS = {RULESET_UNIT: "load", LAYER_UNIT: "docker-user"}
# Other programs that write packet filters; nftables.service flushes everybody's rules when it stops.
RIVALS = {
    "nftables.service": "nftables",
    "ufw.service": "ufw",
    "firewalld.service": "firewalld",
    "netfilter-persistent.service": "netfilter-persistent",
    "iptables.service": "iptables",
    "ip6tables.service": "ip6tables",
    "shorewall.service": "shorewall",
    "ferm.service": "ferm",
}
LEGACY = {"ip": "iptables-legacy-save", "ip6": "ip6tables-legacy-save"}
VOLATILE = ("handle", "packets", "bytes", "expires", "used")


@dataclass(frozen=True)
class Firewall:
    """The packet filter's persistence.

    Sources: `nft -j list ruleset`, the saved policy as a scratch network namespace lists it once loaded there,
    `systemctl show`, the saved files' digests, owners and modes, and what the kernel's old packet filter holds.
    """

    running: Mapping[str, Any]
    saved: Mapping[str, Any]
    running_layer: Mapping[str, tuple[str, ...] | None]
    saved_layer: Mapping[str, tuple[str, ...] | None]
    units: Mapping[str, Mapping[str, str]]
    digest: str | None
    files: Mapping[str, Mapping[str, Any]]
    document: Document

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the rules, the units or the saved files were not read."""
        inside = host.inside
        ruleset = host.subject(Ruleset)
        with legible("the saved packet filter"):
            files = {name: one for name, one in inside.fact("firewall-files").items() if one}
            digest = files.get(SAVED_RULESET, {}).get("sha256")
            return cls(
                running=policy(inside.json("nft-ruleset")),
                saved=policy(inside.json("firewall-saved")) if digest else {},
                running_layer={family: layer(ruleset.xtables.table(family, "filter")) for family in ("ip", "ip6")},
                saved_layer=saved_layers(inside.lines("docker-user-saved", statuses=(0, 1, 2))),
                units=units(inside.lines("firewall-units")),
                digest=digest,
                files=files,
                document=inside,
            )

    def drift(self) -> list[str]:
        """How what runs differs from what boot would load."""
        if self.digest is None:
            return [f"there is no saved ruleset {SAVED_RULESET}, so boot loads none"]
        found = []
        for name in sorted({*self.running, *self.saved}):
            if self.running.get(name) != self.saved.get(name):
                found.append(_difference(name, self.saved.get(name), self.running.get(name)))
        for family, tool in (("ip", "iptables"), ("ip6", "ip6tables")):
            if self.running_layer.get(family) != self.saved_layer.get(family):
                found.append(f"{tool}: chain {CHAIN} is not the saved one: {self._layer_difference(family)}")
        return found

    def _layer_difference(self, family: str) -> str:
        running, saved = self.running_layer.get(family), self.saved_layer.get(family)
        if running is None or saved is None:
            return "it runs and is not saved" if saved is None else "it is saved and does not run"
        added = [rule for rule in running if rule not in saved]
        gone = [rule for rule in saved if rule not in running]
        return f"`{added[0]}` runs and is not saved" if added else f"`{gone[0]}` is gone" if gone else "another order"

    def loose_files(self) -> list[str]:
        """Saved files that others than root may write: they would choose what the next boot loads."""
        with legible("the saved files"):
            return [
                f"{name}, which boot loads, can be written by others than root (mode {one['mode']}, uid {one['uid']})"
                for name, one in self.files.items()
                if one["uid"] != 0 or int(one["mode"], 8) & 0o022
            ]

    def after_boot(self) -> list[str]:
        """Why the policy would not be in force after the next boot or restart of Docker."""
        return [sentence for unit in DEMANDS for sentence in self._unit(unit)]

    def _unit(self, name: str) -> Iterator[str]:
        unit = self.units.get(name)
        if unit is None or unit.get("LoadState") != "loaded":
            yield f"{name} is not there"
            return
        if unit.get("UnitFileState") != "enabled":
            yield f"{name} is {unit.get('UnitFileState') or 'not enabled'}, so it does not start at boot"
        if unit.get("ActiveState") != "active" or unit.get("Result") != "success":
            yield f"{name} is {unit.get('ActiveState')} with result {unit.get('Result')}"
        if unit.get("NeedDaemonReload") == "yes":
            yield f"{name} was changed on disk after systemd read it"
        if unit.get("DropInPaths"):
            yield f"{name} is changed by {unit['DropInPaths']}"
        if unit.get("ConditionResult") == "no":
            yield f"{name} was skipped because of a condition"
        commands = unit.get("ExecStart", "").split("\n")
        if not all(f"argv[]={TOOL} {VERBS[name]} " in command for command in commands):
            yield f"{name} does not start `{TOOL} {VERBS[name]}` alone"
        for relation, others in DEMANDS[name].items():
            missing = [other for other in others if other not in unit.get(relation, "").split()]
            yield from (f"{name} lacks {relation}={other}" for other in missing)
        if name == LAYER_UNIT and "docker.service" not in (unit.get("PartOf", "") + unit.get("BindsTo", "")).split():
            yield f"{name} does not follow a restart of docker.service"
        if name == RULESET_UNIT and not unit.get("WantedBy") and not unit.get("RequiredBy"):
            yield f"nothing pulls {name} in at boot"

    def rivals(self, manager: str) -> list[str]:
        """Other firewall managers that run or would start at boot; `manager` is the tier's own."""
        found = []
        for unit, name in RIVALS.items():
            state = self.units.get(unit, {})
            if name == manager or state.get("LoadState") in (None, "not-found", "masked"):
                continue
            if state.get("ActiveState") == "active" or state.get("UnitFileState") in ("enabled", "enabled-runtime"):
                states = f"{state.get('ActiveState')}, {state.get('UnitFileState')}"
                found.append(f"{unit} is {states}, and {manager} is the manager of this host's packet filter")
        return found

    def unseen(self) -> list[str]:
        """Rules of the kernel's old packet filter: they are in force, and nft does not show them."""
        loaded = mapping(self.document.fact("legacy-iptables"), "the tables of the old packet filter")
        found = []
        for family, tool in LEGACY.items():
            if not texts(loaded.get(family), f"the {family} tables of the old packet filter"):
                continue
            with legible(f"what {tool} prints"):
                tables = read_save(self.document.lines(tool), family)
            if not tables:
                raise Unmeasured(f"{tool} shows none of the tables that the kernel has")
            for chain in (chain for table in tables for chain in table.chains.values()):
                where = f"chain {chain.name} of table {chain.table}, which {tool} shows and nft does not"
                if chain.rules:
                    found.append(f"{len(chain.rules)} rules are in {where}")
                if chain.hook is not None and chain.hook.policy != "accept":
                    found.append(f"the policy is {chain.hook.policy} in {where}")
        return found


def policy(listing: object) -> dict[str, Any]:
    """Our table in nft's listing as it decides: chains, sets and rules by name, without what counts or numbers."""
    read_tables(listing)  # refuses what is no listing
    found: dict[str, Any] = {}
    objects = listing["nftables"] if isinstance(listing, Mapping) else ()
    for item in objects:
        (kind, body), *_ = item.items()
        where = (body.get("family"), body.get("table", body.get("name"))) if isinstance(body, Mapping) else None
        if where != (FAMILY, NAME):
            continue
        kept = _clean(body)
        if kind == "rule":
            found.setdefault(f"rules of chain {body['chain']}", []).append(kept.get("expr"))
        else:
            if kind in ("set", "map") and {"dynamic", "timeout"} & set(body.get("flags") or ()):
                kept.pop("elem", None)
            elif isinstance(kept.get("elem"), list):
                kept["elem"] = sorted(kept["elem"], key=lambda value: json.dumps(value, sort_keys=True))
            found[f"{kind} {body.get('name')}"] = kept
    return found


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _clean(item) for key, item in value.items() if key not in VOLATILE}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _difference(name: str, saved: Any, running: Any) -> str:
    if saved is None or running is None:
        return f"{name}: runs and is not saved" if saved is None else f"{name}: saved and not running"
    if not name.startswith("rules of "):
        return f"{name}: running and saved differ"
    from_saved = [item for item in running if item not in saved]
    from_running = [item for item in saved if item not in running]
    return f"{name}: {len(from_saved)} run and are not saved, {len(from_running)} are saved and do not run"


def layer(table: Table | None) -> tuple[str, ...] | None:
    """The rules of our chain in a filter table, None when it is not there."""
    chain = table.chains.get(CHAIN) if table else None
    return tuple(rule.text for rule in chain.rules) if chain else None


def saved_layers(lines: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
    """The two saved layers as iptables-save and then ip6tables-save print them."""
    split = next((number for number, line in enumerate(lines) if line.startswith("# Generated by ip6tables")), None)
    parts = {"ip": lines[:split], "ip6": lines[split:] if split is not None else ()}
    return {
        family: next((layer(table) for table in read_save(part, family) if table.name == "filter"), None)
        for family, part in parts.items()
    }
