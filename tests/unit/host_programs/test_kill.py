"""clawkeep-kill: everything is reached, in an order that leaves no gap, and nothing is revived but by a release."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .tools import load

AGENT = "a" * 64
SECRET = "not-to-be-stored"  # noqa: S105 - what must not be found anywhere


class Host:
    """A host with one agent's container: what the tool does to it is a list of words, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.docker_hangs = False
        self.failing = ""

    def engine(self, method: str, path: str, body: dict[str, Any] | None = None, seconds: float = 20) -> bytes:
        assert seconds > 0
        if self.docker_hangs:
            raise TimeoutError("timed out")
        if method == "GET" and path.startswith("/containers/json"):
            labels = {"clawkeep.role": "agent"}
            return json.dumps(
                [{"Id": AGENT, "Labels": labels}, {"Id": "b" * 64, "Labels": {"clawkeep.role": "check"}}]
            ).encode()
        if method == "GET" and path == f"/containers/{AGENT}/json":
            return json.dumps(
                {
                    "Id": AGENT,
                    "Name": "/openclaw",
                    "State": {"Running": True, "Paused": False},
                    "Config": {"Env": ["HOME=/home/node", f"MODEL_API_KEY={SECRET}"]},
                    "HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5}},
                }
            ).encode()
        if method == "POST":
            policy = (body or {}).get("RestartPolicy", {}).get("Name", "")
            self.done.append(f"{path.rpartition('/')[2]} {policy}".strip())
        return b"[]"

    def command(self, *argv: str, stdin: str | None = None, seconds: float = 0) -> str:
        assert seconds >= 0
        word = "cut" if stdin and "drop" in stdin else "uncut" if stdin else " ".join(argv[:2])
        self.done.append(word)
        if self.failing and self.failing in word:
            raise subprocess.TimeoutExpired(argv, 1)
        return ""


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The tool with its folders in a temporary place."""
    module = load("breakglass", "clawkeep-kill")
    (tmp_path / "kill.d").mkdir()
    hook = tmp_path / "kill.d/10-token"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o700)
    secrets = tmp_path / "gateway.env"
    secrets.write_text(f"OPENCLAW_GATEWAY_TOKEN={SECRET}\n")
    settings = tmp_path / "kill.conf"
    settings.write_text(
        f"[kill]\nroles = agent task\nbridges = clawkeep0 tasks0\nunits = gateway.service\nsecret_files = {secrets}\n"
    )
    monkeypatch.setattr(module, "SETTINGS", settings)
    monkeypatch.setattr(module, "HOOKS", tmp_path / "kill.d")
    monkeypatch.setattr(module, "STATE", tmp_path / "kill")
    monkeypatch.setattr(module, "FLAG", tmp_path / "kill/active")
    monkeypatch.setattr(module, "active", lambda _: True)
    return module


@pytest.fixture
def host(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The host that the tool works on."""
    fake = Host()
    monkeypatch.setattr(tool, "engine", fake.engine)
    monkeypatch.setattr(tool, "command", fake.command)
    return fake


def test_a_dry_run_names_every_target_and_changes_nothing(tool: ModuleType, host: Host) -> None:
    plan = tool.plan(tool.Settings.read())
    assert [(row["id"], row["restart_policy"]) for row in plan["containers"]] == [(AGENT, "no")]
    assert plan["bridges"] == ["clawkeep0", "tasks0"]
    assert plan["units"] == ["gateway.service"]
    assert [row["name"] for row in plan["revoke"]] == ["MODEL_API_KEY", "OPENCLAW_GATEWAY_TOKEN"]
    assert all(row["where"] for row in plan["revoke"])
    assert SECRET not in json.dumps(plan)
    assert host.done == []
    assert not tool.FLAG.exists()


def test_the_network_goes_first_and_the_restart_policy_before_the_life(tool: ModuleType, host: Host) -> None:
    _, failures = tool.kill(tool.Settings.read())
    assert failures == []
    assert host.done[:4] == ["cut", "pause", "update no", "kill"]
    assert "systemctl stop" in host.done
    assert host.done[-2].endswith("10-token")


def test_evidence_is_kept_without_a_secret(tool: ModuleType, host: Host) -> None:
    answer, _ = tool.kill(tool.Settings.read())
    folder = Path(answer["evidence"])
    assert folder.stat().st_mode & 0o077 == 0
    assert {"openclaw.inspect.json", "openclaw.log", "openclaw.processes.json", "kill.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert all(SECRET not in path.read_text() for path in folder.iterdir())
    assert host.done


def test_the_network_is_cut_and_the_flag_stays_while_docker_hangs(tool: ModuleType, host: Host) -> None:
    host.docker_hangs = True
    _, failures = tool.kill(tool.Settings.read())
    assert host.done[0] == "cut"
    assert tool.FLAG.exists()
    assert any("containers were not found" in sentence for sentence in failures)


def test_a_step_that_fails_stops_no_other(tool: ModuleType, host: Host) -> None:
    host.failing = "cut"
    _, failures = tool.kill(tool.Settings.read())
    assert len(failures) == 1
    assert "kill" in host.done


def test_a_release_gives_everything_back(tool: ModuleType, host: Host) -> None:
    tool.kill(tool.Settings.read())
    host.done.clear()
    answer, failures = tool.release(tool.Settings.read())
    assert failures == []
    assert answer["stopped"] is False
    assert host.done == ["update on-failure", "uncut", "systemctl restart"]
    assert not tool.FLAG.exists()


def test_a_second_kill_remembers_what_the_first_one_found(tool: ModuleType, host: Host) -> None:
    tool.kill(tool.Settings.read())
    first = tool.remembered()
    tool.kill(tool.Settings.read())
    assert tool.remembered() == first
    assert first["restart"] == {AGENT: {"Name": "on-failure", "MaximumRetryCount": 5}}
    assert first["units"] == ["gateway.service"]
    assert host.done.count("cut") == 2
