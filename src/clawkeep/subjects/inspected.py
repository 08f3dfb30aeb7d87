"""What the engine shows of every container, read once under one policy for all who judge it.

A host without a container is one with an empty list. Containers that were not listed, or are listed in a form that the
engine does not document, are `Unmeasured` for whoever asks: nobody judges by what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import rows, text
from clawkeep_host.agents import among, name_of

CONTAINERS = "docker-containers"
PROCESSES = "container-processes"


@dataclass(frozen=True)
class Inspected:
    """Every container, stopped ones too, as `docker inspect` shows it, and the names of those that are agents'.

    Source: the engine's API, and the names of the containers' processes.
    """

    containers: tuple[Mapping[str, Any], ...]
    agents: frozenset[str]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the containers were not listed legibly."""
        listed = host.inside.json(CONTAINERS)
        containers = rows([] if listed is None else listed, "`docker inspect`")
        for container in containers:
            text(container.get("Name"), "the name of a container")
        return cls(containers, among(containers, _process_names(host.inside)))

    def is_agent(self, container: Mapping[str, Any]) -> bool:
        """Whether one of `containers` is an agent's."""
        return name_of(container) in self.agents


def _process_names(inside: Document) -> Mapping[str, list[str]]:
    """What runs in each container by name; nothing where the processes were not recorded, or not legibly."""
    if not inside.has(f"facts/{PROCESSES}"):
        return {}
    recorded: Any = inside.fact(PROCESSES)
    found = {}
    for name, one in recorded.items() if isinstance(recorded, Mapping) else ():
        processes = one.get("processes") if isinstance(one, Mapping) else None
        listed = processes if isinstance(processes, list) else []
        found[str(name)] = [str(each.get("name") or "") for each in listed if isinstance(each, Mapping)]
    return found
