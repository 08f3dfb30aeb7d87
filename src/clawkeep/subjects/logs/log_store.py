"""What the log store has of this host: marks that arrived, what attempts did to it, alerts that were raised."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.collector.experiments.log_marks import canary_of
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import legible, mapping, rows, text
from clawkeep.subjects.logs.log_agent import marks
from clawkeep_host.addresses import AGENT_SUBNETS
from clawkeep_host.redaction import REDACTED

NETWORK = ("proxy", "resolver", "firewall")
TAKEN = "taken"
AHEAD = 2.0  # seconds by which the clocks of host and store may differ
WATCH_AGE = 300  # seconds since the watch for silence looked; it looks every minute


def stored(line: str) -> tuple[float, Mapping[str, Any]]:
    """When the store received a line (seconds since the epoch) and the record in it; else Unmeasured."""
    try:
        whole = json.loads(line)
        when = datetime.fromisoformat(str(whole["received"]).replace("Z", "+00:00")).timestamp()
        return when, mapping(whole["record"], "a record of the log store")
    except (ValueError, KeyError, TypeError) as problem:
        raise Unmeasured(f"a line of the log store cannot be read: {type(problem).__name__}") from None


@dataclass(frozen=True)
class LogStore:
    """The store's side. Source: the vantage siem, asked for marks that this host sent a moment ago."""

    inside: Document
    outside: Document

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read both sides; raises `Unmeasured` when the store was not asked."""
        siem = host.vantage("siem")
        siem.fact("arrived")
        return cls(host.inside, siem)

    def missing(self, sources: Sequence[str], seconds: int) -> list[str]:
        """Marks of these sources that did not arrive, came too late, or under another source's name."""
        arrived = mapping(self.outside.fact("arrived"), "what arrived at the log store")
        sent = marks(self.inside)
        wrong = []
        for source in sources:
            if source not in sent:
                raise Unmeasured(f"no mark was sent through {source}")
            tried = text(sent[source].get("tried"), f"why {source} was not tried")
            if tried:
                raise Unmeasured(f"no mark could be sent through {source}: {tried}")
            one = arrived.get(source)
            if one is None:
                wrong.append(f"what {source} records does not reach the log store")
                continue
            when, record = stored(
                text(mapping(one, f"what arrived of {source}").get("line"), "a line of the log store")
            )
            with legible(f"the time of {source}"):
                late = when - float(sent[source]["at"])
            if late > seconds:
                wrong.append(
                    f"what {source} records reaches the log store after {late:.0f} s, the tier wants {seconds}"
                )
            if record.get("source") != source:
                wrong.append(f"what {source} records is filed as {record.get('source')!r} at the log store")
        if not wrong:
            self._require_one_clock()
        return wrong

    def untold(self, kinds: Sequence[str], seconds: int) -> list[str]:
        """What agents did a moment ago and the store lacks, has late, or has without telling whose it was.

        `kinds` are the first words of the marks of turns: `prompt`, `answer`, `call`, `refusal`, `approval`.
        """
        arrived = mapping(self.outside.fact("arrived"), "what arrived at the log store")
        sent = mapping(self.inside.fact("turn-marks"), "the marks of the turns")
        wanted = [(name, mapping(sent[name], f"the {name}")) for name in sorted(sent) if name.split()[0] in kinds]
        if {name.split()[0] for name, _ in wanted} != set(kinds):
            raise Unmeasured(f"not each of {', '.join(kinds)} was sent on its way")
        wrong = []
        for name, one in wanted:
            tried = text(one.get("tried"), f"why the {name} was not tried")
            if tried:
                raise Unmeasured(f"the {name} could not be tried: {tried}")
            if arrived.get(name) is None:
                wrong.append(f"the {name} does not reach the log store")
                continue
            line = mapping(arrived[name], f"what arrived of the {name}").get("line")
            when, record = stored(text(line, "a line of the log store"))
            with legible(f"the time of the {name}"):
                late = when - float(one["at"])
            if late > seconds:
                wrong.append(f"the {name} reaches the log store after {late:.0f} s, the tier wants {seconds}")
            data = mapping(record.get("data"), f"the fields of the {name}")
            event = mapping(data.get("event"), f"the event of the {name}")
            whose = [data.get("agent") or event.get("agent_id") or event.get("source_agent_id")]
            whose.append(event.get("session_id") or event.get("source_session_key"))
            if not whose[0] or (not whose[1] and not name.startswith("approval")):
                wrong.append(f"the {name} is at the log store without agent or session")
        if not wrong:
            self._require_one_clock()
        return wrong

    def _require_one_clock(self) -> None:
        """Raise Unmeasured when a mark arrived before it was sent, or none did: the host dates the sending, the store
        the arrival, and a host that is ahead would never be late."""
        seen = False
        arrived = mapping(self.outside.fact("arrived"), "what arrived at the log store")
        for source, mark in marks(self.inside).items():
            if arrived.get(source) is None:
                continue
            line = mapping(arrived[source], f"what arrived of {source}").get("line")
            when, _ = stored(text(line, "a line of the log store"))
            with legible(f"the time of {source}"):
                late = when - float(mark["at"])
            seen = True
            if not late >= -AHEAD:  # so that a NaN is none
                raise Unmeasured(
                    f"what {source} records reached the log store {-late:.0f} s before it was sent: "
                    "the clocks of host and store differ"
                )
        if not seen:
            raise Unmeasured("no mark of this host is at the log store, so nobody knows whether their clocks agree")

    def nameless(self) -> list[str]:
        """Records of network use from which nobody can tell whose they are."""
        arrived = mapping(self.outside.fact("arrived"), "what arrived at the log store")
        wrong = []
        for source in NETWORK:
            if arrived.get(source) is not None:
                line = text(
                    mapping(arrived[source], f"what arrived of {source}").get("line"), "a line of the log store"
                )
                if not _names_an_agent(line):
                    wrong.append(f"the record of {source} does not tell which container it was")
        return wrong

    def unredacted(self) -> list[str]:
        """That the store has the dummy secret of a moment ago, plainly or in base64, or nothing in its place."""
        sent = mapping(marks(self.inside).get("secret"), "the mark with a secret")
        tried = text(sent.get("tried"), "why no secret was sent")
        if tried:
            raise Unmeasured(f"no line with a secret could be sent: {tried}")
        word = text(sent.get("mark"), "the mark with a secret")
        arrived = mapping(self.outside.fact("arrived"), "what arrived at the log store")
        if arrived.get("secret") is None:
            raise Unmeasured(
                "the line with a secret did not arrive at the log store: nothing is known of its redaction"
            )
        one = mapping(arrived["secret"], "the line with a secret")
        line, dummy = text(one.get("line"), "the line with a secret"), canary_of(word)
        wrong = []
        if dummy in line:
            wrong.append("the log store has a secret that was written to the host's journal")
        if base64.b64encode(f"token={dummy}".encode()).decode() in line:
            wrong.append("the log store has a secret in base64")
        if line.count(REDACTED) < 3 and not wrong:
            raise Unmeasured("the line with a secret arrived without a mark for each place: it was not the line sent")
        return wrong

    def _attempts(self) -> Mapping[str, Any]:
        found = mapping(self.inside.fact("log-store-attempts"), "the attempts at the log store")
        if found.get("problem"):
            raise Unmeasured(f"the log store was not tried: {found['problem']}")
        if found.get("append") != TAKEN:
            raise Unmeasured(f"the host's own credential could not even append: {found.get('append')}")
        return found

    def strangers(self) -> list[str]:
        """Ways into the store without the host's credential, or to a store under another name."""
        found = self._attempts()
        ways = {
            "plain": "plain text",
            "no_certificate": "no certificate",
            "wrong_name": "another name than the store's",
        }
        return [f"the log store is spoken to with {words}" for key, words in ways.items() if found.get(key) == TAKEN]

    def alterable(self) -> list[str]:
        """What the host's credential can do to a record beyond adding one."""
        found = self._attempts()
        wrong = [
            f"the log store takes the command {verb}"
            for verb in ("delete", "truncate", "overwrite")
            if found.get(verb) == TAKEN
        ]
        word = text(found.get("mark"), "the mark of the attempts")
        lines = rows(self.outside.fact("attempt"), "what the store has of the attempts")
        kept = [(one, *stored(text(one.get("line"), "a line of the log store"))) for one in lines]
        messages = [str(record.get("message")) for _, _, record in kept]
        if f"first {word}" not in messages:
            wrong.append("a record that the store had taken is not there: the same id written again replaced it")
        elif messages.index(f"first {word}") != 0:
            wrong.append("the store did not keep records in the order in which they came")
        for one, when, record in kept:
            day = datetime.fromtimestamp(when, UTC).date()
            file = text(one.get("file"), "the file of a record").partition(".")[0]
            if abs(when - float(found["at"])) > 86_400 or (
                str(record.get("message")) == f"past {word}" and file[:4] == "2001"
            ):
                wrong.append(f"a record was added to the past: it lies under {file} and was received {day}")
        return wrong

    def unalerted(self, kind: str, sources: Sequence[str]) -> list[str]:
        """Forbidden acts of a moment ago, by the source that told of them, of which no alert of this kind tells."""
        sent = marks(self.inside)
        raised = rows(self.outside.fact("alerts"), "the alerts")
        told = [json.dumps(one) for one in raised if one.get("alert") == kind]
        wrong = []
        for source in sources:
            if source not in sent or text(sent[source].get("tried"), f"why {source} was not tried"):
                raise Unmeasured(f"nothing forbidden was tried that {source} would tell of")
            word = text(sent[source].get("mark"), f"the mark of {source}")
            if not any(word in one for one in told):
                wrong.append(f"what {source} told a moment ago raised no alert {kind}")
        return wrong

    def false_alarms(self, sources: Sequence[str]) -> list[str]:
        """Alerts that everyday records raised."""
        sent = marks(self.inside)
        told = json.dumps(self.outside.fact("alerts"))
        words = {
            source: text(sent[source].get("mark"), f"the mark of {source}") for source in sources if source in sent
        }
        return [f"an everyday record of {source} raised an alert" for source, word in words.items() if word in told]

    def open_files(self) -> list[str]:
        """What lies in the store and others than its owner can read."""
        modes = mapping(self.outside.fact("modes"), "the modes of the log store's files")
        if not modes:
            raise Unmeasured("the log store holds no file")
        with legible("the modes of the log store's files"):
            return [
                f"{name} at the log store is open to others ({mode})"
                for name, mode in modes.items()
                if int(mode, 8) & 0o077
            ]

    def unwatched(self, seconds: int) -> list[str]:
        """That nobody at the store would notice within `seconds` that this host has fallen silent."""
        told = mapping(self.outside.fact("watch"), "the watch at the log store")
        if told.get("seen") is None:
            return ["nobody at the log store watches for hosts that fall silent"]
        seen = mapping(told["seen"], "what the watch saw")
        hosts = mapping(seen.get("hosts"), "the hosts that the watch saw")
        wrong = []
        with legible("the watch at the log store"):
            age, limit = float(told["now"]) - float(seen["at"]), float(seen["limit"])
        if not -WATCH_AGE <= age <= WATCH_AGE:
            wrong.append(f"the watch at the log store last looked {age:.0f} s ago: it has stopped")
        if not 0 < limit <= seconds:
            wrong.append(f"the watch at the log store tells of silence after {limit:.0f} s, and {seconds} are allowed")
        arrived = mapping(self.outside.fact("arrived"), "what arrived at the log store")
        lines = [text(mapping(one, "a mark").get("line"), "a line of the log store") for one in arrived.values() if one]
        if not lines:
            raise Unmeasured(
                "nothing of this host arrived at the log store, so nobody knows under which name it is watched"
            )
        with legible("a line of the log store"):
            name = str(json.loads(lines[0])["from"])
        if name not in hosts:
            wrong.append(f"the watch at the log store does not know this host, whose records come from {name}")
        return wrong


def _names_an_agent(line: str) -> bool:
    """Whether a line holds an address of the agents' own networks."""
    for word in re.findall(r"[0-9A-Fa-f:.]{3,}", line):
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(word.strip("."))
            if any(address in ipaddress.ip_network(subnet) for subnet in AGENT_SUBNETS):
                return True
    return False
