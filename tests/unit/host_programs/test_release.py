"""clawkeep-release: nothing but a healthy release stays in force, and the way back is always there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .tools import load

IMAGE = "sha256:" + "a" * 64
COMPOSE = 'services: {gateway: {labels: {\n  clawkeep.release: "@release@"\n}}}\n'


class Engine:
    """A Docker whose container becomes what the Compose file in force makes of it."""

    def __init__(self, force: Path) -> None:
        self.force = force
        self.container: dict[str, Any] | None = None
        self.valid = True
        self.broken: set[str] = set()  # configurations with which the gateway ends
        self.crashing: set[str] = set()  # those with which it ends again and again
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, *argv: str, timeout: float = 0) -> subprocess.CompletedProcess[str]:
        assert timeout >= 0
        words = argv[1:]
        self.calls.append(words)
        status, out = 0, ""
        if words[:2] == ("container", "inspect"):
            status, out = (0, json.dumps([self.container])) if self.container else (1, "")
        elif words[:2] == ("image", "inspect"):
            out = IMAGE + "\n"
        elif words[0] == "run":
            issues = [] if self.valid else [{"path": "gateway.bind", "message": "Invalid input"}]
            status, out = int(not self.valid), json.dumps({"valid": self.valid, "issues": issues})
        elif words[0] == "compose":
            self.up(recreate="--force-recreate" in words)
        return subprocess.CompletedProcess(argv, status, out, "")

    def up(self, *, recreate: bool) -> None:
        """What `docker compose up` does: a new container when anything changed, a started one otherwise."""
        number = (self.force / "compose.yml").read_text().split('clawkeep.release: "')[1].split('"')[0]
        works = (self.force / "openclaw.json").read_text() not in self.broken
        old = self.container
        if recreate or old is None or old["Config"]["Labels"]["clawkeep.release"] != number:
            self.container = {
                "Image": IMAGE,
                "Config": {"User": "1000:1000", "Labels": {"clawkeep.release": number}},
                "HostConfig": {"Memory": 2 << 30, "PortBindings": {}},
                "NetworkSettings": {"Networks": {"clawkeep0": {}}},
                "Mounts": [],
                "RestartCount": 0,
            }
        assert self.container
        if (self.force / "openclaw.json").read_text() in self.crashing:
            self.container["RestartCount"] = 3
            self.container["State"] = {"Running": True, "Restarting": False, "ExitCode": 137}
            return
        self.container["State"] = {
            "Running": works,
            "Restarting": False,
            "ExitCode": 0 if works else 1,
            "Health": {"Status": "healthy" if works else "starting"},
        }


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The tool with its folders in a temporary place, and a gateway that answers whenever its container runs."""
    module = load("openclaw", "clawkeep-release")
    for name, value in {
        "FORCE": tmp_path / "openclaw",
        "CANDIDATE": tmp_path / "openclaw/candidate",
        "RELEASES": tmp_path / "releases",
        "KILLED": tmp_path / "active",
        "LOCK": tmp_path / "lock",
        "POLL_SECONDS": 0,
    }.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "answers", lambda found: found["State"]["Running"])
    monkeypatch.setattr(os, "chown", lambda *_: None)
    (tmp_path / "openclaw/candidate").mkdir(parents=True)
    return module


