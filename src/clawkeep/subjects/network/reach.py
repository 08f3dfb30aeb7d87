"""What agent containers reach: connects made in their own network namespaces, with the control experiments beside them.

A silent target proves nothing by itself. Three things must hold before silence counts as "blocked": the same container
reaches a public endpoint at the same moment; the firewall's counter grew by the packets that got no answer, or the host
itself reaches the very same target; and some packet was sent at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import rows
from clawkeep.subjects.network.counters import Growth
from clawkeep_host.addresses import METADATA


@dataclass(frozen=True)
class Probe:
    """One connect and how it ended; outcomes are those of the collector's connects."""

    group: str
    target: str
    family: str
    outcome: str
    sent: int
    detail: str = ""
    request: str = ""
    label: str = ""

    @property
    def answered(self) -> bool:
        """Whether something at the target answered, be it with a refusal: the packets arrived."""
        return self.outcome in ("open", "refused")

    @property
    def address(self) -> str:
        """The target without its port."""
        return self.target.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The target's port."""
        return int(self.target.rpartition(":")[2])

    @property
    def shown(self) -> str:
        """The target for a sentence, with whose it is and what was asked."""
        asked = f"{self.request.split(' ')[0]} " if self.request else ""
        whose = f" ({self.label})" if self.label else ""
        said = f": {self.detail}" if self.detail and self.outcome == "open" else ""
        return f"{asked}{self.target}{whose} {self.outcome}{said}"


@dataclass(frozen=True)
class Agent:
    """One running agent container; a container in the host's own network has no probes of its own."""

    name: str
    host_network: bool
    probes: tuple[Probe, ...]
    proxied: bool = False

    @property
    def gets_out(self) -> bool:
        """Whether its network works: it reaches a public endpoint, or an approved name through the proxy."""
        return self.proxied or any(probe.outcome == "open" for probe in self.group("public"))

    def group(self, *groups: str) -> list[Probe]:
        """Its probes of these groups."""
        return [probe for probe in self.probes if probe.group in groups]


