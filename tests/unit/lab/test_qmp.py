"""QEMU's monitor, spoken by a stand-in on a real socket: refusals and broken lines become one sentence each."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clawkeep.lab import qmp
from clawkeep.lab.errors import LabError

GREETING = '{"QMP": {"version": {}}}'
Answer = Callable[[dict[str, object]], str]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[Answer], Path]]:
    """Start a stand-in that answers each command by a function; its socket."""
    listener = socket.socket(socket.AF_UNIX)

    def serve(answer: Answer) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rw", encoding="utf-8") as channel:
            channel.write(GREETING + "\n")
            channel.flush()
            for line in channel:
                channel.write(answer(json.loads(line)) + "\n")
                channel.flush()

    def start(answer: Answer) -> Path:
        listener.bind(str(tmp_path / "qmp"))
        listener.listen()
        threading.Thread(target=serve, args=(answer,), daemon=True).start()
        return tmp_path / "qmp"

    yield start
    listener.close()


def returns(value: object) -> str:
    return json.dumps({"event": "RESUME"}) + "\n" + json.dumps({"return": value})


def test_events_between_a_command_and_its_answer_are_passed_over(machine: Callable[[Answer], Path]) -> None:
    with qmp.connected(machine(lambda command: returns(command["execute"]))) as monitor:
        assert monitor.execute("stop") == "stop"


def test_a_refusal_names_the_command_and_the_reason(machine: Callable[[Answer], Path]) -> None:
    def answer(command: dict[str, object]) -> str:
        if command["execute"] == "qmp_capabilities":
            return returns({})
        return json.dumps({"error": {"class": "GenericError", "desc": "no such device"}})

    with (
        qmp.connected(machine(answer)) as monitor,
        pytest.raises(LabError, match="refused blockdev-snapshot: no such device"),
    ):
        monitor.execute("blockdev-snapshot", device="disk")


def test_memory_that_did_not_arrive_is_an_error_with_its_reason(machine: Callable[[Answer], Path]) -> None:
    states = iter([{"status": "setup"}, {"status": "active"}, {"status": "failed", "error-desc": "No space left"}])

    def answer(command: dict[str, object]) -> str:
        return returns(next(states) if command["execute"] == "query-migrate" else {})

    with qmp.connected(machine(answer)) as monitor, pytest.raises(LabError, match="not moved: No space left"):
        monitor.await_migration()


@pytest.mark.parametrize(("offered", "asked"), [(["mapped-ram"], 1), (["xbzrle"], 0)])
def test_a_capability_is_turned_on_only_where_there_is_one(
    machine: Callable[[Answer], Path], offered: list[str], asked: int
) -> None:
    seen: list[object] = []

    def answer(command: dict[str, object]) -> str:
        seen.append(command["execute"])
        return returns([{"capability": name, "state": False} for name in offered])

    with qmp.connected(machine(answer)) as monitor:
        monitor.prefer("mapped-ram")
    assert seen.count("migrate-set-capabilities") == asked


def test_a_machine_that_ends_in_the_middle_is_one_sentence(machine: Callable[[Answer], Path]) -> None:
    def answer(command: dict[str, object]) -> str:
        return returns({}) if command["execute"] == "qmp_capabilities" else "{"

    with pytest.raises(LabError, match="monitor does not answer"), qmp.connected(machine(answer)) as monitor:
        monitor.execute("stop")


def test_no_machine_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "_START_PATIENCE", 0.0)
    with pytest.raises(LabError, match="monitor does not answer"), qmp.connected(tmp_path / "qmp"):
        pass
