"""LOG-10's subjects: who reads the logs, how long they are kept, and what becomes of a secret."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.collector import logs as reading
from clawkeep.collector import others
from clawkeep.collector.experiments import log_marks as collector
from clawkeep.collector.recorder import Recorder
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.entry.web import Gateways
from clawkeep.subjects.logs.log_store import LogStore
from clawkeep.subjects.logs.logs import DAY, Logs
from clawkeep_host.log import redact as redactor

World = dict[str, Any]
JOURNAL = "/var/log/journal/abc/system.journal"
CONFIG = (
    "# /etc/systemd/journald.conf\n[Journal]\n#MaxRetentionSec=0\n# zz-clawkeep.conf\n[Journal]\nMaxRetentionSec=90day"
)
WORD = "ckmark0123456789abcdef0123"
DUMMY = collector.canary_of(WORD)


def readers() -> World:
    return {"control": "ok", "left": False, "files": {JOURNAL: {"nobody": "EACCES", "age": 60}}}


def gateway() -> World:
    log = {"patterns": 0, "file": "/home/node/.openclaw/logs/gateway.log", "bytes": 10_485_760}
    return {"name": "openclaw", "settings": {"log": log}}


def stored(message: str) -> World:
    """The store's line, shaped and redacted as the log agent does it."""
    raw = json.dumps({"msg": message, "syslogtag": "clawkeep-mark:", "programname": "clawkeep-mark"})
    record = redactor.Shaper("h", "b").record(raw)
    line = json.dumps({"received": "2026-11-22T22:00:01+00:00", "from": "203.0.113.10", "record": record})
    return {"file": "2026-11-22.jsonl", "line": line}


def host(config: Any = CONFIG, arrived: Any = None, **facts: Any) -> HostEvidence:
    journald = {"argv": ["systemd-analyze"], "status": 0, "lines": config.splitlines()}
    known = {
        "log-readers": readers(),
        "log-secret": {"tried": "", "told": True, "leaked": False},
        "log-marks": {"secret": {"mark": WORD, "at": 0, "tried": ""}},
        "gateways": [gateway()],
    }
    inside = {"schema": 1, "commands": {"journald-config": journald}, "facts": {**known, **facts}}
    at_store = {"secret": stored(collector.secret_line(WORD)) if arrived is None else arrived}
    siem = {"schema": 1, "facts": {"arrived": at_store, "attempt": [], "alerts": []}}
    return HostEvidence("h", {"schema": 1, "host": "h", "inside": inside, "vantages": {"siem": siem}})


def says(found: HostEvidence) -> list[str]:
    logs = found.subject(Logs)
    kept = [*logs.readable(), *logs.kept_otherwise(90), *logs.leaked()]
    return [*kept, *found.subject(Gateways).loose_logs(), *found.subject(LogStore).unredacted()]


def changed(make: Callable[[], World], *path: str, value: Any) -> World:
    whole = make()
    node = whole
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return whole


def test_the_good_host_is_green() -> None:
    assert says(host()) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (host(**{"log-readers": changed(readers, "files", JOURNAL, "nobody", value="ok")}), "any account reads"),
        (host(**{"log-readers": changed(readers, "files", JOURNAL, "age", value=93 * DAY)}), "is 93 days old"),
        (host(CONFIG.replace("90day", "30day")), "for 30 days, the tier wants 90"),
        (host(CONFIG + "\n[Journal]\nMaxRetentionSec=1year"), "for 365.25 days"),
        (host("[Journal]\n#MaxRetentionSec=90day"), "without an end"),
        (host(**{"log-secret": {"tried": "", "told": True, "leaked": True}}), "stand in an address"),
        (host(gateways=[changed(gateway, "settings", "log", "patterns", value=1)]), "a list of its own"),
        (host(gateways=[changed(gateway, "settings", "log", "file", value=None)]), "below /tmp"),
        (host(gateways=[changed(gateway, "settings", "log", "bytes", value=True)]), "no limit"),
        (host(arrived={"file": "x", "line": f"{WORD} Bearer {DUMMY}"}), "has a secret that was written"),
        (
            host(arrived={"file": "x", "line": WORD + base64.b64encode(f"token={DUMMY}".encode()).decode()}),
            "in base64",
        ),
    ],
)
def test_each_breach_is_told(found: HostEvidence, said: str) -> None:
    assert said in "\n".join(says(found))


