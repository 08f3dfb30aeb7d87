"""QEMU's monitor, spoken by a stand-in on a real socket: refusals and broken lines become one sentence each."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from qemu.qmp import QMPError

from clawkeep.lab import qmp
from clawkeep.lab.errors import LabError

GREETING = '{"QMP": {"version": {}, "capabilities": []}}'
END = "the machine ends"
Answer = Callable[[dict[str, object]], str | None]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[Answer], Path]]:
    """Start a stand-in that answers each command by a function, or is silent, or ends; its socket."""
    listener = socket.socket(socket.AF_UNIX)

    def serve(answer: Answer) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(f"{GREETING}\n".encode())
            for command in commands(connection):
                said = answer(command)
                if said == END:
                    return
                if said is not None:
                    connection.sendall(f"{said}\n".encode())

    def start(answer: Answer) -> Path:
        listener.bind(str(tmp_path / "qmp"))
        listener.listen()
        threading.Thread(target=serve, args=(answer,), daemon=True).start()
        return tmp_path / "qmp"

    yield start
    listener.close()


def commands(connection: socket.socket) -> Iterator[dict[str, object]]:
    """The JSON objects that come in, one after the other and nothing between them, as QEMU takes them."""
    text = ""
    while data := connection.recv(65536):
        text += data.decode()
        while text:
            command, end = json.JSONDecoder().raw_decode(text)
            text = text[end:]
            yield command


def returns(command: dict[str, object], value: object) -> str:
    """The answer that a command is given, after an event where it is not the first."""
    answer = json.dumps({"return": value, **{key: command[key] for key in command if key == "id"}})
    event = {"event": "RESUME", "timestamp": {"seconds": 0, "microseconds": 0}}
    return f"{json.dumps(event)}\n{answer}" if "id" in command else answer


def ready(command: dict[str, object]) -> str | None:
    """The answer to what a client says first, and None to all else."""
    return returns(command, {}) if command["execute"] == "qmp_capabilities" else None


def test_events_between_a_command_and_its_answer_are_passed_over(machine: Callable[[Answer], Path]) -> None:
    with qmp.connected(machine(lambda command: returns(command, command["execute"]))) as monitor:
        assert monitor.execute("stop") == "stop"


def test_a_refusal_names_the_command_and_the_reason(machine: Callable[[Answer], Path]) -> None:
    def answer(command: dict[str, object]) -> str:
        refusal = {"error": {"class": "GenericError", "desc": "no such device"}, "id": command.get("id")}
        return ready(command) or json.dumps(refusal)

    with (
        qmp.connected(machine(answer)) as monitor,
        pytest.raises(LabError, match="refused blockdev-snapshot: no such device"),
    ):
        monitor.execute("blockdev-snapshot", device="disk")


def test_memory_that_did_not_arrive_is_an_error_with_its_reason(machine: Callable[[Answer], Path]) -> None:
    states = iter([{"status": "setup"}, {"status": "active"}, {"status": "failed", "error-desc": "No space left"}])

    def answer(command: dict[str, object]) -> str:
        return returns(command, next(states) if command["execute"] == "query-migrate" else {})

    with qmp.connected(machine(answer)) as monitor, pytest.raises(LabError, match="not moved: No space left"):
        monitor.await_migration()


@pytest.mark.parametrize(("offered", "asked"), [(["mapped-ram"], 1), (["xbzrle"], 0)])
def test_a_capability_is_turned_on_only_where_there_is_one(
    machine: Callable[[Answer], Path], offered: list[str], asked: int
) -> None:
    seen: list[object] = []

    def answer(command: dict[str, object]) -> str:
        seen.append(command["execute"])
        return returns(command, [{"capability": name, "state": False} for name in offered])

    with qmp.connected(machine(answer)) as monitor:
        monitor.prefer("mapped-ram")
    assert seen.count("migrate-set-capabilities") == asked


@pytest.mark.parametrize("said", [END, "{", '{"return": ', "[]", '"text"', '{"return": {}}\n{'])
def test_a_machine_that_ends_or_talks_nonsense_is_one_sentence(machine: Callable[[Answer], Path], said: str) -> None:
    with (
        pytest.raises(LabError, match="monitor does not answer"),
        qmp.connected(machine(lambda command: ready(command) or said)) as monitor,
    ):
        monitor.execute("stop")


def quit_and_ask(machine: Path) -> None:
    with qmp.connected(machine) as monitor:
        with contextlib.suppress(QMPError):
            monitor.execute("quit")
        monitor.execute("query-status")


def test_a_machine_that_has_ended_answers_no_further_command(machine: Callable[[Answer], Path]) -> None:
    path = machine(lambda command: ready(command) or END)
    with pytest.raises(LabError, match="it has ended"):
        quit_and_ask(path)


@pytest.mark.parametrize("greeted", [True, False])
def test_a_silent_machine_is_one_sentence_in_time(
    machine: Callable[[Answer], Path], monkeypatch: pytest.MonkeyPatch, greeted: bool
) -> None:
    monkeypatch.setattr(qmp, "_PATIENCE", 0.2)
    with (
        pytest.raises(LabError, match="said nothing in time"),
        qmp.connected(machine(ready if greeted else lambda _: None)) as monitor,
    ):
        monitor.execute("stop")


@pytest.mark.parametrize("name", ["qmp", "q" * 200])
def test_no_machine_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(qmp, "_START_PATIENCE", 0.0)
    with pytest.raises(LabError, match="monitor does not answer"), qmp.connected(tmp_path / name):
        pass