@pytest.fixture
def engine(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine that the tool talks to."""
    fake = Engine(tool.FORCE)
    monkeypatch.setattr(tool, "run", fake)
    return fake


@pytest.fixture
def want(tool: ModuleType) -> Callable[[str], None]:
    """Write the candidate as the role does."""

    def write(configuration: str) -> None:
        texts = {"compose.yml": COMPOSE, "openclaw.json": configuration, "image": IMAGE + "\n"}
        for name, text in texts.items():
            (tool.CANDIDATE / name).write_text(text)

    return write


def change(tool: ModuleType, command: str, *, kept: int = 5) -> dict[str, Any]:
    answer: dict[str, Any] = tool.change(command, tool.Options(1000, 0.5, 1, kept))
    return answer


def record(tool: ModuleType, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tool.RELEASES / str(number) / "release.json").read_text())
    return found


def test_a_first_release_is_validated_numbered_and_proven(tool, engine, want) -> None:  # type: ignore[no-untyped-def]
    want("good")
    answer = change(tool, "apply")
    assert (answer["changed"], answer["release"]) == (True, 1)
    assert record(tool, 1)["state"] == "proven"
    assert record(tool, 1)["image_id"] == IMAGE
    assert (tool.RELEASES / "current").readlink() == Path("1")
    assert (tool.FORCE / "compose.yml").read_text() == COMPOSE.replace("@release@", "1")
    assert [call[0] for call in engine.calls].count("run") == 1


def test_the_validating_container_can_do_nothing_else(tool, engine, want) -> None:  # type: ignore[no-untyped-def]
    want("good")
    change(tool, "apply")
    words = " ".join(next(call for call in engine.calls if call[0] == "run"))
    for limit in ("--network none", "--read-only", "--user 1000:1000", "--cap-drop ALL", "no-new-privileges:true"):
        assert limit in words
    assert IMAGE in words


def test_a_second_run_changes_nothing(tool, engine, want) -> None:  # type: ignore[no-untyped-def]
    want("good")
    change(tool, "apply")
    before = len(engine.calls)
    assert change(tool, "apply")["changed"] is False
    assert [call[:2] for call in engine.calls[before:]] == [("container", "inspect")]


@pytest.mark.parametrize(
    "drift",
    [
        lambda container: container["HostConfig"].update(Memory=0),
        lambda container: container["NetworkSettings"]["Networks"].update(bridge={}),
        lambda container: container["State"].update(Running=False),
        lambda container: container.update(Image="sha256:" + "b" * 64),
    ],
    ids=["docker update", "network connect", "stopped", "another image"],
)
def test_a_container_that_drifted_is_made_anew(tool, engine, want, drift) -> None:  # type: ignore[no-untyped-def]
    want("good")
    change(tool, "apply")
    drift(engine.container)
    assert change(tool, "apply")["changed"] is True
    assert change(tool, "apply")["changed"] is False
    assert record(tool, 1)["state"] == "proven"


def test_a_configuration_that_openclaw_refuses_changes_nothing(tool, engine, want) -> None:  # type: ignore[no-untyped-def]
    want("good")
    change(tool, "apply")
    engine.valid = False
    want("bad")
    with pytest.raises(tool.Refusal, match=r"refuses the configuration: gateway.bind: Invalid input") as refusal:
        change(tool, "apply")
    assert refusal.value.status == tool.REFUSED
    assert (tool.FORCE / "openclaw.json").read_text() == "good"
    assert not (tool.RELEASES / "2").exists()


def test_a_release_that_is_not_healthy_backs_out(tool, engine, want) -> None:  # type: ignore[no-untyped-def]
    want("good")
    change(tool, "apply")
    engine.broken = {"tighter"}
    want("tighter")
    with pytest.raises(tool.Refusal, match=r"release 2 failed .*; release 1 is back and healthy") as refusal:
        change(tool, "apply")
    assert refusal.value.status == tool.BACK
    assert (tool.FORCE / "openclaw.json").read_text() == "good"
    assert engine.container["Config"]["Labels"]["clawkeep.release"] == "1"
    assert (tool.RELEASES / "current").readlink() == Path("1")
    assert record(tool, 2)["state"] == "failed"


def test_a_release_that_keeps_ending_is_not_waited_for(tool, engine, want) -> None:  # type: ignore[no-untyped-def]
    """The engine would start it more often than that: each time is one more in which nobody is served."""
    want("good")
    change(tool, "apply")
    engine.crashing = {"bad"}
    want("bad")
    with pytest.raises(tool.Refusal, match=r"ended 3 times.*release 1 is back"):
        change(tool, "apply")


def test_a_first_release_that_fails_says_that_nothing_runs(tool, engine, want) -> None:  # type: ignore[no-untyped-def]
    engine.broken = {"broken"}
    want("broken")
    with pytest.raises(tool.Refusal, match="there is no other to go back to") as refusal:
        change(tool, "apply")
    assert refusal.value.status == tool.DOWN


def test_a_proof_that_was_cut_short_goes_on_where_it_was(tool, engine, want) -> None:  # type: ignore[no-untyped-def]
    want("slow")
    tool.deploy(tool.keep(tool.Release(tool.CANDIDATE), IMAGE), 1000)
    running = engine.container
    answer = change(tool, "apply")
    assert (answer["changed"], answer["release"]) == (True, 1)
    assert engine.container is running
    assert record(tool, 1)["state"] == "proven"


def test_a_rollback_goes_to_the_previous_release_and_back_again(tool, engine, want) -> None:  # type: ignore[no-untyped-def]
    assert engine.container is None
    for configuration in ("one", "two"):
        want(configuration)
        change(tool, "apply")
    assert change(tool, "rollback")["release"] == 1
    assert (tool.FORCE / "openclaw.json").read_text() == "one"
    assert change(tool, "rollback")["release"] == 2


def test_failed_releases_are_forgotten_first(tool, engine, want) -> None:  # type: ignore[no-untyped-def]
    engine.broken = {"broken"}
    for configuration in ("one", "two"):
        want(configuration)
        change(tool, "apply")
    want("broken")
    with pytest.raises(tool.Refusal):
        change(tool, "apply")
    want("three")
    change(tool, "apply", kept=3)
    assert sorted(path.name for path in tool.RELEASES.glob("[0-9]*")) == ["1", "2", "4"]


def test_a_killed_agent_stays_down(tool, engine, want) -> None:  # type: ignore[no-untyped-def]
    want("good")
    tool.KILLED.touch()
    for command in ("apply", "rollback", "start"):
        with pytest.raises(tool.Refusal, match="clawkeep-kill release"):
            change(tool, command)
    assert engine.calls == []
