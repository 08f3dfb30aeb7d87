"""LOG-09 at a tier that sends its records: hosts that fall silent are told once, and the watch itself is watched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.measure.probes import siem
from clawkeep.subjects.logs.log_store import LogStore
from clawkeep_host.log import alert as alerter

NOW = 1_000_000.0


def test_silence_is_told_once_and_again_after_a_return() -> None:
    alerts, hosts = alerter.silent({"a": NOW - 60, "b": NOW - 901}, 900, NOW, {})
    assert [one["from"] for one in alerts] == ["b"]
    assert alerter.silent({"a": NOW - 900}, 900, NOW, {})[0] == []
    assert alerter.silent({"a": NOW - 60, "b": NOW - 901}, 900, NOW, hosts)[0] == []
    _, back = alerter.silent({"b": NOW}, 900, NOW, hosts)
    assert back["b"]["told"] is None
    assert alerter.silent({"b": NOW}, 900, NOW + 901, back)[0] != []


def test_a_host_that_went_away_long_ago_is_not_told() -> None:
    assert alerter.silent({"old": NOW - 31 * 86_400}, 900, NOW, {})[0] == []


def test_the_watch_looks_at_the_store_and_leaves_what_it_saw(tmp_path: Path) -> None:
    (tmp_path / "192.0.2.1").mkdir()
    (tmp_path / "192.0.2.1" / "2026-01-01.jsonl").touch()
    wish = {"store": str(tmp_path), "watch": str(tmp_path / "silence.json"), "silence_seconds": 900}
    wish |= {"output": str(tmp_path / "alerts.jsonl"), "notify": []}
    alerter.look(wish)
    assert siem.watch(tmp_path)["seen"]["hosts"]["192.0.2.1"]["told"] is None
    assert siem.watch(tmp_path / "nowhere")["seen"] is None


def store(**watch: Any) -> LogStore:
    seen = {"at": NOW - 30, "limit": 900, "hosts": {"203.0.113.10": {"last": NOW - 9, "told": None}}} | watch
    told = {"seen": watch.get("seen", seen), "now": NOW}
    line = json.dumps({"received": "2026-01-01T00:00:00+00:00", "from": "203.0.113.10", "record": {}})
    facts = {"watch": told, "arrived": {"journal": {"file": "x", "line": line}}}
    whole = {"schema": 1, "host": "h", "inside": {"schema": 1}, "vantages": {"siem": {"schema": 1, "facts": facts}}}
    return HostEvidence("h", whole).subject(LogStore)


def test_a_living_watch_is_green() -> None:
    assert store().unwatched(900) == []


@pytest.mark.parametrize(
    ("watch", "said"),
    [
        ({"seen": None}, "nobody"),
        ({"at": NOW - 3600}, "has stopped"),
        ({"at": NOW + 3600}, "has stopped"),
        ({"limit": 86_400}, "after 86400 s"),
        ({"limit": 0}, "after 0 s"),
        ({"hosts": {}}, "does not know this host"),
    ],
)
def test_each_breach_is_told(watch: dict[str, Any], said: str) -> None:
    assert said in "\n".join(store(**watch).unwatched(900))


@pytest.mark.parametrize("watch", [{"seen": []}, {"at": None}, {"hosts": None}, {"limit": "soon"}])
def test_a_misshapen_watch_is_not_measured(watch: dict[str, Any]) -> None:
    with pytest.raises(Unmeasured):
        store(**watch).unwatched(900)
