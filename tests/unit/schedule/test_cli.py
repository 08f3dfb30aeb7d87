"""`clawkeep schedule`: exit statuses, and one sentence for every mistake."""

from __future__ import annotations

import functools
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from clawkeep.schedule import job, syslog, tell

from .conftest import GREEN, PLAYER, report

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def clawkeep(clawkeep: Run) -> Run:
    """Run `clawkeep schedule`."""
    return functools.partial(clawkeep, "schedule")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's settings; what `clawkeep verify` does stands in wish.json."""
    (tmp_path / "state").mkdir()
    (tmp_path / "player.py").write_text(PLAYER)
    monkeypatch.setattr(job, "PROGRAM", (sys.executable, str(tmp_path / "player.py")))
    monkeypatch.setattr(job.run, "__kwdefaults__", {**(job.run.__kwdefaults__ or {}), "program": job.PROGRAM})
    path = tmp_path / "schedule.yml"
    document = {
        "schema": 1,
        "node": "watcher",
        "inventory": "x",
        "state": str(tmp_path / "state"),
        "period": "weekly",
        "sign_key": "x",
        "syslog": False,
    }
    path.write_text(yaml.safe_dump(document))
    return path


def wish(settings: Path, document: object, status: int) -> None:
    (settings.parent / "wish.json").write_text(json.dumps({"report": document, "status": status}))


def test_a_run_ends_with_the_suites_status(clawkeep: Run, settings: Path) -> None:
    wish(settings, GREEN, 0)
    ended, out, err = clawkeep("run", "--config", settings)
    assert (ended, err) == (0, "")
    assert out.endswith(": exit status 0\n")
    wish(settings, report("fail", status=1), 1)
    assert clawkeep("run", "--config", settings)[0] == 1


def test_a_run_that_does_not_count_says_why(clawkeep: Run, settings: Path) -> None:
    wish(settings, report(hosts=[], results=[], status=2), 2)
    ended, _, err = clawkeep("run", "--config", settings)
    assert ended == 2
    assert "clawkeep: the run does not count: it verified no host\n" in err


def test_silence_ends_with_1(clawkeep: Run, settings: Path) -> None:
    assert clawkeep("stale", "--config", settings)[:2] == (0, "verification goes on as it should\n")
    path = settings.parent / "state/schedule.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "established": "2020-01-01T00:00:00Z"}))
    ended, out, err = clawkeep("stale", "--config", settings)
    assert (ended, out) == (1, "")
    assert "clawkeep: no run has counted since the schedule was set up" in err


def test_a_schedule_is_established_once(clawkeep: Run, settings: Path) -> None:
    assert clawkeep("establish", "--config", settings)[:2] == (0, "established\n")
    assert clawkeep("establish", "--config", settings)[:2] == (0, "established before\n")


@pytest.mark.parametrize("command", ["run", "stale", "establish"])
def test_settings_that_are_missing_are_one_sentence(clawkeep: Run, tmp_path: Path, command: str) -> None:
    ended, out, err = clawkeep(command, "--config", tmp_path / "none.yml")
    assert (ended, out) == (2, "")
    assert err == f"clawkeep: {tmp_path}/none.yml cannot be read: No such file or directory\n"


def test_an_alarm_is_told_and_its_failures_are_no_secret(
    clawkeep: Run, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tell, "channels", lambda _: [("good", lambda _: None), ("bad", lambda _: 1 / 0)])
    ended, out, err = clawkeep("alarm", "clawkeep-verify.service", "--config", settings)
    assert (ended, out) == (0, "clawkeep-verify.service failed; told by good\n")
    assert err == "clawkeep: nobody was told by bad: it broke with ZeroDivisionError\n"


def test_an_alarm_without_settings_still_reaches_the_log(
    clawkeep: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.settimeout(5)
        monkeypatch.setattr(syslog.send, "__defaults__", (tmp_path / "log",))
        ended, _, err = clawkeep("alarm", "clawkeep-verify.service", "--config", tmp_path / "none.yml")
        assert b"clawkeep-verify.service failed" in log.recv(4096)
    assert ended == 2
    assert "cannot be read" in err
