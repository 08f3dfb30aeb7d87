"""One scheduled run: `clawkeep verify` as a process of its own with a time limit, and everything that is due after it.

Whatever happens to the run, the attempt is recorded, measured and told; nothing of that changes the exit status, which
is that of `clawkeep verify`, or 2 when it did not end by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clawkeep.base import atomic, clock
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.measure.controller import OWN_LEDGER
from clawkeep.measure.transport import SSH_OPTIONS
from clawkeep.schedule import metrics, summary
from clawkeep.schedule.config import Config
from clawkeep.schedule.notice import Level
from clawkeep.schedule.summary import Report, Story
from clawkeep.schedule.tell import tell
from clawkeep.site import ledger
from clawkeep.site.ledger import NAME, Attempt, Ledger
from clawkeep.verify.report import Exit

PROGRAM = (sys.executable, "-m", "clawkeep")
MERCY = 20.0  # seconds between a polite and an impolite end
LOG = "log.txt"


@dataclass(frozen=True)
class Outcome:
    """What came of one scheduled run; `told` is by channel why it failed, `problems` are ours, not the hosts'."""

    status: int
    attempt: Attempt
    told: Mapping[str, str]
    problems: tuple[str, ...]


def run(config: Config, *, program: Sequence[str] = PROGRAM, now: Callable[[], str] = clock.now) -> Outcome:
    """Verify the inventory once; raises ClawkeepError when that cannot even be begun."""
    ledger.establish(config.ledger, config.node, config.period, now())
    with _alone(config):
        before = ledger.read(config.ledger)
        folder = _new_folder(config, now())
        attempt, report = _attempt(config, folder, program, now)
        return _afterwards(config, before, Story(config.node, attempt, report, folder))


