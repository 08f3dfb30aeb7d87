#!/usr/bin/python3 -ISu
"""Give every record one shape and take secrets out of it, before it leaves the host.

rsyslog (mmexternal, `interface.input="fulljson"`) writes one message a line as JSON and reads one line back:
`{"$!": {"clawkeep_record": TEXT}}`, TEXT being the record as JSON. The fields stand in docs/guides/logs.md. A line that
cannot be understood gives a record that says so and holds nothing of it: nothing passes unredacted.

    clawkeep-log-redact            as rsyslog starts it
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import socket
import sys
from datetime import datetime, timezone
from typing import Any

MARK = "[redacted]"
JOURNAL = "file.journal:"  # the tag of what clawkeep-log-journal wrote
LIMIT = 60_000  # characters of one record's message; the store refuses more than 64 KiB
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
    "rsyslogd": "log_agent",
}
SECRET_NAME = re.compile(
    r"(?:TOKEN|SECRET|PASSW|API[_-]?KEY|PRIVATE[_-]?KEY|ACCESS[_-]?KEY|CREDENTIAL|COOKIE|AUTHORIZATION)", re.I
)
SECRET = re.compile(
    r"(?P<keep>\b(?:proxy-)?(?:authorization|x-api-key)\\?\"?\s*[:=]\s*\\?\"?(?:bearer\s+|basic\s+)?)[^\s\"'\\,;]+"
    r"|(?P<cookie>\b(?:set-)?cookie\\?\"?\s*[:=]\s*\\?\"?)[^\"'\\\r\n]+"
    r"|(?P<name>\b[A-Za-z0-9_-]*(?:TOKEN|SECRET|PASSWORD|PASSWD|API[_-]?KEY|ACCESS[_-]?KEY)[A-Za-z0-9_-]*"
    r"\\?[\"']?\s*[=:]\s*\\?[\"']?)[^\s\"'\\,;&}]+"
    r"|(?<=://)(?P<user>[^/\s:@\"']{0,200}:)[^/\s@\"']{1,500}(?=@)"
    r"|\b[Bb]earer\s+[A-Za-z0-9._~+/=-]{16,}"
    r"|\beyJ[A-Za-z0-9_-]{8,400}\.[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]*"
    r"|\$(?:1|2[aby]|5|6|7|y|gy|argon2i?d?)\$[A-Za-z0-9./$=,+-]{13,400}"
    r"|\bsk-[A-Za-z0-9_-]{16,}|\bA(?:KIA|SIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bgithub_pat_\w{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bAIza[0-9A-Za-z_-]{30,}|\bclawkeep-canary-[0-9a-f]{16,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.I,
)
ENCODED = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{24,4096}={0,2}(?![A-Za-z0-9+/=_-])")
HEX_FIELD = re.compile(r"\b(?P<name>proctitle|a\d+|data|cmd)=(?P<hex>(?:[0-9A-F]{2}){12,4096})\b")
AUDIT = re.compile(r"\bmsg=audit\((\d+)\.(\d+):(\d+)\)")


def plain(text: str) -> str:
    """`text` without what looks like a secret as it stands."""

    def blank(match: re.Match[str]) -> str:
        groups = match.groupdict()
        return (groups["keep"] or groups["cookie"] or groups["name"] or groups["user"] or "") + MARK

    return SECRET.sub(blank, text)


def decoded(word: str) -> str | None:
    """The text that a base64 word holds, standard or for URLs; None when it holds none."""
    body = word.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
        return raw.decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def redact(text: str) -> str:
    """`text` without secrets: as they stand, in base64, and in the hex in which the kernel writes command lines."""

    def unhex(match: re.Match[str]) -> str:
        inner = bytes.fromhex(match["hex"]).decode("utf-8", "replace").replace("\0", " ")
        clean = plain(inner)
        return match[0] if clean == inner else f"{match['name']}={json.dumps(clean)}"

    def unbase(match: re.Match[str]) -> str:
        inner = decoded(match[0])
        return MARK if inner is not None and plain(inner) != inner else match[0]

    return ENCODED.sub(unbase, plain(HEX_FIELD.sub(unhex, text)))


def clean(value: Any, depth: int = 0) -> Any:
    """A JSON value without secrets: by the name of a key, and by their look."""
    if depth > 12:
        return MARK
    if isinstance(value, dict):
        return {
            redact(str(key)): MARK
            if SECRET_NAME.search(str(key)) and isinstance(item, str) and item
            else clean(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [clean(item, depth + 1) for item in value]
    return redact(value) if isinstance(value, str) else value


def source_of(tag: str, program: str, message: str, fields: dict[str, Any]) -> str:
    """Which of the documented sources a message came from."""
    if tag.startswith("file."):
        return tag[5:].rstrip(":")
    if fields.get("_TRANSPORT") == "kernel" or program == "kernel":
        return "firewall" if "clawkeep-" in message[:80] and " IN=" in message else "kernel"
    if program == "audit" or fields.get("_TRANSPORT") == "audit":
        return "audit"
    unit = str(fields.get("_SYSTEMD_UNIT", "")).partition(".service")[0]
    return SOURCES.get(unit) or SOURCES.get(program) or "journal"


def body(text: str) -> dict[str, Any]:
    """`message`, redacted, and `data` where the message is one JSON object."""
    if text.lstrip().startswith("{"):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, dict):
            data = clean(value)
            inner = data.get("log", data.get("message", data.get("msg", "")))
            return {"message": inner.rstrip("\n") if isinstance(inner, str) else "", "data": data}
    return {"message": redact(text)}


def of_journal(line: str) -> dict[str, Any]:
    """The message that rsyslog would have made of a line of clawkeep-log-journal's; raises ValueError for another one."""
    entry = json.loads(line)
    if not isinstance(entry, dict):
        raise ValueError("no record")
    when = datetime.fromtimestamp(int(entry["at"]) / 1_000_000, timezone.utc).isoformat(timespec="microseconds")
    program = str(entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM") or "")
    return {
        "msg": entry.get("MESSAGE", ""),
        "programname": program,
        "syslogtag": "",  # a program may call itself what it likes, but not after one of the agent's files
        "syslogseverity": entry.get("PRIORITY", 6),
        "timereported": when,
        "cut": entry.get("cut"),
        "$!": {name: value for name, value in entry.items() if name.startswith("_")},
    }


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
            message = json.loads(line)
            if message.get("syslogtag") == JOURNAL:
                message = of_journal(str(message.get("msg", "")))
            fields = message.get("$!") or {}
            program, tag = str(message.get("programname", "")), str(message.get("syslogtag", ""))
            text = str(message.get("msg", "")).removeprefix(" ")
            source = source_of(tag, program, text, fields)
            found = body(text[:LIMIT])
            if message.get("cut") or len(text) > LIMIT:
                found["cut"] = int(message.get("cut") or len(text))
            when = str(message.get("timereported", ""))
            audit = AUDIT.search(text)
            if audit:
                stamp = int(audit[1]) + int(audit[2]) / 1000
                when = datetime.fromtimestamp(stamp, timezone.utc).isoformat(timespec="milliseconds")
            kept = {"unit": "_SYSTEMD_UNIT", "pid": "_PID", "uid": "_UID", "executable": "_EXE"}
            more = {name: redact(str(fields[key])) for name, key in kept.items() if fields.get(key)}
            metadata = fields.get("metadata") or {}
            if isinstance(metadata, dict) and metadata.get("filename"):
                more["file"] = str(metadata["filename"])
            severity = int(str(message.get("syslogseverity", 6)))
            return {**envelope, "time": when, "source": source, "severity": severity, "program": program, **more, **found}
        except (ValueError, TypeError, AttributeError, KeyError) as problem:
            return {**envelope, "source": "log_agent", "message": f"[withheld: illegible, {type(problem).__name__}]"}


def main() -> int:
    """Answer line by line until rsyslog closes the pipe."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read(8)
    shaper = Shaper(socket.gethostname(), boot)
    for line in sys.stdin.buffer:
        record = json.dumps(shaper.record(line.decode("utf-8", "replace")), ensure_ascii=True, separators=(",", ":"))
        sys.stdout.write(json.dumps({"$!": {"clawkeep_record": record}}) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
