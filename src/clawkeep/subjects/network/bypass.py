"""What came of every way around the proxy, from inside the agents' containers, with the control experiments beside it.

A refusal counts only beside what it must not be confused with: the approved name passes the same proxy, the host
reaches the same target, the same name server answers for the approved name, and the firewall's counter grew by what
was lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.collector.experiments.bypass_cases import CASES, DIRECT, QUERY, TLS, Case
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import boolean, integer, mapping, rows, text
from clawkeep.subjects.network.counters import Growth

KNOWN: Mapping[str, Case] = {case.id: case for case in CASES}
COUNTER = "egress_forward_drop"
ANSWERED = frozenset({"open", "refused", "answered", "unreachable"})  # somebody beyond the host said something
SILENT = frozenset({"timeout", "silent"})
FORBIDDEN = 403
PASSED = 200
NO_SUCH_NAME, REFUSED = 3, 5
OPTIONAL = frozenset({"rebinding", "metadata-redirect"})  # what only a laboratory can stage


@dataclass(frozen=True)
class Attempt:
    """One attempt and how it ended; see clawkeep.collector.experiments.bypass for the words."""

    case: Case
    target: str
    outcome: str
    sent: int
    status: int
    served: bool
    records: int
    server: str
    detail: str

    @property
    def told(self) -> str:
        """The attempt for a sentence."""
        at = f" at {self.server}" if self.server else ""
        why = f" ({self.detail})" if self.detail else ""
        said = self.outcome if self.case.way in DIRECT else f"status {self.status}" if self.status else self.outcome
        return f"{self.case.id}, {self.case.what}: {self.target}{at}: {said}{why}"


@dataclass(frozen=True)
class Agent:
    """One agent container: what it tried, and what must work for that to mean anything."""

    name: str
    host_network: bool
    attempts: tuple[Attempt, ...]
    approved: tuple[Mapping[str, Any], ...]
    resolved: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Bypass:
    """Every case in every agent container. Sources: the collector's attempts, `nft -j list counters`."""

    agents: tuple[Agent, ...]
    peers: tuple[Attempt, ...]
    _inside: Document

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when nothing was tried or no agent container runs."""
        fact = mapping(host.inside.fact("bypass"), "the bypass attempts")
        agents = tuple(_agent(one) for one in rows(fact.get("containers"), "the containers of the bypass attempts"))
        if not agents:
            raise Unmeasured("no agent container runs, so no way around the proxy could be tried from inside one")
        return cls(agents, tuple(_attempts(fact.get("host"))), host.inside)

    def passed(self, control: str) -> list[str]:
        """Sentences about the cases of a control that were not refused; [] when each was, and its experiment holds."""
        found = [
            f"agent container {agent.name} shares the host's network, which no proxy and no forward rule stands before"
            for agent in self.agents
            if agent.host_network
        ]
        for agent in self._apart():
            mine = [one for one in agent.attempts if one.case.control == control]
            found += [f"container {agent.name}: {one.told}" for one in mine if _through(one)]
        if not found:
            for agent in self._apart():
                self._require(agent, control)
        return found

    def unreachable(self) -> list[str]:
        """Approved names that do not come through the proxy."""
        return [
            f"container {agent.name}: the approved {one.get('target')} does not pass the proxy:"
            f" status {one.get('status')}"
            for agent in self._apart()
            for one in agent.approved
            if not _works(one)
        ]

    def _apart(self) -> list[Agent]:
        return [agent for agent in self.agents if not agent.host_network]

    def _require(self, agent: Agent, control: str) -> None:
        """Raise `Unmeasured` unless every case of the control was tried, ended clearly, and has its experiment."""
        mine = [one for one in agent.attempts if one.case.control == control]
        missing = {case.id for case in CASES if case.control == control} - {one.case.id for one in mine}
        if missing:
            raise Unmeasured(f"container {agent.name} did not try {', '.join(sorted(missing))}")
        undeclared = [one.case.id for one in mine if one.outcome == "undeclared" and one.case.id not in OPTIONAL]
        if undeclared:
            raise Unmeasured(
                f"site_egress_probes declares no target for {', '.join(sorted(undeclared))}, so that was not tried"
            )
        tried = [one for one in mine if one.outcome != "undeclared"]
        unclear = [one.told for one in tried if not _refused(one)]
        if unclear:
            raise Unmeasured(f"container {agent.name}: it is not clear what refused {unclear[0]}")
        ways = {one.case.way for one in tried}
        if not agent.approved or not any(_works(one) for one in agent.approved):
            raise Unmeasured(
                f"container {agent.name} reaches no approved name through the proxy, so a refusal proves nothing"
            )
        if QUERY in ways and not all(one.get("records") for one in agent.resolved or ({},)):
            raise Unmeasured(f"container {agent.name}: not every name server answers for the approved name")
        if ways & set(DIRECT):
            self._require_direct([one for one in tried if one.case.way in DIRECT])

    def _require_direct(self, tried: list[Attempt]) -> None:
        answered = {(one.case.id, one.target) for one in self.peers if one.outcome in ("open", "answered")}
        sent = [one for one in tried if one.outcome in SILENT and one.sent]
        if not sent:
            raise Unmeasured(
                "not one packet past the proxy left the container, so nothing shows that a rule drops them"
            )
        alone = [one.target for one in sent if (one.case.id, one.target) not in answered]
        if alone:
            raise Unmeasured(f"the host itself gets no answer either from {', '.join(sorted(set(alone)))}")
        lost = sum(one.sent for one in sent)
        grown = Growth.between(self._inside, "bypass-counters-before", "bypass-counters-after").of(COUNTER)
        if grown < lost:
            raise Unmeasured(
                f"{lost} packets got no answer, yet {COUNTER} grew by {grown}: what took them is not known"
            )


def _works(one: Mapping[str, Any]) -> bool:
    return one.get("status") == PASSED and one.get("served") is True


def _through(one: Attempt) -> bool:
    """Whether an attempt got past what should have refused it."""
    if one.case.way in DIRECT:
        return one.outcome in ANSWERED
    if one.case.way == QUERY:
        return one.outcome == "answered" and (one.records > 0 or one.status not in (NO_SUCH_NAME, REFUSED))
    if one.case.way == TLS:
        return one.served
    # Whatever is no refusal of the proxy's own was tried by it: 200, and also 502, 503 or 504.
    return one.outcome == "answered" and one.status not in (FORBIDDEN, 0)


def _refused(one: Attempt) -> bool:
    """Whether an attempt that did not get through was refused, and did not merely come to nothing."""
    if one.case.way in DIRECT:
        return one.outcome in SILENT or one.outcome == "noroute"
    if one.case.way == QUERY:
        return one.outcome == "answered"
    if one.case.way == TLS:
        return one.outcome == "answered" and one.status in (PASSED, FORBIDDEN)
    return one.outcome == "answered" and one.status == FORBIDDEN


def _agent(one: Mapping[str, Any]) -> Agent:
    name = text(one.get("name"), "the name of a container")
    if boolean(one.get("host_network"), "whether a container shares the host's network"):
        return Agent(name, True, (), (), ())
    return Agent(
        name,
        False,
        tuple(_attempts(one.get("attempts"))),
        rows(one.get("approved"), "the approved names"),
        rows(one.get("resolved"), "the answers for the approved name"),
    )


def _attempts(value: object) -> Iterable[Attempt]:
    for one in rows(value, "the bypass attempts"):
        case = KNOWN.get(text(one.get("case"), "the case of an attempt"))
        if case is None:
            raise Unmeasured(f"the bypass attempt {one.get('case')!r} is none of the cases of this Clawkeep")
        yield Attempt(
            case=case,
            target=text(one.get("target"), "the target of an attempt"),
            outcome=text(one.get("outcome"), "the outcome of an attempt"),
            sent=integer(one.get("sent"), "the packets of an attempt"),
            status=integer(one.get("status", 0), "the status of an attempt"),
            served=boolean(one.get("served", False), "whether a server answered an attempt"),
            records=integer(one.get("records", 0), "the records of an answer"),
            server=text(one.get("server", ""), "the name server of an attempt"),
            detail=text(one.get("detail", ""), "the detail of an attempt"),
        )