@contextlib.contextmanager
def _alone(config: Config) -> Iterator[None]:
    """One run at a time: two would write over each other's evidence."""
    try:
        lock = atomic.lock(config.state / "run.lock")
    except OSError as problem:
        raise ClawkeepError(f"{config.state} cannot be written: {problem.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClawkeepError("a scheduled run is on its way already: wait for its end") from None
        yield


def _new_folder(config: Config, started: str) -> Path:
    plain = re.sub(r"[-:]", "", started)
    for name in (plain, *(f"{plain}-{n}" for n in range(2, 1000))):
        try:
            (config.runs / name).mkdir(mode=0o700, parents=True)
        except FileExistsError:
            continue
        except OSError as problem:
            raise ClawkeepError(f"{config.runs / name} cannot be made: {problem.strerror}") from None
        return config.runs / name
    raise ClawkeepError(f"{config.runs} has a thousand runs of one second: look at its clock")


def _attempt(
    config: Config, folder: Path, program: Sequence[str], now: Callable[[], str]
) -> tuple[Attempt, Report | None]:
    started = now()
    status, trouble, report = None, "", None
    try:
        status = _verify(config, folder, program)
        if status is None:
            trouble = f"it was stopped after {clock.spoken(config.limit_seconds)}"
        report = summary.read(folder / "report")
        if status is not None and report.exit_status != status:
            trouble = f"it ended with status {status}, and its report says {report.exit_status}"
    except ClawkeepError as problem:
        trouble = trouble or f"it left no report: {_last_words(folder) or problem}"
    attempt = Attempt(
        name=folder.name,
        started=started,
        finished=now(),
        exit_status=status,
        hosts=report.seen if report else {},
        left_out=len(report.left_out) if report else 0,
        signed_by=report.bundle.key if report and report.bundle else None,
        counts=report.counts if report else {},
        trouble=clean(trouble),
        invocation=os.environ.get("INVOCATION_ID", ""),
    )
    return attempt, report


def _verify(config: Config, folder: Path, program: Sequence[str]) -> int | None:
    """The exit status of `clawkeep verify`, None when it had to be stopped; what it prints is kept in the log."""
    argv = [*program, "verify", "--inventory", str(config.inventory), "--report", str(folder / "report")]
    argv += ["--save-evidence", str(folder / "evidence"), "--sign-key", str(config.sign_key)]
    try:
        with (folder / LOG).open("wb") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(config),
                start_new_session=True,
            )
    except OSError as problem:
        raise ClawkeepError(f"{argv[0]} cannot be run: {problem.strerror}") from None
    try:
        return process.wait(config.limit_seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the process and of its children: a run leaves no ssh behind."""
    for force, mercy in ((signal.SIGTERM, MERCY), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, force)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(mercy)


def _environment(config: Config) -> dict[str, str]:
    """The run's environment: the node's own key and known hosts win over what the inventory says; no secret."""
    hidden = {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    options = {"StrictHostKeyChecking": "yes", "UpdateHostKeys": "no", "ForwardAgent": "no", "IdentityAgent": "none"}
    if config.ssh_key is not None:
        options |= {"IdentityFile": str(config.ssh_key), "IdentitiesOnly": "yes"}
    if config.known_hosts is not None:
        options |= {"UserKnownHostsFile": str(config.known_hosts), "GlobalKnownHostsFile": "/dev/null"}
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return {**environment, OWN_LEDGER: str(config.ledger), SSH_OPTIONS: shlex.join(words)}


def _last_words(folder: Path) -> str:
    try:
        with (folder / LOG).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))
            said = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return said[-1].removeprefix("clawkeep: ") if said else ""


def _afterwards(config: Config, before: Ledger, story: Story) -> Outcome:
    """Record, count, tell and tidy up; what fails of it is a problem and stops nothing else."""
    attempt, problems = story.attempt, []
    version = importlib.metadata.version("clawkeep")
    after = _joined(before, attempt, config)

    def step(action: Callable[[], object]) -> None:
        try:
            action()
        except ClawkeepError as problem:
            problems.append(str(problem))
        except Exception as problem:
            problems.append(f"what is due after a run broke: {type(problem).__name__}: {problem}")

    def measure(told: Mapping[str, str]) -> None:
        metrics.write(config.metrics, metrics.VERIFY, metrics.of_run(after, story.report, told, version))

    step(lambda: ledger.change(config.ledger, lambda known: _joined(known, attempt, config)))
    step(lambda: measure({}))  # before anybody is told: a mail server that hangs must not hide the run
    told: dict[str, str] = {}
    recovered = _troubled(before) and story.level is Level.INFO
    if config.tell == "always" or story.level is not Level.INFO or recovered or not before.attempts:
        told = tell(config, story.notice(again_green=recovered))
        step(lambda: measure(told))
    step(lambda: _tidy(config, after))
    problems += [f"nobody was told by {channel}: {why}" for channel, why in told.items() if why]
    return Outcome(_status(attempt), attempt, told, tuple(problems))


def _status(attempt: Attempt) -> int:
    """The exit status of the run: what does not count as one is unmeasured, unless something worse was found."""
    known = attempt.exit_status if attempt.exit_status in set(Exit) else None
    if known is None or (known != Exit.WAIVERS and not attempt.complete):
        return int(Exit.UNMEASURED)
    return known


def _joined(known: Ledger, attempt: Attempt, config: Config) -> Ledger:
    current = known.model_copy(update={"node": config.node, "period": config.period})
    return current.with_attempt(attempt, config.keep)


def _troubled(before: Ledger) -> bool:
    last = before.attempts[-1] if before.attempts else None
    return last is not None and not (last.complete and last.exit_status == Exit.GREEN)


def _tidy(config: Config, after: Ledger) -> None:
    """Remove the folders of attempts that the ledger no longer has; nothing that does not bear such a name."""
    kept = {attempt.name for attempt in after.attempts}
    failed = []
    for folder in sorted(config.runs.iterdir()):
        if folder.name in kept or not re.fullmatch(NAME, folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        try:
            shutil.rmtree(folder)
        except OSError as problem:
            failed.append(f"{folder} cannot be removed: {problem.strerror}")
    if failed:
        raise ClawkeepError("; ".join(failed))
