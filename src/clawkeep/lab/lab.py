"""The lab as a whole: up, down, snapshot, restore. Every command of `clawkeep lab` is one function here."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from clawkeep.base import repo
from clawkeep.lab import cache, colleague, image, inventory, machine, network, proven, records, ssh, state, tools
from clawkeep.lab.errors import LabError
from clawkeep.lab.image import HostImage
from clawkeep.lab.progress import say, step
from clawkeep.lab.state import Process, State
from clawkeep.lab.topology import SIEM, Lab
from clawkeep.lab.world import pki, services
from clawkeep.lab.world.services import CERTIFIED_NAMES, Service
from clawkeep.register import tiers

_BOOT_PATIENCE = 420.0  # seconds; some 30 are usual under emulation, 150 when the machine is busy
_WORLD_PATIENCE = 30.0
_RESTORE_PATIENCE = 60.0
_MACHINE = "machine"
_NOT_UP = "the lab {0} is not up: run `clawkeep lab up {0}`"


@dataclass(frozen=True)
class Condition:
    """What is there of a lab: `dead` are recorded processes that no longer run."""

    recorded: bool
    dead: tuple[str, ...]
    missing_namespaces: tuple[str, ...]

    @property
    def running(self) -> bool:
        """Whether all of it is there."""
        return self.recorded and not self.dead and not self.missing_namespaces


def condition(lab: Lab) -> Condition:
    """Compare the lab's record with this machine."""
    record = state.load(lab)
    if record is None:
        return Condition(recorded=False, dead=(), missing_namespaces=())
    expected = [_MACHINE, *(s.name for s in services.of(lab))]
    living = {p.name for p in record.processes if p.alive}
    present = network.existing()
    return Condition(
        recorded=True,
        dead=tuple(n for n in expected if n not in living),
        missing_namespaces=tuple(n for n in lab.namespaces if n not in present),
    )


def up(lab: Lab) -> None:
    """Bring the lab up; ready when ssh, the world and the guest's Docker answer. Nothing happens when it is up."""
    tools.need_root()
    tools.use_every_processor()
    with _alone(lab):
        if condition(lab).running:
            # Whoever started it may have been killed before it answered.
            _await_host(lab, _record(lab, running=True).port)
            say(f"lab: {lab.scenario.name} is up already; inventory: {inventory.folder(lab)}")
            return
        tools.need_good_qemu()
        tools.need(*tools.FOR_LAB)
        if SIEM in lab.places:
            tools.need_log_store()
        _clear(lab)
        host = image.ensure()
        with _undone_on_failure(lab):
            lab.state.mkdir(mode=0o700, exist_ok=True)
            machine.create_disk(lab, host)
            port = _free_port(lab.preferred_port)
            _begin(lab, host, port)
            with step("booting the lab host"):
                _await_host(lab, port)
        say(f"lab: {lab.scenario.name} is up; inventory: {inventory.folder(lab)}")


def up_proven(lab: Lab, tier: str) -> None:
    """Bring the lab up from a machine that was kept when it was proven as that tier, in place of whatever is there."""
    tools.need_root()
    kept = proven.find(lab, tier, image.ensure().folder)
    with _alone(lab):
        _clear(lab)
        with step(f"copying the machine that was proven as {tier}"):
            proven.bring(kept, lab)
    restore(lab, proven.SNAPSHOT)


def keep(lab: Lab) -> None:
    """Keep the proven machine for `up_proven`."""
    with _alone(lab):
        record = _record(lab, running=True)
        with step(f"keeping the machine that was proven as {state.tier(lab)}"):
            proven.keep(lab)
            ssh.set_clock(lab, record.port, _RESTORE_PATIENCE)


def down(lab: Lab) -> None:
    """End everything of the lab, and remove its folder; quiet when there is nothing."""
    tools.need_root()
    if not lab.state.exists() and not network.existing() & set(lab.namespaces):
        say(f"lab: {lab.scenario.name} is not up")
        return
    with _alone(lab):
        _clear(lab)
    shutil.rmtree(lab.state, ignore_errors=True)
    say(f"lab: {lab.scenario.name} is down")


def snapshot(lab: Lab, name: str) -> None:
    """Keep the running machine under a name."""
    _checked(name)
    with _alone(lab):
        record = _record(lab, running=True)
        with step(f"saving the snapshot {name}"):
            machine.save(lab, name)
            ssh.set_clock(lab, record.port, _RESTORE_PATIENCE)  # the guest stood still meanwhile


