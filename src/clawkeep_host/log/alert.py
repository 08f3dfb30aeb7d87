"""Raise alerts from the records that reach the log store.

rsyslog (omprog) gives one line a record: {"received", "from", "record": {...}} as docs/guides/logs.md says. The rules
are a JSON file: {"alerts": [names], "window_seconds": 300, "metadata_threshold": 20, "output": FILE, "notify": [argv]}.
An alert is one line of JSON appended to the output, a syslog message of severity alert, and standard input of `notify`.
The same alert (kind, host, subject, destination) is told once a window, and its next telling counts those in between;
of emergency access and of the kill switch every record is told.

    clawkeep-log-alert RULES.json < RECORDS
    clawkeep-log-alert RULES.json --silence [--every SECONDS]

The second form looks at the store itself ("store": DIR, one folder a host): a host whose newest record is older than
"silence_seconds" is told of once, until it sends again. What was seen is left in "watch": {"at", "limit", "hosts":
{folder: {"last", "told"}}}, times in seconds since the epoch. It looks once, or with --every until its parent is gone.
"""

from __future__ import annotations

import json
import os
import re
import sys
import syslog
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from clawkeep_host import files
from clawkeep_host.command import Parser, Refusal, attempt, conclude

PROGRAM = "clawkeep-log-alert"

METADATA = re.compile(r"^(?:169\.254\.|fd00:ec2:|100\.100\.100\.200$|168\.63\.129\.16$|192\.0\.0\.192$)", re.I)
DROP = re.compile(
    r"clawkeep-(?:input|forward|output|egress)\w* "
    r".*?\bDST=(?P<dst>\S+)(?:.*?\bPROTO=(?P<proto>\S+))?(?:.*?\bDPT=(?P<port>\d+))?"
)
FROM = re.compile(r"\b(?:IN|PHYSIN)=(?P<card>\S*).*?\bSRC=(?P<src>\S+)")
REFUSED = re.compile(r"\bTCP_DENIED\S*")
QUERY_REFUSED = re.compile(
    r"\bconfig (?P<name>\S+) is (?:NXDOMAIN|REFUSED|NODATA)|\bquery refused[: ]+(?P<other>\S+)", re.I
)
AUDIT_KEY = re.compile(r'\bkey="?(?P<key>clawkeep-[a-z-]+)')
EVENT = re.compile(r"\bmsg=audit\((?P<event>[\d.]+:\d+)\)")
NAME = re.compile(r'\bname="(?P<name>[^"]*)"')
FIELD = re.compile(r"\b(?P<key>uid|exe|comm|success|exit|syscall)=\"?(?P<value>[^\s\"]+)")
SYSTEM = (
    "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssh", "/etc/clawkeep", "/root", "/run/docker.sock",
    "/var/run/docker.sock", "/run/containerd", "/run/secrets", "/var/spool/clawkeep-log", "/home",
)  # fmt: skip
RETIRED = 30 * 86_400  # seconds of silence after which a host is one that went away, and nobody is told
OPENED = re.compile(r"emergency access (?:opened|NOT CLOSED)")
NAMES = 64  # paths of one audit event
ENVIRON = re.compile(r"^/proc/(?:\d+|self)/(?:environ|mem|root|cwd|fd)")


