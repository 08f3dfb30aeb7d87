"""One host as it was observed: who it is, where it stands, and what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from clawkeep.evidence.document import HostEvidence
from clawkeep.site.inventory import Host, Site


@dataclass(frozen=True)
class Observation:
    """A host with its evidence; `evidence` is None when it was not reached, and `message` then says why."""

    host: Host
    site: Site
    evidence: HostEvidence | None
    message: str = ""

    @property
    def reached(self) -> bool:
        """Whether the host answered and gave a document."""
        return self.evidence is not None