def restore(lab: Lab, name: str) -> None:
    """Put the machine back to a snapshot and its clock to now; starts whatever of the lab no longer runs."""
    _checked(name)
    tools.need_root()
    tools.use_every_processor()
    with _alone(lab):
        record = _record(lab, running=False)
        if name not in machine.snapshots(lab):
            known = ", ".join(machine.snapshots(lab)) or "none"
            raise LabError(f"{lab.scenario.name} has no snapshot {name!r}; it has: {known}")
        with step(f"restoring the snapshot {name}"):
            host = HostImage(Path(record.image))
            if condition(lab).running:
                state.end([process for process in record.processes if process.name == _MACHINE])
                record = _boot(lab, _without_machine(record), host, name)
                inventory.write(lab, record.port, host.containers)
            else:
                _clear(lab, keep_disk=True)
                record = _begin(lab, host, _free_port(record.port), name)
            ssh.set_clock(lab, record.port, _RESTORE_PATIENCE)


def renew_inventory(lab: Lab) -> None:
    """Write the inventory of a running lab anew, whatever was done to it."""
    record = _record(lab, running=False)
    inventory.write(lab, record.port, HostImage(Path(record.image)).containers)


def set_tier(lab: Lab, tier: str) -> None:
    """Name the running lab's host as one of another tier in its inventory; the next play makes it one."""
    declared = tiers.load(repo.find().tiers)
    if tier not in declared:
        raise LabError(f"no tier {tier!r}: choose from {', '.join(declared)}")
    if declared[tier]["log_agent_remote"] != "none" and SIEM not in lab.places:
        raise LabError(f"{tier} sends its records to a log store, and the lab {lab.scenario.name} has none")
    with _alone(lab):
        _record(lab, running=False)
        state.set_tier(lab, tier)
        renew_inventory(lab)


def shell(lab: Lab, words: list[str]) -> int:
    """A root shell in the host, or a command with our standard input, output and error; its exit status."""
    record = _record(lab, running=False)
    machine_process = record.process(_MACHINE)
    if machine_process is None or not machine_process.alive:  # the world around it may be out of order
        raise LabError(_NOT_UP.format(lab.scenario.name))
    terminal = ("-t",) if not words and sys.stdin.isatty() else ()
    return subprocess.run(ssh.argv(lab, record.port, ssh.as_root(words), *terminal), check=False).returncode


def status(lab: Lab) -> str:
    """One sentence on the lab."""
    found = condition(lab)
    record = state.load(lab)
    if record is None:
        return f"{lab.scenario.name}: down"
    if found.running:
        kept = ", ".join(machine.snapshots(lab)) or "none"
        where = f"ssh on {ssh.ADDRESS}:{record.port}, as {state.tier(lab)}, snapshots: {kept}, folder: {lab.state}"
        return f"{lab.scenario.name}: up ({where})"
    lost = ", ".join((*found.dead, *found.missing_namespaces))
    return f"{lab.scenario.name}: half dead (lost: {lost}); `up` starts afresh, `restore` goes on from a snapshot"


def _record(lab: Lab, *, running: bool) -> State:
    record = state.load(lab)
    if record is None or (running and not condition(lab).running):
        raise LabError(_NOT_UP.format(lab.scenario.name))
    return record


def _checked(name: str) -> None:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name) is None:
        raise LabError(f"{name!r} is no name for a snapshot: use letters, digits, - and _, beginning with a letter")


@contextmanager
def _alone(lab: Lab) -> Iterator[None]:
    """One command at a time changes a lab. The lock lies beside the folder, which `down` removes."""
    lab.state.parent.mkdir(parents=True, exist_ok=True)
    with cache.locked(lab.state.parent / f".{lab.state.name}"):
        yield


@contextmanager
def _undone_on_failure(lab: Lab) -> Iterator[None]:
    """Leave nothing half started behind an error, Ctrl-C or SIGTERM; the logs stay for reading."""
    try:
        yield
    except BaseException:
        _clear(lab, keep_logs=True)
        raise


