"""Which containers of a host are agents', as the collector tells them, judged again from what it recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import rows
from clawkeep_host.agents import among, name_of

PROCESSES = "container-processes"


@dataclass(frozen=True)
class Agents:
    """The names of the agents' containers, stopped ones too. Source: `docker inspect`, the names of their processes."""

    names: frozenset[str]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the containers were not listed."""
        listed = rows(host.inside.json("docker-containers") or (), "`docker inspect`")
        return cls(among(listed, _process_names(host.inside)))

    def __contains__(self, container: object) -> bool:
        """Whether an inspected container is one of them."""
        return isinstance(container, Mapping) and name_of(container) in self.names


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