@dataclass
class Rules:
    """What to watch for, and what was told when; times are the store's, in seconds."""

    alerts: frozenset[str]
    window: float = 300
    threshold: int = 20
    told: dict[tuple[str, ...], tuple[float, int]] = field(default_factory=dict)
    polls: dict[str, list[float]] = field(default_factory=dict)
    events: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def of(self, line: str) -> list[dict[str, Any]]:
        """The alerts that one line of the store raises; a line that is no record raises none."""
        try:
            stored = json.loads(line)
            record, sender = stored["record"], str(stored["from"])
            now = datetime.fromisoformat(stored["received"].replace("Z", "+00:00")).timestamp()
            source, message = str(record.get("source", "")), str(record.get("message", ""))
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
            return []
        found = [
            {
                "alert": kind,
                "from": sender,
                "host": str(record.get("host", "")),
                "received": stored["received"],
                **facts,
            }
            for kind, facts in self._kinds(source, message, record, sender, now)
            if kind in self.alerts
        ]
        return [one for one in found if self._news(one, now)]

    def _kinds(
        self, source: str, message: str, record: dict[str, Any], sender: str, now: float
    ) -> list[tuple[str, dict[str, Any]]]:
        if source == "firewall":
            return self._drop(message, sender, now)
        if source == "proxy":
            return self._proxy(message, record)
        if source == "resolver":
            name = QUERY_REFUSED.search(message)
            wanted = (name["name"] or name["other"]) if name else ""
            return [("unexpected_outbound", {"subject": "name", "destination": wanted})] if name else []
        if source == "audit":
            return self._audit(message, sender)
        if source == "emergency":
            return self._emergency(message, record)
        return []

    @staticmethod
    def _emergency(message: str, record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Emergency access that was opened or is not closed, and whatever the kill switch says of itself.

        Any account of the host can write under their names; whose doing it was is part of what is told.
        """
        program = str(record.get("program", ""))
        if program == "clawkeep-breakglass" and not OPENED.match(message):
            return []
        who = {"program": program, "uid": str(record.get("uid", "")), "record": str(record.get("id", ""))}
        subject = "kill" if program == "clawkeep-kill" else "emergency access"
        return [("breakglass", {"subject": subject, "destination": "", **who, "detail": message[:300]})]

    def _drop(self, message: str, sender: str, now: float) -> list[tuple[str, dict[str, Any]]]:
        drop = DROP.search(message)
        if drop is None or ("clawkeep-input" in message and "IN=clawkeep" not in message):
            return []  # what strangers send to the host is no traffic of the agent's
        destination = drop["dst"]
        if METADATA.match(destination):
            recent = [at for at in self.polls.get(sender, []) if now - at < self.window]
            self.polls[sender] = [*recent, now][-1000:]
            if len(self.polls[sender]) <= self.threshold:
                return []  # OpenClaw asks for cloud credentials when it starts
        origin = FROM.search(message)
        facts = {
            "subject": origin["src"] if origin else "",
            "container_bridge": origin["card"] if origin else "",
            "destination": destination,
            "protocol": drop["proto"] or "",
            "port": drop["port"] or "",
            "detail": message[:200],
        }
        return [("unexpected_outbound", facts)]

    @staticmethod
    def _proxy(message: str, record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        told = record.get("data")
        data: dict[str, Any] = told if isinstance(told, dict) else {}
        # A tunnel that ends because its TLS client named another host has no denial of its own.
        refused = REFUSED.search(str(data.get("decision", ""))) or data.get("bump") == "terminate"
        if not (refused or REFUSED.search(message)):
            return []
        destination = str(data.get("target", "")) or message[:300]
        subject = str(data.get("client", ""))
        return [("unexpected_outbound", {"subject": subject, "destination": destination})]

    def _audit(self, message: str, sender: str) -> list[tuple[str, dict[str, Any]]]:
        """The kernel tells one event in several records: what the key names and what the path names are joined."""
        event = EVENT.search(message)
        if event is None:
            return []
        joined = self.events.setdefault((sender, event["event"]), {})
        while len(self.events) > 256:
            self.events.pop(next(iter(self.events)))
        key = AUDIT_KEY.search(message)
        if key:
            joined["key"] = key["key"]
            joined.update({match["key"]: match["value"] for match in FIELD.finditer(message)})
        names = joined.setdefault("names", [])
        names.extend(match["name"] for match in NAME.finditer(message))
        del names[NAMES:]
        if joined.get("key") not in ("clawkeep-system", "clawkeep-refused") or joined.get("told"):
            return []
        for name in joined["names"]:
            touched = joined["key"] == "clawkeep-system" or ENVIRON.match(name) or _below(name)
            if touched:
                joined["told"] = True
                facts = {
                    "subject": f"uid {joined.get('uid', '?')}",
                    "destination": name,
                    "executable": joined.get("exe", ""),
                }
                return [("system_files", {**facts, "success": joined.get("success", "")})]
        return []

    def _news(self, alert: dict[str, Any], now: float) -> bool:
        # A record that tells of an emergency has its own id, the same one where it was sent twice.
        parts = ("subject", "destination", "record")
        key = (alert["alert"], alert["from"], *(str(alert.get(part, "")) for part in parts))
        when, before = self.told.get(key, (float("-inf"), 0))
        if now - when < self.window:
            self.told[key] = (when, before + 1)
            return False
        self.told[key] = (now, 0)
        if len(self.told) > 10_000:
            self.told.pop(next(iter(self.told)))
        alert["repeated"] = before
        return True


def _below(name: str) -> bool:
    return any(name == path or name.startswith(path + "/") for path in SYSTEM)


def tell(alert: dict[str, Any], output: str, notify: list[str]) -> None:
    """Write, log and hand on one alert; a notifier that fails is told of in the output."""
    line = json.dumps(alert, sort_keys=True)
    if notify:
        alert["notified"] = attempt(*notify, stdin=line, seconds=30).ok
        line = json.dumps(alert, sort_keys=True)
    handle = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "a", encoding="utf-8") as file:
        file.write(line + "\n")
    syslog.syslog(syslog.LOG_AUTHPRIV | syslog.LOG_ALERT, line)


def silent(
    folders: dict[str, float], limit: float, now: float, before: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The alerts of hosts that fell silent, and what is to be remembered of all; `folders` has their last records."""
    alerts, hosts = [], {}
    for name, last in sorted(folders.items()):
        quiet = now - last > limit
        told = before.get(name, {}).get("told") if quiet else None
        if quiet and told is None and now - last < RETIRED:
            received = datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds")
            detail = f"no record for {now - last:.0f} s"
            alerts.append({"alert": "log_silence", "from": name, "host": "", "received": received, "detail": detail})
            told = now
        hosts[name] = {"last": last, "told": told}
    return alerts, hosts


def look(wish: dict[str, Any]) -> None:
    """Look at the store once: tell of silence, and leave what was seen."""
    now, watch = time.time(), Path(wish["watch"])
    folders = {}
    for folder in Path(wish["store"]).iterdir():
        times = [path.stat().st_mtime for path in folder.glob("*.jsonl")] if folder.is_dir() else []
        if times:
            folders[folder.name] = max(times)
    try:
        before = json.loads(watch.read_text(encoding="utf-8"))["hosts"]
    except (OSError, ValueError, KeyError, TypeError):
        before = {}
    alerts, hosts = silent(folders, float(wish["silence_seconds"]), now, before)
    for alert in alerts:
        tell(alert, wish["output"], list(wish["notify"]))
    files.write(watch, json.dumps({"at": now, "limit": wish["silence_seconds"], "hosts": hosts}))


def settings(path: Path) -> dict[str, Any]:
    """The rules file; raises Refusal when it is not there, or no JSON object."""
    try:
        wish = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise Refusal(f"{path} cannot be read ({problem}); run the role log_collector against this host") from None
    if not isinstance(wish, dict):
        raise Refusal(f"{path} holds no JSON object; run the role log_collector against this host")
    return wish


def watch_for_silence(wish: dict[str, Any], every: float) -> None:
    """Look once, or each `every` seconds until the parent is gone."""
    parent = os.getppid()
    look(wish)
    due = time.monotonic() + every
    while every and os.getppid() == parent:
        if time.monotonic() >= due:
            look(wish)
            due += every
        time.sleep(0.5)


def watch_records(wish: dict[str, Any]) -> None:
    """Read records until rsyslog closes the pipe."""
    rules = Rules(frozenset(wish["alerts"]), float(wish["window_seconds"]), int(wish["metadata_threshold"]))
    for line in sys.stdin.buffer:
        for alert in rules.of(line.decode("utf-8", "replace")):
            tell(alert, wish["output"], list(wish["notify"]))


def main() -> NoReturn:
    """Parse the command line and watch."""
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument("rules", metavar="RULES.json", type=Path)
    parser.add_argument("--silence", action="store_true", help="look for hosts that have fallen silent")
    parser.add_argument("--every", metavar="SECONDS", type=float, default=0.0, help="look again and again")
    wish = parser.parse_args()
    os.umask(0o077)
    syslog.openlog(PROGRAM)

    def work() -> None:
        known = settings(wish.rules)
        if wish.silence:
            watch_for_silence(known, wish.every)
        else:
            watch_records(known)

    conclude(PROGRAM, work)
