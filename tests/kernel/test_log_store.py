"""The lab's log store and the role's log agent, each a real rsyslogd: who may add, and what an outage loses.

Needs root, rsyslogd and its RELP module; one network namespace of this test's own holds both.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clawkeep.collector.experiments import log_marks
from clawkeep.collector.namespaces import in_network_of
from clawkeep.collector.recorder import Recorder
from clawkeep.evidence.document import HostEvidence
from clawkeep.lab import records
from clawkeep.lab import topology as t
from clawkeep.lab.topology import SCENARIOS, Lab
from clawkeep.lab.world import services
from clawkeep.measure.probes import siem
from clawkeep.site import inventory as inventories
from clawkeep.subjects.logs.log_store import LogStore
from clawkeep_host import package

from .rig import CHECKOUT, daemon, listening, run

SPACE = f"t2x-{os.getpid()}-log"
LINES = 10_000
BATCH = 256  # the agent's queue.dequeueBatchSize
PATIENCE = 240.0  # seconds for all lines, on a machine that does other things as well
RELP = next(Path("/usr/lib").glob("*/rsyslog/imrelp.so"), None)
MISSING = [name for name in ("ip", "rsyslogd") if shutil.which(name) is None] + ([] if RELP else ["rsyslog-relp"])
MISSING += [] if os.geteuid() == 0 else ["root"]

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)} for a log store of its own"),
]


@dataclass
class Rig:
    """A namespace with the store's addresses; `keeper` is a process in it."""

    lab: Lab
    folder: Path
    keeper: subprocess.Popen[bytes]
    render: Callable[..., str]
    store_folder: Path = field(init=False)

    def __post_init__(self) -> None:
        """Say where the store's records are."""
        self.store_folder = Path(records.vantage(self.lab)["store"])

    @contextlib.contextmanager
    def store(self) -> Iterator[None]:
        """The store, as a lab starts it, until the block ends."""
        (service,) = (one for one in services.of(self.lab) if one.place is t.SIEM)
        argv = service.argv(self.lab.state / "world")
        with daemon(SPACE, *argv, log=self.folder / "siem.out"):
            listening(SPACE, "203.0.113.70:6514", "[2001:db8:113::70]:6514", hint=self.folder)
            yield

    def agent_argv(self, source: Path) -> list[str]:
        """The role's log agent, following one file."""
        made = self.folder / "agent"
        (made / "spool").mkdir(parents=True, exist_ok=True)
        archive = made / "clawkeep_host.zip"
        archive.write_bytes(package.archive())
        for name in ("clawkeep-log-redact", "clawkeep-log-send"):
            (made / name).write_text(package.wrapper(name, archive=str(archive)), encoding="utf-8")
            (made / name).chmod(0o700)
        site = records.site(self.lab)
        text = self.render(
            "log_agent",
            "etc/clawkeep/log/rsyslog.conf.j2",
            log_agent_collector=site["site_log_collector"],
            log_agent_collector_name=site["site_log_collector_name"],
            log_agent_files=[{"source": "proxy", "path": str(source)}],
            log_agent_journal=False,
            __log_agent_spool=str(made / "spool"),
            __log_agent_tls=str(records.credentials(self.lab)),
            __log_agent_redactor=str(made / "clawkeep-log-redact"),
            __log_agent_sender=str(made / "clawkeep-log-send"),
        )
        (made / "rsyslog.conf").write_text(text, encoding="utf-8")
        return ["rsyslogd", "-n", "-f", str(made / "rsyslog.conf"), "-i", "NONE"]

    def read_to(self) -> int:
        """How far the agent says that it has read its file."""
        for path in (self.folder / "agent/spool").glob("imfile-state*"):
            with contextlib.suppress(ValueError, KeyError):  # it is being written
                return int(json.loads(path.read_text(encoding="utf-8"))["curr_offs"])
        return 0

    def count(self) -> int:
        """How many records the store has."""
        return sum(path.read_bytes().count(b"\n") for path in self.store_folder.glob("*/*.jsonl"))

    def messages(self) -> list[str]:
        """The messages of the store's records, in the order in which it took them."""
        lines = [
            line
            for path in sorted(self.store_folder.glob("*/*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        return [str(json.loads(line)["record"].get("message")) for line in lines]


@pytest.fixture
def rig(tmp_path: Path, render: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT.root / "src"))
    lab = Lab(SCENARIOS["tier2_team"], tmp_path / "lab")
    (lab.state / "world").mkdir(parents=True)
    records.credentials(lab)
    run("ip", "netns", "add", SPACE)
    try:
        run("ip", "-n", SPACE, "link", "set", "lo", "up")
        run("ip", "-n", SPACE, "address", "add", "203.0.113.70/32", "dev", "lo")
        run("ip", "-n", SPACE, "address", "add", "2001:db8:113::70/128", "dev", "lo", "nodad")
        with daemon(SPACE, "sleep", "3600", log=tmp_path / "sleep.log") as keeper:
            listening(SPACE, hint=tmp_path)
            yield Rig(lab, tmp_path, keeper, render)
    finally:
        run("ip", "netns", "del", SPACE)


def test_the_hosts_credential_adds_and_nobody_else_does(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_marks, "TLS", str(records.credentials(rig.lab)))
    site = inventories.parse_site({"name": "lab", **_keys(records.site(rig.lab))}, "the lab").model_dump(mode="json")
    with rig.store():
        tried = in_network_of(rig.keeper.pid, lambda: log_marks.attempts(Recorder({"site": site})))
        wishes: dict[str, Any] = {"store": str(rig.store_folder), "marks": {}, "attempts": tried, "seconds": 0}
        found = siem.probe({**wishes, "alerted": []})
    inside = {"schema": 1, "facts": {"log-store-attempts": tried, "log-marks": {}}}
    whole = {"schema": 1, "host": "h", "inside": inside, "vantages": {"siem": {"schema": 1, "facts": found}}}
    store = HostEvidence("h", whole).subject(LogStore)
    assert tried["append"] == "taken"
    assert store.strangers() == []
    assert store.alterable() == []
    assert len(found["attempt"]) == 3


def test_an_outage_and_a_forced_restart_lose_nothing(rig: Rig) -> None:
    source = rig.folder / "proxy.log"
    source.touch()
    argv = rig.agent_argv(source)
    log = rig.folder / "agent.out"
    with daemon(SPACE, *argv, log=log) as agent, source.open("a", encoding="utf-8") as file:
        for number in range(LINES // 2):
            file.write(f"line {number:05}\n")
        file.flush()
        _await(lambda: rig.read_to() == source.stat().st_size, "the agent to have read what there is")
        agent.kill()  # as its unit stops it
        agent.wait()
    with daemon(SPACE, *argv, log=log), source.open("a", encoding="utf-8") as file:
        for number in range(LINES // 2, LINES):
            file.write(f"line {number:05}\n")
        file.flush()
        with rig.store():
            _await(lambda: rig.count() >= LINES and len(set(rig.messages())) >= LINES, "all lines to arrive")
    arrived = rig.messages()
    firsts = list(dict.fromkeys(arrived))
    assert len(firsts) == LINES
    # The batch that was under way when the agent was killed may come behind the one after it.
    moved = [abs(place - int(message.split()[1])) for place, message in enumerate(firsts)]
    assert max(moved) <= BATCH
    print(f"{LINES} lines, {len(arrived) - LINES} of them twice; {sum(1 for far in moved if far)} out of order")


def test_a_host_that_falls_silent_is_told_once(rig: Rig) -> None:
    source = rig.folder / "proxy.log"
    source.touch()
    argv = rig.agent_argv(source)
    settings = Path(argv[3])
    settings.write_text(
        settings.read_text(encoding="utf-8").replace('interval="300"', 'interval="1"'), encoding="utf-8"
    )
    with rig.store():
        with daemon(SPACE, *argv, log=rig.folder / "agent.out"):
            _await(lambda: any("MARK" in message for message in rig.messages()), "a sign of life")
        made = rig.store_folder.parent
        rules = json.loads((made / "alerts.json").read_text(encoding="utf-8")) | {"silence_seconds": 1}
        (rig.folder / "rules.json").write_text(json.dumps(rules), encoding="utf-8")
        look = [str(made / "clawkeep-log-alert"), str(rig.folder / "rules.json"), "--silence"]

        def told() -> list[dict[str, Any]]:
            run(*look)
            return [one for one in siem.alerts(rig.store_folder) if one.get("alert") == "log_silence"]

        _await(told, "the alarm")
        assert [one["from"] for one in told()] == ["203.0.113.70"]
        seen = siem.watch(rig.store_folder)["seen"]
    assert seen["hosts"]["203.0.113.70"]["told"] is not None


def _keys(site: dict[str, object]) -> dict[str, object]:
    return {key.removeprefix("site_"): value for key, value in site.items()}


def _await(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found if isinstance(found, bool) else any(True for _ in found):
            return
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)