@dataclass(frozen=True)
class Reach:
    """The running agent containers (at least one), the host's own connects, and the counters around them all."""

    agents: tuple[Agent, ...]
    host: tuple[Probe, ...]
    _inside: Document

    @classmethod
    def read(cls, host: HostEvidence) -> Reach:
        """From the collector's probes; raises Unmeasured when no agent container runs."""
        fact = host.inside.fact("reach")
        agents = tuple(
            Agent(str(one["name"]), bool(one["host_network"]), _probes(one.get("probes", ())), _proxied(one))
            for one in fact["containers"]
            if one["agent"]
        )
        if not agents:
            raise Unmeasured("no agent container runs, so nothing could be tried from inside one")
        return cls(agents, _probes(fact["host"]), host.inside)

    def require_gateway(self) -> None:
        """Raise Unmeasured unless the gateway answers the host's own /healthz with 200; a dead one exposes nothing."""
        answers = [probe for probe in self.host if probe.group == "healthz"]
        if not any(probe.detail == "HTTP 200" for probe in answers):
            said = "; ".join(probe.shown for probe in answers) or "it was not asked"
            raise Unmeasured(
                f"the gateway does not answer 200 to the host itself, so its exposure cannot be judged: {said}"
            )

    def metadata_answers(self) -> list[str]:
        """Each way in which an agent container gets something from the metadata address itself (GET and PUT)."""
        return self._metadata(lambda probe: probe.group == "metadata" and probe.address == METADATA[0])

    def other_metadata_answers(self) -> list[str]:
        """The same for every other metadata address, family, spelling and name."""
        return self._metadata(
            lambda probe: (
                probe.group in ("spelling", "name") or (probe.group == "metadata" and probe.address != METADATA[0])
            )
        )

    def _metadata(self, chosen: Callable[[Probe], bool]) -> list[str]:
        found = self._in_host_network()
        for agent in self._apart():
            tried = [probe for probe in agent.group("metadata", "spelling", "name") if chosen(probe)]
            found += self._let_through(agent, tried)
        if not found:
            self._require_drops("metadata_forward_drop", ("metadata", "spelling", "name"))
        return found

    def private_answers(self) -> list[str]:
        """Each private address beyond the host that an agent container reaches: declared peers and one per range."""
        found = self._in_host_network()
        for agent in self._apart():
            found += self._let_through(agent, agent.group("private", "range"))
        if not found:
            self._require_drops("private_forward_drop", ("private", "range"))
            self._require_peers("private")
        return found

    def host_answers(self, offered: Collection[int] = ()) -> list[str]:
        """Each address of the host, its bridges and link-local addresses included, that answers an agent container.

        `offered` are the ports on the container's own gateway that agents are meant to use.
        """
        found = self._in_host_network()
        for agent in self._apart():
            tried = agent.group("host", "gateway")
            theirs = [one for one in tried if one.group == "gateway" and one.port in offered and "%" not in one.target]
            found += self._let_through(agent, [one for one in tried if one not in theirs])
        if not found:
            self._require_peers("host", "gateway")
        return found

    def sibling_answers(self) -> list[str]:
        """Each other container that answers an agent container; [] also when the agent is the only container."""
        found = self._in_host_network()
        tried = []
        for agent in self._apart():
            found += self._let_through(agent, agent.group("sibling"))
            tried += agent.group("sibling")
        if tried and not found:
            self._require_answered_to_host({probe.target for probe in tried}, "container")
        return found

    def _apart(self) -> list[Agent]:
        """The agents with a network of their own."""
        return [agent for agent in self.agents if not agent.host_network]

    def _require_path(self) -> None:
        """Raise Unmeasured where an agent does not get out at all: then no silence means anything."""
        for agent in self._apart():
            public = agent.group("public")
            if not agent.gets_out:
                tried = "; ".join(probe.shown for probe in public) or "the site declares none"
                raise Unmeasured(
                    f"container {agent.name} reaches no public control endpoint, so its silence proves nothing: {tried}"
                )

    def _in_host_network(self) -> list[str]:
        return [
            f"agent container {agent.name} shares the host's network, where no forward rule sees its packets"
            for agent in self.agents
            if agent.host_network
        ]

    def _let_through(self, agent: Agent, tried: Sequence[Probe]) -> list[str]:
        if not tried:
            return []
        routed = {probe.family for probe in agent.group("public") if probe.outcome == "open"}
        routed |= {"ipv4"} if agent.proxied else set()
        found = [f"container {agent.name} reaches {probe.shown}" for probe in tried if probe.answered]
        found += [
            f"container {agent.name}'s packet to {probe.target} left the host: a router beyond it answered unreachable"
            for probe in tried
            if probe.outcome == "unreachable" and probe.family in routed
        ]
        return found

    def _require_drops(self, counter: str, groups: tuple[str, ...]) -> None:
        """Raise Unmeasured unless `counter` grew by at least the packets of `groups` that nobody answered."""
        self._require_path()
        lost = sum(
            probe.sent for agent in self._apart() for probe in agent.group(*groups) if probe.outcome == "timeout"
        )
        if lost == 0:
            raise Unmeasured("not one packet to these addresses left the container, so nothing shows a rule drops them")
        grown = Growth.between(self._inside, "reach-counters-before", "reach-counters-after").of(counter)
        if grown < lost:
            raise Unmeasured(
                f"{lost} packets got no answer, yet {counter} grew by {grown}: what took them is not known"
            )

    def _require_peers(self, *groups: str) -> None:
        tried = (probe for agent in self._apart() for probe in agent.group(*groups))
        targets = {probe.target for probe in tried if probe.sent and "%" not in probe.target}
        self._require_answered_to_host(targets, "host" if "host" in groups else groups[0])

    def _require_answered_to_host(self, targets: set[str], group: str) -> None:
        """Raise Unmeasured unless every one of `targets` answers the host itself: an absent target is silent to all."""
        self._require_path()
        answered = {probe.target for probe in self.host if probe.group == group and probe.answered}
        silent = sorted(targets - answered)
        if silent or not targets:
            named = ", ".join(silent) or "there was no target to try"
            raise Unmeasured(f"the targets tried from the container do not answer the host itself either: {named}")


def _proxied(container: Any) -> bool:
    tried = rows(container.get("proxied", ()), "the approved name that was asked of the proxy")
    return any(one.get("status") == 200 and one.get("served") is True for one in tried)


def _probes(records: Any) -> tuple[Probe, ...]:
    return tuple(
        Probe(
            group=str(one["group"]),
            target=str(one["target"]),
            family=str(one["family"]),
            outcome=str(one["outcome"]),
            sent=int(one["sent"]),
            detail=str(one.get("detail", "")),
            request=str(one.get("request", "")),
            label=str(one.get("label", "")),
        )
        for one in records
    )