def _clear(lab: Lab, *, keep_disk: bool = False, keep_logs: bool = False) -> None:
    """End every process of the lab and remove its namespaces and files."""
    record = state.load(lab)
    state.end([*(record.processes if record else ()), *state.marked(lab)])
    network.delete(lab)
    if keep_disk or not lab.state.exists():
        return
    for entry in lab.state.iterdir():
        if keep_logs and (entry.suffix == ".log" or entry.name == "world"):
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _begin(lab: Lab, host: HostImage, port: int, from_snapshot: str | None = None) -> State:
    """Start network, world and machine, each recorded as soon as it exists."""
    record = State(port, str(host.folder))
    state.save(lab, record)  # before anything exists: the names follow from it, and the mark finds the processes
    with step("building the world around the lab host"):
        network.create(lab)
        world = lab.state / "world"
        shutil.rmtree(world, ignore_errors=True)
        world.mkdir(mode=0o700)
        pki.create(world, CERTIFIED_NAMES)
        colleague.peer(lab, inventory.folder(lab))
        if SIEM in lab.places:
            records.credentials(lab)
        for service in services.of(lab):
            record = _recorded(lab, record, service.name, _start(lab, service, world))
    inventory.write(lab, port, host.containers)
    record = _boot(lab, record, host, from_snapshot)
    _await_world(lab, record)
    return record


def _boot(lab: Lab, record: State, host: HostImage, from_snapshot: str | None) -> State:
    """Start the machine. A snapshot is always loaded into a new QEMU: one that runs never turns its emulated time stamp
    counter back, so its guest would charge whichever process was running with all the time since the snapshot.
    """
    process = machine.start(lab, host, record.port, ssh.public_key(lab), _environment(lab), from_snapshot)
    record = _recorded(lab, record, _MACHINE, process)
    if from_snapshot is not None:
        machine.load(lab, from_snapshot)
    return record


def _without_machine(record: State) -> State:
    return replace(record, processes=tuple(p for p in record.processes if p.name != _MACHINE))


def _await_host(lab: Lab, port: int) -> None:
    """Wait until the host lets its administrator in and its Docker runs."""
    docker = "until systemctl is-active --quiet docker; do sleep 0.5; done"
    ssh.wait(lab, port, docker, _BOOT_PATIENCE, "the lab host did not let us in and start Docker")


def _recorded(lab: Lab, record: State, name: str, process: subprocess.Popen[bytes]) -> State:
    started = state.start_of(process.pid)
    if started is None:
        raise LabError(f"{name} ended at once: read the logs in {lab.state}")
    record = replace(record, processes=(*record.processes, Process(name, process.pid, started)))
    state.save(lab, record)
    return record


def _environment(lab: Lab) -> dict[str, str]:
    return {**os.environ, "PATH": tools.SEARCH_PATH, state.MARK: str(lab.state)}


def _start(lab: Lab, service: Service, world: Path) -> subprocess.Popen[bytes]:
    with (world / f"{service.name}.log").open("ab") as log:
        return subprocess.Popen(
            ["ip", "netns", "exec", lab.netns(service.place), *service.argv(world)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(lab),
            start_new_session=True,
        )


def stop_service(lab: Lab, name: str) -> None:
    """End one stand-in of the world with all that it started, as an outage would; `start_service` ends the outage."""
    record, process = _service_of(lab, name)
    if process is not None and process.alive:
        os.killpg(process.pid, signal.SIGKILL)  # each service leads a group of its own
    state.save(lab, replace(record, processes=tuple(p for p in record.processes if p.name != name)))


def start_service(lab: Lab, name: str) -> None:
    """Start a stopped stand-in again; it keeps its files. Returns once it answers."""
    record, process = _service_of(lab, name)
    if process is None:
        (service,) = (one for one in services.of(lab) if one.name == name)
        _await_world(lab, _recorded(lab, record, name, _start(lab, service, lab.state / "world")))


def _service_of(lab: Lab, name: str) -> tuple[State, Process | None]:
    record = state.load(lab)
    if record is None or name not in {service.name for service in services.of(lab)}:
        raise LabError(f"{lab.scenario.name} runs no {name}: `clawkeep lab status` says what does")
    return record, record.process(name)


def _await_world(lab: Lab, record: State) -> None:
    """Wait until every stand-in answers on each of its addresses, asked from within its own namespace."""
    deadline = time.monotonic() + _WORLD_PATIENCE
    for service in services.of(lab):
        for address in service.addresses:
            for port in service.ports:
                while not network.answers(lab.netns(service.place), str(address), port):
                    process = record.process(service.name)
                    if process is None or not process.alive or time.monotonic() > deadline:
                        raise LabError(f"the world's {service.name} does not answer on {address} port {port}")
                    time.sleep(0.1)


def _free_port(preferred: int) -> int:
    """The preferred loopback port, or another one when something listens there."""
    for candidate in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ssh.ADDRESS, candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LabError("no free port on 127.0.0.1")
