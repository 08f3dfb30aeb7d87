"""The plan of the kill command, against what an independent look finds that it must reach."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import integer, mapping, rows, text, texts
from clawkeep.subjects.inspected import Inspected
from clawkeep.subjects.network.topology import Topology
from clawkeep_host import stop_flag
from clawkeep_host.agents import ROLE

COMMAND = "clawkeep-kill"
SETTINGS = "/etc/clawkeep/kill.conf"
KILLED = str(stop_flag.ON_DISK)  # there from the kill to its release
WRITABLE_BY_MORE_THAN_ROOT = 0o022
# Words by which a line of a unit or time table means the agent, beside the agent containers' own names and ids.
MEANT = re.compile(r"openclaw|clawkeep|\bagent\b|\$\(|`|xargs|\bps\s+-\w*a", re.I)


@dataclass(frozen=True)
class AgentContainer:
    """A container that runs agent work, however it was started; `restart` is its restart policy in force."""

    id: str
    name: str
    restart: str
    networks: tuple[str, ...]


@dataclass(frozen=True)
class KillPlan:
    """What `clawkeep-kill --dry-run --json` would do. Source: that, `docker inspect`, unit files, time tables."""

    document: Document
    plan: Mapping[str, Any]
    topology: Topology
    inspected: Inspected

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the command is missing or did not end well."""
        plan = mapping(host.inside.json("kill-plan"), "the kill command's plan")
        return cls(host.inside, plan, host.subject(Topology), host.subject(Inspected))

    def agents(self, images: Collection[str]) -> tuple[AgentContainer, ...]:
        """The agents' containers, and those that run one of `images` (ids of OpenClaw's image)."""
        found = []
        for container in self.inspected.containers:
            if self.inspected.is_agent(container) or container.get("Image") in images:
                found.append(_agent(container, text(container.get("Name"), "the name of a container").lstrip("/")))
        if not found:
            raise Unmeasured("no agent container is there, so the kill command has nothing to name")
        return tuple(found)

    def missed_containers(self, images: Collection[str]) -> list[str]:
        """Sentences about agent containers that the plan does not stop, or that Docker would start again."""
        named = {text(row.get("id"), "the id of a container of the plan"): row for row in self._rows("containers")}
        found = []
        for agent in self.agents(images):
            row = named.get(agent.id)
            if row is None:
                found.append(f"{COMMAND} does not stop container {agent.name}")
            elif row.get("restart_policy") != "no":
                found.append(f"{COMMAND} stops container {agent.name}, and its policy {agent.restart} starts it again")
        return found

    def missed_bridges(self, images: Collection[str]) -> list[str]:
        """Sentences about bridges with an agent on them that the plan does not quarantine."""
        named = set(texts(self.plan.get("bridges"), "the bridges of the plan"))
        interfaces = {bridge.network: bridge.interface for bridge in self.topology.bridges}
        found = []
        for agent in self.agents(images):
            for network in agent.networks:
                if network in ("host", "none"):
                    continue
                interface = interfaces.get(network)
                if interface is None:
                    raise Unmeasured(f"the bridge of the network {network} of container {agent.name} is not known")
                if interface not in named:
                    found.append(f"{COMMAND} leaves container {agent.name} its network: {interface} is no target")
        return found

    def unlisted_bridges(self) -> list[str]:
        """Sentences about declared agent networks missing from the settings, all that counts while the engine hangs."""
        settings = self.document.fact("kill-settings")
        if not isinstance(settings, str):
            return [f"{SETTINGS} is missing, so {COMMAND} reaches nothing while the engine hangs"]
        listed = set(re.findall(r"[\w.-]+", settings))
        interfaces = {bridge.network: bridge.interface for bridge in self.topology.bridges}
        declared = [
            interfaces[name]
            for network in rows(self.document.json("docker-networks"), "`docker network inspect`")
            if (name := text(network.get("Name"), "the name of a network")) in interfaces
            and ROLE in mapping(network.get("Labels") or {}, f"the labels of network {name}")
        ]
        if not declared:
            raise Unmeasured(f"no network is labelled {ROLE}, so the bridge to cut off could not be told")
        return [f"{SETTINGS} does not list {bridge}, the agent's bridge" for bridge in declared if bridge not in listed]

    def revivers(self, images: Collection[str]) -> list[str]:
        """Sentences about units and time tables that would start the agent again, unless the plan stops them or the
        mark that the kill leaves behind keeps them from starting.
        """
        stopped = set(texts(self.plan.get("units"), "the units of the plan"))
        names = [re.escape(word) for agent in self.agents(images) for word in (agent.name, agent.id[:12])]
        found = []
        for row in rows(self.document.fact("revivers"), "what starts containers"):
            where, line, words = (
                text(row.get(key), f"{key} of what starts containers") for key in ("where", "line", "words")
            )
            concerns = MEANT.search(f"{line} {words}") or re.search("|".join(names), f"{line} {words}")
            gates = texts(row.get("gates"), "what keeps a unit from starting")
            if concerns and where not in stopped and KILLED not in gates:
                found.append(f"{where} would start the agent again after {COMMAND}: {words}")
        return found

    def nothing_to_revoke(self) -> list[str]:
        """A sentence when the plan names no token whose revocation the operator must see to."""
        tokens = self._rows("revoke")
        if not tokens:
            return [f"{COMMAND} names no token to revoke"]
        return [f"{COMMAND} names a token without saying where it is revoked" for one in tokens if not one.get("where")]

    def tampered_tools(self) -> list[str]:
        """Sentences about emergency tools and their settings that others than root can change."""
        files = rows(self.document.fact("break-glass-files"), "the emergency tools")
        if not any(row.get("path") == f"/usr/local/sbin/{COMMAND}" for row in files):
            raise Unmeasured(f"{COMMAND} was not found on disk")
        return [
            f"{row.get('path')} can be changed by others than root"
            for row in files
            if integer(row.get("uid"), "the uid of a tool") != 0
            or integer(row.get("mode"), "the mode of a tool") & WRITABLE_BY_MORE_THAN_ROOT
            or row.get("acl")
        ]

    def _rows(self, key: str) -> tuple[Mapping[str, Any], ...]:
        return rows(self.plan.get(key), f"{key} of the plan")


def _agent(container: Mapping[str, Any], name: str) -> AgentContainer:
    host = mapping(container.get("HostConfig") or {}, f"HostConfig of container {name}")
    policy = mapping(host.get("RestartPolicy") or {}, f"RestartPolicy of container {name}")
    network = mapping(container.get("NetworkSettings") or {}, f"NetworkSettings of container {name}")
    return AgentContainer(
        text(container.get("Id"), f"the id of container {name}"),
        name,
        str(policy.get("Name") or "no"),
        tuple(mapping(network.get("Networks") or {}, f"the networks of container {name}")),
    )
