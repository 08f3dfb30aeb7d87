"""The log agent on the host: where it sends and to whom, what it reads, and who can read its spool."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.collector.logs import SPOOL, UNITS
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import integer, mapping, rows, text, texts
from clawkeep.subjects.systemd import units

SENDERS = ("omfwd", "omrelp", "omprog", "omhttp", "omkafka", "omelasticsearch")  # whatever could carry records away
SENDER = "/usr/local/sbin/clawkeep-log-send"
CONFIG = "/etc/clawkeep/log"
AGENT = "clawkeep-log.service"
FILES = (
    f"{SPOOL}/journal/*.jsonl",  # written by clawkeep-log-journal.service
    *("/var/log/audit/audit.log", "/var/log/clawkeep/proxy/access.log", "/var/log/clawkeep/resolver/queries.log"),
)
WORLD = 0o007
PARAMETER = re.compile(r'([\w.]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|(\[[^\]]*\]))')
OBJECT = re.compile(r"\b(global|main_queue|module|input|action|template|ruleset)\s*\(([^()]*)\)", re.S)


@dataclass(frozen=True)
class LogAgent:
    """The agent as it is set and runs. Source: its configuration, rsyslogd's check of it, systemd, file modes."""

    document: Document
    objects: tuple[tuple[str, Mapping[str, str]], ...]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when rsyslogd itself did not accept the configuration."""
        host.inside.command("log-agent-check")
        lines = texts(host.inside.fact("log-agent-config"), "the log agent's configuration")
        body = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
        found = tuple(
            (kind, {name.lower(): quoted or listed for name, quoted, listed in PARAMETER.findall(inner)})
            for kind, inner in OBJECT.findall(body)
        )
        if not any(kind == "action" for kind, _ in found):
            raise Unmeasured("the log agent's configuration has no action that this Clawkeep can read")
        return cls(host.inside, found)

    def not_running(self) -> list[str]:
        """Units of the log agent that do not run, or would not after a boot."""
        seen = units(self.document.lines("log-units"))
        wrong = []
        for unit in UNITS:
            one = seen.get(unit, {})
            if one.get("ActiveState") != "active":
                wrong.append(f"{unit} is {one.get('ActiveState', 'not there')}: start it")
            elif one.get("UnitFileState") not in ("enabled", "enabled-runtime"):
                wrong.append(f"{unit} does not start at boot: enable it")
        if f" -f {CONFIG}/rsyslog.conf " not in seen.get(AGENT, {}).get("ExecStart", ""):
            wrong.append(f"{AGENT} is not started with {CONFIG}/rsyslog.conf, the configuration that is judged")
        return wrong

    def _senders(self) -> list[Mapping[str, str]]:
        return [one for kind, one in self.objects if kind == "action" and one.get("type") in SENDERS]

    def loose_transport(self, collector: str, name: str) -> list[str]:
        """Ways on which records leave without both certificates and the store's name."""
        if not collector or not name:
            raise Unmeasured("the site names no log store: set site_log_collector and site_log_collector_name")
        host, _, port = collector.rpartition(":")
        wanted = [SENDER, host.strip("[]"), port, name, f"{CONFIG}/tls"]
        senders = self._senders()
        if not senders:
            return ["nothing sends the records anywhere"]
        wrong = []
        for one in senders:
            argv = one.get("binary", "").split()
            if one.get("type") != "omprog" or argv[:1] != [SENDER]:
                wrong.append(
                    f"records leave by {one.get('type')} {one.get('target', one.get('binary', ''))}, which nobody checked"  # noqa: E501
                )
            elif argv != wanted:
                wrong.append(f"records go to {' '.join(argv[1:4])} and not to {' '.join(wanted[1:4])}")
            if one.get("confirmmessages") != "on" or one.get("usetransactions") != "on":
                wrong.append(
                    "records count as gone before the store has taken them: confirmMessages and useTransactions are off"
                )
        return wrong

    def lossy_queue(self) -> list[str]:
        """What would lose records, or fill the disk, while the store is away."""
        wrong = []
        before = [
            one.get("queue.type", "")
            for kind, one in self.objects
            if kind in ("main_queue", "ruleset") and "queue.type" in one
        ]
        if before != ["Direct"]:
            wrong.append("records wait in memory before they reach the spool: the main queue is not Direct")
        for one in self._senders():
            what = "the queue to the store"
            if one.get("queue.type") != "Disk" or not one.get("queue.filename"):
                wrong.append(f"{what} is in memory alone: a restart loses it")
            if not re.fullmatch(r"[1-9]\d*[kmg]", one.get("queue.maxdiskspace", "")):
                wrong.append(f"{what} has no limit on the disk: an absent store would fill it")
            if one.get("queue.saveonshutdown") != "on":
                wrong.append(f"{what} is dropped when the log agent stops")
            if not one.get("queue.timeoutenqueue", "").isdigit() or int(one["queue.timeoutenqueue"]) < 3_600_000:
                wrong.append(f"{what} drops records once it is full instead of waiting")
            if one.get("queue.discardmark") or one.get("queue.discardseverity"):
                wrong.append(f"{what} drops some records by their severity")
        for kind, one in self.objects:
            early = one.get("persiststateinterval", "0") != "0" or one.get("persiststateaftersubmission") != "on"
            if kind == "input" and one.get("type") == "imfile" and early:
                wrong.append(f"{one.get('file')} counts as read before its lines are in the spool")
        for one in self._senders():
            if one.get("action.resumeretrycount") != "-1":
                wrong.append("the log agent gives up on an absent store: action.resumeRetryCount is not -1")
        return wrong

    def unread(self) -> list[str]:
        """Sources that the agent does not read."""
        followed = {one.get("file", "") for kind, one in self.objects if kind == "input"}
        return [f"{path} is not read" for path in FILES if path not in followed]

    def unredacted(self) -> list[str]:
        """Ways past the redactor."""
        actions = [one for kind, one in self.objects if kind == "action"]
        first = actions[0] if actions else {}
        if first.get("type") != "mmexternal" or not first.get("binary", "").endswith("/clawkeep-log-redact"):
            return ["records leave without redaction: the first action is not the redactor"]
        loose = [one for one in self._senders() if one.get("template") != "record"]
        return ["records leave in a form that the redactor did not write"] if loose else []

    def open_files(self) -> list[str]:
        """Files of the log agent, audit and the journal that others than root and its groups can read."""
        found = rows(self.document.fact("log-files"), "the log files")
        if not found:
            raise Unmeasured("no log file was found, not even the journal's")
        wrong = []
        for one in found:
            path, mode = (
                text(one.get("path"), "the path of a log file"),
                integer(one.get("mode"), "the mode of a log file"),
            )
            closed = path == SPOOL or path.startswith((f"{SPOOL}/", f"{CONFIG}/", "/var/log/audit"))
            if one.get("kind") == "directory" and not closed:
                continue
            if mode & WORLD or (closed and (mode & 0o070 or one.get("uid") != 0)):
                wrong.append(f"{path} is open to others (mode {mode:04o}, uid {one.get('uid')})")
        return wrong

    def full(self) -> list[str]:
        """That records were dropped because a queue was full."""
        lines = texts(self.document.fact("log-agent-queue"), "the state of the queues")
        counts = [int(number) for line in lines for number in re.findall(r'"discarded\.(?:full|nf)":\s*(\d+)', line)]
        if not counts:
            raise Unmeasured("the log agent has not yet told the state of its queues")
        return [f"a queue of the log agent dropped {max(counts)} records"] if max(counts) else []


def marks(document: Document) -> Mapping[str, Mapping[str, Any]]:
    """What was sent through each source: `mark`, `at` in seconds since the epoch, `tried` why it could not be sent."""
    found = mapping(document.fact("log-marks"), "the marks that were sent")
    return {source: mapping(one, f"the mark of {source}") for source, one in found.items()}
