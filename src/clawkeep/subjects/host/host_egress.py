"""What the host's own accounts may send to the world: connects as several users, and packets through the rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.netfilter.packet import Packet
from clawkeep.netfilter.patterns import Span
from clawkeep.netfilter.travel import ACCEPT
from clawkeep.netfilter.witness import constants
from clawkeep.subjects.host.account import Accounts
from clawkeep.subjects.network.leaks import Holes
from clawkeep.subjects.network.metadata import ANSWERED, Attempt, HostMetadata
from clawkeep.subjects.network.representatives import OUTSIDE, interfaces, on_the_wire, owners
from clawkeep.subjects.network.ruleset import NAME, Ruleset

# Who sends for the host: its package manager, clock, names, logs, and the agents' proxy and name server.
SERVICES = (
    *("root", "proxy", "clawkeep-resolver", "_apt", "_chrony", "systemd-timesync"),
    *("systemd-network", "systemd-resolve", "syslog"),
)
PROXY = "proxy"


@dataclass(frozen=True)
class HostEgress:
    """Connects to the site's public endpoints by user, the output rules, and the accounts' names."""

    attempts: tuple[Attempt, ...]
    ruleset: Ruleset
    accounts: Accounts

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when nothing was tried or the rules were not listed."""
        tried = host.subject(HostMetadata).attempts
        public = tuple(one for one in tried if one.group == "public")
        if not public:
            raise Unmeasured("the site declares no public endpoint, so no account's way out was tried")
        return cls(public, host.subject(Ruleset), host.subject(Accounts))

    def permitted(self, *, root: bool) -> frozenset[int]:
        """The uids of the declared services on this host, root's among them or not."""
        names = set(SERVICES) - (set() if root else {"root"})
        return frozenset(one.uid for one in self.accounts.everyone if one.name in names)

    def reached(self, permitted: Collection[int]) -> list[str]:
        """Accounts that reach the world and are not `permitted`.

        Raises `Unmeasured` unless the proxy's account reached the very same target at the same moment.
        """
        found = [
            f"uid {one.uid} reaches {one.target}: {one.outcome}"
            for one in self.attempts
            if one.uid not in permitted and one.outcome in ANSWERED
        ]
        if found:
            return found
        proxies = {one.uid for one in self.accounts.everyone if one.name == PROXY}
        open_to = {one.target for one in self.attempts if one.uid in proxies and one.outcome == "open"}
        tried = [one for one in self.attempts if one.uid not in permitted]
        sent = {one.target for one in tried if one.sent}
        if not sent:
            raise Unmeasured("no account that must not send tried to")
        if sent - open_to:
            raise Unmeasured(
                f"the proxy's account does not reach {', '.join(sorted(sent - open_to))} either: nothing shows a rule"
            )
        return []

    def let_out(self, permitted: Iterable[int]) -> list[str]:
        """Packets of other accounts to the world that our output rules do not surely drop, in both families."""
        holes = Holes("output", NAME)
        allowed = frozenset(permitted)
        known = constants(self.ruleset.own, ("output",)).cut_by({"uid": [(Span(uid, uid),) for uid in allowed]})
        topology = self.ruleset.topology
        senders = [uid for uid in owners(known) if uid not in allowed]
        for (version, target), uid in product(OUTSIDE.items(), senders):
            for oif in interfaces(known, topology.doors, field="oif"):
                own = [one for one in topology.addresses_of(oif) if one.version == version]
                base = Packet((own or [target])[0], target, oif=oif, uid=uid)
                for packet in on_the_wire(known, base):
                    for end in self.ruleset.traveller.through("output", packet):
                        if end.verdict == ACCEPT:
                            holes.add(packet, end)
        return holes.sentences("leaves the host")
