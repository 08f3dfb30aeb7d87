"""What is recorded of a turn of each agent, of calls over HTTP and of approvals, a moment after they were made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import boolean, integer, mapping, rows, text, texts

OPENCLAWS_DAYS = 30.0  # what OpenClaw takes where `session.maintenance.pruneAfter` is not set
SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
DAYS = {"s": 1 / 86_400, "m": 1 / 1440, "h": 1 / 24, "d": 1.0, "w": 7.0}
ENDS = ("succeeded", "failed", "cancelled", "timed_out", "blocked", "unknown")
DECISIONS = {"allow-once": "allowed", "deny": "denied"}


@dataclass(frozen=True)
class Turn:
    """One agent's turn; `recorded` is what the gateway's state tells of it."""

    agent: str
    permitted: str
    refused: str
    recorded: Mapping[str, Any]

    def said(self, name: str) -> bool:
        """Whether a fact of what is recorded holds."""
        return boolean(self.recorded.get(name), f"whether {name} of {self.agent} is recorded")


@dataclass(frozen=True)
class AgentRecords:
    """Source: turns with a model that the collector plays, and the gateway's databases a moment later."""

    gateways: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """From the inside; Unmeasured when no gateway runs."""
        found = rows(host.inside.fact("turns"), "the turns")
        if not found:
            raise Unmeasured("no agent container with a published gateway runs")
        return cls(found)

    def _settings(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for one in self.gateways:
            name = text(one.get("name"), "a gateway's name")
            settings = mapping(one.get("settings"), f"the settings of {name}")
            if "problem" in settings:
                raise Unmeasured(f"the settings of {name} were not read: {settings['problem']}")
            yield name, settings

    def _tried(self) -> Iterator[Mapping[str, Any]]:
        for one in self.gateways:
            name, why = text(one.get("name"), "a gateway's name"), text(one.get("tried"), "why nothing was tried")
            if why:
                raise Unmeasured(f"{name} could not be tried: {why}")
            yield one

    def turns(self) -> list[Turn]:
        """The turns that were taken to their end; Unmeasured when one was not, or when there was none."""
        found = []
        for one in self._tried():
            asked, known = rows(one.get("turns"), "the turns of a gateway"), texts(one.get("agents"), "the agents")
            if len(asked) < len(known):
                raise Unmeasured(f"only {len(asked)} of {len(known)} agents were asked")
            if integer(one.get("skipped"), "the events that could not be unpacked"):
                raise Unmeasured("some of what OpenClaw compressed cannot be read here: is libzstd installed?")
            for raw in asked:
                agent = text(raw.get("agent"), "an agent's name")
                why = text(raw.get("tried"), f"why {agent} took no turn")
                if why:
                    raise Unmeasured(f"{agent} took no turn: {why}")
                tools = [raw.get(name) for name in ("permitted", "refused")]
                if not all(isinstance(tool, str) for tool in tools):
                    raise Unmeasured(f"{agent} was offered no tool that does nothing, or every one: nothing was called")
                recorded = mapping(raw.get("recorded"), f"what is recorded of {agent}")
                found.append(Turn(agent, str(tools[0]), str(tools[1]), recorded))
        if not found:
            raise Unmeasured("no agent took a turn")
        return found

    # LOG-01

    def unrecorded_words(self) -> list[str]:
        """Prompts and answers that are not in the transcript of their agent and session."""
        wrong = []
        for turn in self.turns():
            for name, words in (("prompt", "what was said to"), ("answer", "what the model answered")):
                if not turn.said(name):
                    wrong.append(f"{words} {turn.agent} is not in its transcript")
            if integer(turn.recorded.get("sessions"), f"the sessions of {turn.agent}'s turn") > 1:
                wrong.append(f"the turn of {turn.agent} is scattered over several sessions")
        return wrong

    def short_lived(self, days: int) -> list[str]:
        """Gateways that forget transcripts before their time."""
        wrong = []
        for name, settings in self._settings():
            for key, setting in (("prune-after", "pruneAfter"), ("reset-after", "resetArchiveRetention")):
                value = settings.get(key)
                if value in (None, False):
                    kept = OPENCLAWS_DAYS if key == "prune-after" else float(days)
                else:
                    span = SPAN.fullmatch(str(value))
                    if span is None:
                        raise Unmeasured(f"session.maintenance.{setting} of {name} cannot be read: {value!r}")
                    kept = float(span[1]) * DAYS[span[2]]
                if kept < days:
                    wrong.append(
                        f"{name} keeps transcripts for {kept:g} days, the tier wants {days}: set "
                        f"session.maintenance.{setting}"
                    )
        return wrong

    # LOG-02

    def switched_off(self) -> list[str]:
        """Parts of OpenClaw's audit log that its settings leave out, and a log of the gateway's that is soon lost."""
        wrong = []
        for name, settings in self._settings():
            for key, setting, good in (
                ("audit", "enabled", True),
                ("identity", "executionIdentity", True),
                ("messages", "messages", "all"),
            ):
                if settings.get(key) != good:
                    wrong.append(f"{name} has logging.audit.{setting} {settings.get(key)}, not {good}")
            file = settings.get("file")
            if not isinstance(file, str) or file.startswith(("/tmp", "/var/tmp", "/run")):  # noqa: S108 - what is refused
                wrong.append(f"{name} logs where the container forgets it: set logging.file")
        return wrong

    def unrecorded_calls(self) -> list[str]:
        """Permitted and refused calls without a record that tells tool, run, agent and result."""
        wrong = []
        for turn in self.turns():
            told = turn.recorded
            runs = texts(told.get("runs"), f"the runs of {turn.agent}")
            if "started" not in runs or not set(runs) & set(ENDS):
                wrong.append(f"the audit log does not tell of a run of {turn.agent} from its beginning to its end")
            elif list(texts(told.get("agents"), f"whose run it was ({turn.agent})")) != [turn.agent]:
                wrong.append(f"the audit log does not say that a run of {turn.agent} was its own")
            elif told.get("same") is not True:
                wrong.append(f"the audit log files a run of {turn.agent} under another session than its transcript")
            if not turn.said("identity"):
                wrong.append(f"nothing tells who caused a run of {turn.agent}")
            calls = mapping(told.get("tools"), f"the calls of {turn.agent}")
            steps = texts(calls.get(turn.permitted, []), f"the call of {turn.permitted}")
            if "started" not in steps or not set(steps) & set(ENDS):
                wrong.append(f"the audit log does not tell that {turn.agent} called {turn.permitted} and how it ended")
            results = mapping(told.get("results"), f"the results of {turn.agent}'s calls")
            if turn.refused not in results:
                wrong.append(f"nothing tells that {turn.agent} called {turn.refused} and was refused")
            elif results[turn.refused] is not True:
                wrong.append(f"{turn.agent} called {turn.refused}, which it is not offered, and was not refused")
        return wrong

    def unrecorded_decisions(self) -> list[str]:
        """Approvals and denials of which nothing tells for whom, by whom, and which it was."""
        wrong = []
        for one in self._tried():
            for decision, ended in DECISIONS.items():
                asked = mapping(mapping(one.get("approvals"), "the approvals").get(decision), f"the {decision}")
                why = text(asked.get("tried"), f"why nobody decided {decision}")
                if why:
                    raise Unmeasured(f"{decision} could not be tried: {why}")
                if asked.get("recorded") is None:
                    wrong.append(f"the decision {decision} of a moment ago is not recorded")
                    continue
                row = mapping(asked["recorded"], f"what is recorded of {decision}")
                if (row.get("decision"), row.get("status")) != (decision, ended):
                    wrong.append(f"the decision {decision} is recorded as {row.get('decision')} ({row.get('status')})")
                for key, what in (("source_agent_id", "for whom"), ("resolver_kind", "by whom")):
                    if not row.get(key):
                        wrong.append(f"the record of {decision} does not tell {what} it was")
        return wrong

    def open_over_http(self) -> list[str]:
        """Tools that can be called over HTTP, where OpenClaw records neither the call nor its refusal."""
        self.turns()  # the same tools stand behind a turn, so a gateway without any does not pass
        wrong = []
        for one in self._tried():
            name, asked = text(one.get("name"), "a gateway's name"), mapping(one.get("http"), "the calls over HTTP")
            if not str(asked.get("wrong")).startswith(("401", "429")):
                raise Unmeasured(f"{name} answers {asked.get('wrong')} to a wrong token, so no refusal counts")
            agents = mapping(asked.get("tools"), "the calls over HTTP")
            if not agents:
                raise Unmeasured(f"no tool of {name} was called over HTTP")
            for agent, tools in agents.items():
                for tool, answer in mapping(tools, f"the calls over HTTP for {agent}").items():
                    status, _, error = text(answer, f"the call of {tool} over HTTP").partition(" ")
                    if status == "200" or error in ("tool_error", "tool_call_blocked"):
                        wrong.append(f"{tool} of {agent} can be called over HTTP, of which OpenClaw keeps no record")
                    elif (status, error) != ("404", "not_found"):
                        raise Unmeasured(f"{name} answers a call of {tool} over HTTP with {answer}")
        return wrong
