"""Give every record one shape and take secrets out of it, before it leaves the host.

rsyslog (mmexternal, `interface.input="fulljson"`) writes one message a line as JSON and reads one line back:
`{"$!": {"clawkeep_record": TEXT}}`, TEXT being the record as JSON. The fields stand in docs/guides/logs.md. A line that
cannot be understood gives a record that says so and holds nothing of it: nothing passes unredacted.

    clawkeep-log-redact            as rsyslog starts it
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from clawkeep_host import foreign_json
from clawkeep_host.command import Parser, conclude
from clawkeep_host.redaction import redact as clean
from clawkeep_host.redaction import redact_text

PROGRAM = "clawkeep-log-redact"
JOURNAL = "file.journal:"  # the tag of what clawkeep-log-journal wrote
LIMIT = 60_000  # characters of one record, as JSON; the store refuses more than 64 KiB
SOURCES = {
    "clawkeep-openclaw-export": "openclaw",
    "clawkeep-proxy": "proxy",
    "squid": "proxy",
    "clawkeep-resolver": "resolver",
    "dnsmasq": "resolver",
    "nginx": "web",
    "clawkeep-gate": "gate",
    "dockerd": "engine",
    "containerd": "engine",
    "sshd": "auth",
    "sshd-session": "auth",
    "sudo": "auth",
    "su": "auth",
    "login": "auth",
    "systemd-logind": "auth",
    "useradd": "auth",
    "usermod": "auth",
    "passwd": "auth",
    "clawkeep-manifest": "manifest",
    "clawkeep-breakglass": "emergency",
    "clawkeep-kill": "emergency",
    "rsyslogd": "log_agent",
}
BOOT = Path("/proc/sys/kernel/random/boot_id")
FIELD_LIMIT = 1000  # characters of a field beside the message
AUDIT = re.compile(r"\bmsg=audit\((\d{1,12})\.(\d{1,6}):\d+\)")


def source_of(tag: str, program: str, message: str, fields: dict[str, Any]) -> str:
    """Which of the documented sources a message came from."""
    if tag.startswith("file."):
        return tag[5:].rstrip(":")
    # The journal knows who spoke; a name that a program gives itself counts only where the journal is not asked.
    transport = fields.get("_TRANSPORT") or program
    if transport == "kernel":
        return "firewall" if "clawkeep-" in message[:80] and " IN=" in message else "kernel"
    if transport == "audit":
        return "audit"
    unit = str(fields.get("_SYSTEMD_UNIT", "")).partition(".service")[0]
    return SOURCES.get(unit) or SOURCES.get(program) or "journal"


def body(text: str) -> dict[str, Any]:
    """`message`, redacted, and `data` where the message is one JSON object."""
    if text.lstrip().startswith("{"):
        try:
            value = foreign_json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, dict):
            data = clean(value)
            inner = data.get("log", data.get("message", data.get("msg", "")))
            return {"message": inner.rstrip("\n") if isinstance(inner, str) else "", "data": data}
    return {"message": redact_text(text)}


def of_journal(line: str) -> dict[str, Any]:
    """The message that rsyslog would have made of a line of clawkeep-log-journal's; raises ValueError for another."""
    entry = foreign_json.loads(line)
    if not isinstance(entry, dict):
        raise ValueError("no record")
    program = str(entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM") or "")
    return {
        "msg": entry.get("MESSAGE", ""),
        "programname": program,
        "syslogtag": "",  # a program may call itself what it likes, but not after one of the agent's files
        "syslogseverity": entry.get("PRIORITY", 6),
        "timereported": moment(int(entry["at"]) / 1_000_000, "microseconds"),
        "cut": entry.get("cut"),
        "$!": {name: value for name, value in entry.items() if name.startswith("_")},
    }


def moment(seconds: float, precision: str) -> str:
    """Seconds since the epoch as RFC 3339; raises ValueError for those that no clock shows."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec=precision)
    except (OverflowError, OSError) as problem:
        raise ValueError(f"no time: {problem}") from None


def happened(source: str, text: str, reported: str) -> str:
    """When it happened: an audit record says so itself, and nothing else is taken for one."""
    stamp = AUDIT.search(text) if source == "audit" else None
    if stamp is None:
        return reported
    try:
        return moment(int(stamp[1]) + int(stamp[2]) / 1000, "milliseconds")
    except ValueError:
        return reported


def fitting(record: dict[str, Any]) -> dict[str, Any]:
    """The record, redacted as it is, shortened until the store takes it; `cut` tells how long its message was."""
    if size(record) <= LIMIT:
        return record
    message = str(record["message"])
    if "data" in record:
        message = json.dumps(record.pop("data"), separators=(",", ":"))
    record["cut"] = record.get("cut") or len(message)
    while size({**record, "message": message}) > LIMIT and message:
        message = message[: len(message) * 3 // 4]
    record["message"] = message
    return record


def size(record: dict[str, Any]) -> int:
    """Characters of a record as it leaves."""
    return len(json.dumps(record, separators=(",", ":")))


class Shaper:
    """Makes records; `boot` and a count make each one's `id`, by which the store tells a record sent twice."""

    def __init__(self, host: str, boot: str) -> None:
        """Begin a numbering: unique as long as the process lives, and told from its predecessor's by the pid."""
        self.host, self.prefix, self.count = host, f"{boot}-{os.getpid()}", 0

    def record(self, line: str) -> dict[str, Any]:
        """The record of one line of rsyslog's; never raises."""
        self.count += 1
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        envelope = {"schema": 1, "id": f"{self.prefix}-{self.count}", "host": self.host, "sent": now}
        try:
            return fitting({**envelope, **shaped(foreign_json.loads(line))})
        except (ValueError, TypeError, AttributeError, KeyError, ArithmeticError, RecursionError) as problem:
            return {**envelope, "source": "log_agent", "message": f"[withheld: illegible, {type(problem).__name__}]"}


def shaped(message: dict[str, Any]) -> dict[str, Any]:
    """What a message of rsyslog's tells, in the record's fields; raises what a misshapen one makes Python raise."""
    if message.get("syslogtag") == JOURNAL:
        message = of_journal(str(message.get("msg", "")))
    fields = message.get("$!") or {}
    program, tag = str(message.get("programname", "")), str(message.get("syslogtag", ""))
    text = str(message.get("msg", "")).removeprefix(" ")
    source = source_of(tag, program, text, fields)
    found = body(text)
    if message.get("cut"):
        found["cut"] = int(message["cut"])
    kept = {"unit": "_SYSTEMD_UNIT", "pid": "_PID", "uid": "_UID", "executable": "_EXE"}
    more = {name: short(fields[key]) for name, key in kept.items() if fields.get(key)}
    metadata = fields.get("metadata") or {}
    if isinstance(metadata, dict) and metadata.get("filename"):
        more["file"] = short(metadata["filename"])
    return {
        "time": happened(source, text, str(message.get("timereported", ""))),
        "source": source,
        "severity": int(str(message.get("syslogseverity", 6))),
        "program": short(program),
        **more,
        **found,
    }


def short(value: object) -> str:
    """A field, redacted before it is cut."""
    return redact_text(str(value))[:FIELD_LIMIT]


def answer() -> None:
    """Answer line by line until rsyslog closes the pipe."""
    shaper = Shaper(socket.gethostname(), BOOT.read_text(encoding="ascii")[:8])
    for line in sys.stdin.buffer:
        record = json.dumps(shaper.record(line.decode("utf-8", "replace")), ensure_ascii=True, separators=(",", ":"))
        sys.stdout.write(json.dumps({"$!": {"clawkeep_record": record}}) + "\n")
        sys.stdout.flush()


def main() -> NoReturn:
    """Start as rsyslog does."""
    Parser(PROGRAM, __doc__).parse_args()
    conclude(PROGRAM, answer)
