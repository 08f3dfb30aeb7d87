"""The recovery procedure that lies on the host: whether it speaks of this host, these people and this console."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import integer, mapping, text
from clawkeep.subjects.network.topology import Topology

PATH = "/etc/clawkeep/runbook.md"
ADDRESSES = re.compile(r"^[\W_]*Addresses[\W_]*:(.+)$", re.M | re.I)
# What the reader must be told to type: undo a firewall change, stop the agent, go back to the last release.
COMMANDS = ("clawkeep-firewall rollback", "clawkeep-kill", "rollback.yml")
WRITABLE_BY_MORE_THAN_ROOT = 0o022
WHOLE = 262_144  # bytes; of a longer file the collector keeps the beginning only


@dataclass(frozen=True)
class Runbook:
    """The runbook (empty when there is none) and the addresses to compare. Source: the file, `ip -j addr`, routes.

    `present` are the host's addresses, `ways_out` those of them from which it reaches the world, one a family.
    """

    text: str
    uid: int
    mode: int
    present: frozenset[str]
    ways_out: tuple[str, ...]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the host's own addresses are not known."""
        file = mapping(host.inside.fact("runbook"), "the runbook")
        sources = mapping(host.inside.fact("route-sources"), "the addresses towards the world")
        ways_out = tuple(str(address) for address in sources.values() if address)
        if not ways_out:
            raise Unmeasured("the host has no route to the world, so its present addresses cannot be told")
        present = frozenset(str(address) for address in host.subject(Topology).addresses)
        if file.get("text") is None:
            return cls("", 0, 0, present, ways_out)
        return cls(
            text(file.get("text"), "the text of the runbook"),
            integer(file.get("uid"), "the uid of the runbook"),
            integer(file.get("mode"), "the mode of the runbook"),
            present,
            ways_out,
        )

    @cached_property
    def named(self) -> tuple[str, ...]:
        """The addresses on the runbook's line `Addresses:`, in their short form."""
        line = ADDRESSES.search(self.text)
        words = re.split(r"[\s,;`|*]+", line.group(1)) if line else []
        found = []
        for word in words:
            try:
                found.append(str(ipaddress.ip_address(word)))
            except ValueError:
                continue
        return tuple(found)

    @property
    def digest(self) -> str:
        """`sha256:` and the digest of its text, as `sha256sum` has it of a file without secrets in it.

        Raises `Unmeasured` when the text may be the beginning only: nobody can attest what was not read.
        """
        data = self.text.encode("utf-8", "surrogatepass")
        if len(data) >= WHOLE:
            raise Unmeasured(f"{PATH} is longer than the {WHOLE // 1024} KB that are read of it")
        return "sha256:" + hashlib.sha256(data).hexdigest()

    def unusable(self) -> list[str]:
        """Sentences about a runbook that is missing, or that others than root can rewrite."""
        if not self.text.strip():
            return [f"{PATH} is missing or empty"]
        if self.uid != 0 or self.mode & WRITABLE_BY_MORE_THAN_ROOT:
            return [f"{PATH} can be rewritten by others than root (uid {self.uid}, mode {self.mode:04o})"]
        return []

    def stale_addresses(self) -> list[str]:
        """Sentences about addresses that the runbook has and the host does not, or the other way round."""
        if not self.named:
            return [f"{PATH} does not say at which addresses this host is reached"]
        found = [f"{PATH} sends the reader to {old}, which this host no longer has" for old in self._former()]
        return found + [
            f"{PATH} does not name {new}, this host's address" for new in self.ways_out if new not in self.named
        ]

    def _former(self) -> Iterable[str]:
        return (address for address in self.named if address not in self.present)

    def missing(self, words: Iterable[str]) -> list[str]:
        """Sentences about names, contacts or a console of the site that the runbook does not have; blanks are equal."""
        plain = " ".join(self.text.split())
        return [f"{PATH} does not mention {word!r}" for word in words if " ".join(word.split()) not in plain]

    def missing_commands(self) -> list[str]:
        """Sentences about the ways back that the runbook does not show."""
        return [f"{PATH} does not show the command {command}" for command in COMMANDS if command not in self.text]