@pytest.mark.parametrize(
    "found",
    [
        host(**{"log-readers": changed(readers, "control", value="EACCES")}),
        host(**{"log-readers": changed(readers, "left", value=True)}),
        host(**{"log-readers": changed(readers, "files", JOURNAL, "age", value=-3600)}),  # dated in the host's future
        host(**{"log-readers": changed(readers, "files", value={})}),
        host(**{"log-readers": changed(readers, "files", JOURNAL, "nobody", value=None)}),
        host(**{"log-readers": None}),
        host(CONFIG.replace("90day", "90 fortnights")),
        host(**{"log-secret": {"tried": "no agent's container runs", "told": False, "leaked": False}}),
        host(**{"log-secret": {"tried": "", "told": False, "leaked": False}}),
        host(gateways=[changed(gateway, "settings", value={"problem": "gone"})]),
        host(gateways=[changed(gateway, "settings", "log", value=None)]),
        host(arrived={"file": "x", "line": f"{WORD} and nothing else"}),
        host(arrived=[]),
        host(**{"log-marks": {}}),
    ],
)
def test_what_is_missing_or_misshapen_is_not_measured(found: HostEvidence) -> None:
    with pytest.raises(Unmeasured):
        says(found)


def test_the_dummy_secret_is_no_part_of_what_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str]] = []
    monkeypatch.setattr(collector, "say", lambda argv: sent.append(argv) or "")
    monkeypatch.setattr(collector, "kmsg", lambda _: "")
    monkeypatch.setattr(collector, "inside", lambda *_: "")
    monkeypatch.setattr(collector, "openclaw", lambda *_: "")
    monkeypatch.setattr(collector, "refused", lambda *_: "")
    marks = collector.marks(Recorder({}))
    dummy = collector.canary_of(marks["secret"]["mark"])
    assert any(dummy in word for argv in sent for word in argv)
    assert dummy not in json.dumps(marks)


def test_a_mark_in_the_kernel_log_ends_its_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernel shows a record without its end only when the next one comes: on a quiet host, never."""
    monkeypatch.setattr(collector, "KERNEL_LOG", str(tmp_path / "kmsg"))
    assert collector.kmsg("clawkeep-mark word") == ""
    assert (tmp_path / "kmsg").read_text(encoding="ascii") == "<5>clawkeep-mark word\n"


def test_the_collector_tells_what_nobody_reads_and_how_old_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(others, "ask", lambda _, wishes: ["ok", *("EACCES" for _ in wishes[1:])])
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    found = [
        {"path": str(tmp_path / "a.log"), "kind": "file", "changed": 400.0},
        {"path": str(tmp_path), "kind": "directory", "changed": 1.0},
    ]
    said = reading.readers(Recorder({}), found)
    assert said == {
        "control": "ok",
        "files": {str(tmp_path / "a.log"): {"nobody": "EACCES", "age": 600}},
        "left": False,
    }


@pytest.mark.parametrize(
    ("line", "leaked"),
    [("GET http://{word}.mark.invalid/", False), ("GET http://{word}.mark.invalid/?k={dummy}", True)],
)
def test_the_collector_sees_what_the_proxy_wrote(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, leaked: bool
) -> None:
    log = tmp_path / "access.log"
    log.write_text("earlier\n", encoding="utf-8")
    monkeypatch.setattr(collector, "PROXY_LOG", str(log))

    def asked(_: Recorder, argv: list[str]) -> str:
        word = argv[-1].removeprefix("http://").partition(".")[0]
        with log.open("a", encoding="utf-8") as file:
            file.write(line.format(word=word, dummy=collector.canary_of(word)) + "\n")
        return ""

    monkeypatch.setattr(collector, "inside", asked)
    monkeypatch.setattr(collector, "tail", lambda began, path: Path(path).read_text(encoding="utf-8")[began:])
    assert collector.proxied_secret(Recorder({})) == {"tried": "", "told": True, "leaked": leaked}
