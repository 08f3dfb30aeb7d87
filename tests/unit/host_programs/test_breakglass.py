"""clawkeep-breakglass: nothing opens before it is armed and told, and what fails half-way is closed at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from .conftest import ROOT
from .tools import load


class Host:
    """What the tool does to a host is a list of words, in order; `failing` is a word at which it breaks."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failing = ""

    def run(self, *argv: str) -> str:
        word = " ".join(argv[:4]) if argv[0] != "systemd-run" else "timer"
        self.done.append(word)
        if self.failing and self.failing in word:
            raise self.refusal(f"{word} failed")
        return ""

    refusal: type[Exception] = RuntimeError

    def alarm(self, event: str, **_: object) -> None:
        self.done.append(f"alarm {event}")
        if self.failing == "alarm":
            raise self.refusal("nobody hears")


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def tool(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = load("breakglass", "clawkeep-breakglass")
    host.refusal = module.Refusal
    runtime = tmp_path / "run"
    runtime.mkdir()
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"user": "clawkeep-emergency"}))
    (runtime / "shadow").write_text("clawkeep-emergency:!:20780:::::1:\n")
    for name, value in {
        "SETTINGS": settings,
        "RUNTIME": runtime,
        "STATE": runtime / "open.json",
        "INCLUDE": runtime / "sshd.conf",
        "SHADOW": runtime / "shadow",
        "run": host.run,
        "alarm": host.alarm,
        "let_in": lambda _: host.run("let", "in"),
        "shut_out": lambda: host.run("shut", "out"),
        "reload_sshd": lambda: host.run("reload", "sshd"),
        "end_sessions": lambda _: host.run("end", "sessions"),
    }.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: None)
    return module


def called(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["clawkeep-breakglass", *words])
    return int(tool.main())


TOOL = "usr/local/sbin/clawkeep-breakglass"
POLICY = """
table inet clawkeep {
    set admin4 { type ipv4_addr; }
    set admin6 { type ipv6_addr; }
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established accept
    }
}
"""
TRY = """
import importlib.machinery, subprocess, sys
tool = importlib.machinery.SourceFileLoader("tool", sys.argv[1]).load_module()
def show():
    argv = ["nft", "list", "table", "inet", "clawkeep"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
subprocess.run(["nft", "--file", "policy.nft"], check=True)
before = show()
tool.let_in(60)
opened = show()
assert opened.count("@emergency accept") == 2 and "22 timeout 1m" in opened, opened
tool.shut_out()
assert show() == before, show()
tool.shut_out()
print("seen")
"""
OPEN = ("open", "--minutes", "30", "--reason", "drill")


def test_it_arms_and_tells_before_it_opens(tool: ModuleType, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert called(tool, monkeypatch, *OPEN) == 0
    assert host.done == [
        "timer",
        "alarm opened",
        "usermod --expiredate  clawkeep-emergency",
        "reload sshd",
        "let in",
    ]
    assert "AllowUsers clawkeep-emergency" in tool.INCLUDE.read_text()


def test_closing_takes_everything_back_and_tells(tool: ModuleType, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    called(tool, monkeypatch, *OPEN)
    host.done.clear()
    assert called(tool, monkeypatch, "close") == 0
    assert host.done == [
        "shut out",
        "usermod --lock --expiredate 1",
        "reload sshd",
        "end sessions",
        "alarm closed",
    ]
    assert not tool.STATE.exists()
    assert not tool.INCLUDE.exists()


@pytest.mark.parametrize("failing", ["timer", "alarm", "usermod --expiredate", "let in"])
def test_what_fails_half_way_is_closed_at_once(
    tool: ModuleType, host: Host, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    host.failing = failing
    assert called(tool, monkeypatch, *OPEN) == 1
    assert "usermod --lock --expiredate 1" in host.done
    assert not tool.INCLUDE.exists()
    assert failing not in ("timer", "alarm") or "usermod --expiredate  clawkeep-emergency" not in host.done


@pytest.mark.parametrize("failing", ["shut out", "usermod --lock", "end sessions"])
def test_a_step_that_fails_stops_no_other_and_is_remembered(
    tool: ModuleType, host: Host, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    called(tool, monkeypatch, *OPEN)
    host.done.clear()
    host.failing = failing
    assert called(tool, monkeypatch, "close") == 1
    assert host.done[-2:] == ["end sessions", "alarm NOT CLOSED"]
    assert tool.STATE.exists()


@pytest.mark.parametrize(
    "words", [("open",), ("open", "--minutes", "30"), ("open", "--minutes", "121", "--reason", "x"), (*OPEN[:4], " ")]
)
def test_an_opening_without_end_or_reason_is_refused(
    tool: ModuleType, host: Host, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    assert called(tool, monkeypatch, *words) == 1
    assert host.done == []


def test_a_second_opening_does_not_hide_the_firsts_end(
    tool: ModuleType, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    called(tool, monkeypatch, *OPEN)
    host.done.clear()
    assert called(tool, monkeypatch, *OPEN) == 1
    assert host.done == []


def test_what_is_past_its_end_or_cannot_be_read_is_closed(
    tool: ModuleType, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in (json.dumps({"since": 1, "until": 2}), "not JSON"):
        tool.STATE.write_text(text)
        host.done.clear()
        assert called(tool, monkeypatch, "enforce") == 0
        assert "end sessions" in host.done
    host.done.clear()
    assert called(tool, monkeypatch, "enforce") == 0
    assert host.done == []


@pytest.mark.parametrize("expiry", ["", "99999"])
def test_an_account_that_nobody_opened_is_made_to_expire(
    tool: ModuleType, host: Host, monkeypatch: pytest.MonkeyPatch, expiry: str
) -> None:
    """useradd gives an account of the system no expiry, whatever it is told."""
    tool.SHADOW.write_text(f"clawkeep-emergency:!:20780:::::{expiry}:\n")
    assert called(tool, monkeypatch, "enforce") == 0
    assert "end sessions" in host.done


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own needs root")
def test_the_firewalls_opening_is_made_and_taken_away(tmp_path: Path) -> None:
    """In a network namespace of its own, with the real nft."""
    (tmp_path / "policy.nft").write_text(POLICY)
    (tmp_path / "try.py").write_text(TRY)
    argv = ["unshare", "--net", sys.executable, "-B", "try.py", str(ROOT / "roles/breakglass/files" / TOOL)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "seen\n", done.stderr
