"""The lab's record, and whom a clean-up may end."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clawkeep.lab import lab as labs
from clawkeep.lab import network, state
from clawkeep.lab.errors import LabError
from clawkeep.lab.state import Process, State
from clawkeep.lab.topology import SCENARIOS, Lab
from clawkeep.lab.world.services import SERVICES


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(SCENARIOS["tier1_personal"], tmp_path)


@pytest.fixture
def sleeper(lab: Lab) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(argv, env={**os.environ, state.MARK: str(lab.state)}) as process:
        yield process
        process.kill()


def _of(process: subprocess.Popen[bytes]) -> Process:
    started = state.start_of(process.pid)
    assert started is not None
    return Process("sleeper", process.pid, started)


def test_the_record_survives_a_round_trip(lab: Lab) -> None:
    record = State(port=2222, image="/cache/host-1", processes=(Process("machine", 1, 2),))
    state.save(lab, record)
    assert state.load(lab) == record


@pytest.mark.parametrize("text", ["", "{", "[]", '{"port": 1}', '{"port": 1, "image": "", "processes": [{"pid": 1}]}'])
def test_a_broken_record_is_no_record(lab: Lab, text: str) -> None:
    (lab.state / "state.json").write_text(text)
    assert state.load(lab) is None


def test_a_reused_process_number_is_not_the_recorded_process(sleeper: subprocess.Popen[bytes]) -> None:
    process = _of(sleeper)
    impostor = Process(process.name, process.pid, process.started - 1)
    assert process.alive
    assert not impostor.alive
    state.end([impostor])
    assert sleeper.poll() is None


def test_an_ended_process_is_not_alive_even_before_it_is_reaped(sleeper: subprocess.Popen[bytes]) -> None:
    process = _of(sleeper)
    state.end([process])
    assert not process.alive


def test_an_unrecorded_process_is_found_by_its_mark(lab: Lab, sleeper: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 5  # until the child has become the program that bears the mark
    while sleeper.pid not in [p.pid for p in state.marked(lab)] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [p.pid for p in state.marked(lab)] == [sleeper.pid]
    other = Lab(lab.scenario, lab.state / "other")
    assert state.marked(other) == []


def test_an_unknown_scenario_is_told_with_the_known_ones() -> None:
    with pytest.raises(LabError, match="choose from tier1_personal"):
        state.lab("tier9")


def test_a_lab_without_record_is_down(lab: Lab) -> None:
    assert not labs.condition(lab).running
    assert labs.status(lab) == "tier1_personal: down"


def test_a_lab_runs_only_when_all_of_it_does(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "existing", lambda: set(lab.namespaces))
    myself = state.start_of(os.getpid())
    assert myself is not None
    names = ["machine", *(s.name for s in SERVICES)]
    whole = tuple(Process(name, os.getpid(), myself) for name in names)
    state.save(lab, State(2222, "/cache/host-1", whole))
    assert labs.condition(lab).running

    state.save(lab, State(2222, "/cache/host-1", (*whole[1:], Process("machine", os.getpid(), myself - 1))))
    assert labs.condition(lab).dead == ("machine",)
    assert "half dead (lost: machine)" in labs.status(lab)

    state.save(lab, State(2222, "/cache/host-1", whole))
    monkeypatch.setattr(network, "existing", lambda: set(lab.namespaces[1:]))
    assert labs.condition(lab).missing_namespaces == (lab.lan,)


@pytest.mark.parametrize("name", ["", "a b", "-x", "a;quit", "1st", "x" * 80])
def test_a_name_that_the_monitor_would_misread_is_refused(lab: Lab, name: str) -> None:
    with pytest.raises(LabError, match="no name for a snapshot"):
        labs.snapshot(lab, name)


def test_without_root_the_lab_says_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root"):
        labs.up(lab)
