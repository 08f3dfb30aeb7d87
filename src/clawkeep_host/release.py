#!/usr/bin/python3
"""Put a release of the agent's container into force, and go back when it does not become healthy.

A release is a directory /etc/clawkeep/releases/N of four files:

    compose.yml    the Compose project with N filled in
    openclaw.json  OpenClaw's configuration
    image          the reference of the image, by digest or id
    release.json   {"release": N, "image_id": "sha256:...", "state": "candidate|proven|failed", "proven_at": RFC3339 or
                    null, "shape": the container's settings once it was healthy, "reason": why it failed}

`current` and `previous` link to the two last proven ones. What is in force lies in /etc/clawkeep/openclaw, where
Compose and the container read it; what shall be in force lies in its folder `candidate`, where the role writes it.

    clawkeep-release apply     candidate -> validated by OpenClaw itself -> release N -> healthy in time, or back
    clawkeep-release rollback  back to the previous proven release
    clawkeep-release start     start what is in force (at boot; waits for nothing)
    clawkeep-release status    the releases and what runs

Nothing is done when the candidate is in force, proven, running, and the container still has the settings it was proven
with. Output is one JSON object, for a change {"changed": bool, "release": N, "seconds": S, "message": sentence}. Exit
status: 0 done, 1 refused before anything was changed, 3 the release failed and the former one is back, 4 nothing
healthy is running.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

FORCE = Path("/etc/clawkeep/openclaw")
CANDIDATE = FORCE / "candidate"
RELEASES = Path("/etc/clawkeep/releases")
KILLED = Path("/var/lib/clawkeep/kill/active")
LOCK = Path("/run/clawkeep/release.lock")

COMPOSE, CONFIG, IMAGE, RECORD = "compose.yml", "openclaw.json", "image", "release.json"
FILES = (COMPOSE, CONFIG, IMAGE)
NUMBER = "@release@"  # stands for the release's number in a candidate's compose.yml
PROJECT = CONTAINER = "openclaw"
PROVEN, FAILED, WAITING = "proven", "failed", "candidate"
PATH = "/app/node_modules/.bin:/usr/local/bin:/usr/bin:/bin"  # wherever the image has `openclaw`

REFUSED, BACK, DOWN = 1, 3, 4
OVERDUE = 124
POLL_SECONDS = 5.0
CRASHES = 3  # one start may fail on a busy host; what ended so often will not be healthy


class Refusal(Exception):
    """A sentence for the operator, and the exit status that goes with it."""

    def __init__(self, sentence: str, status: int = REFUSED) -> None:
        """Take the sentence, and the exit status of a refusal unless told otherwise."""
        super().__init__(sentence)
        self.status = status


def run(*argv: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a command with a time limit; its exit status (OVERDUE when time was up) is the caller's business."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, OVERDUE, "", f"no answer within {timeout:.0f} s")


def docker(*argv: str, timeout: float = 600) -> str:
    """Return the output of a docker command; raise Refusal with its last words when it fails."""
    done = run("docker", *argv, timeout=timeout)
    if done.returncode:
        raise Refusal(f"`docker {' '.join(argv[:2])}` failed: {last_words(done.stderr)}")
    return done.stdout


def last_words(text: str) -> str:
    """The last line of a program's complaint."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def write(path: Path, text: str, mode: int, uid: int = 0) -> None:
    """Replace a file at once; a container that has the old one mounted keeps the old one."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chown(fresh, uid, uid)
    fresh.chmod(mode)
    fresh.replace(path)


# --- releases ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Release:
    """One kept release, or the candidate, which has no number yet (0)."""

    folder: Path

    @property
    def number(self) -> int:
        """The release's number."""
        return int(self.folder.name) if self.folder.name.isdigit() else 0

    @property
    def complete(self) -> bool:
        """Whether every file is there."""
        return all((self.folder / name).is_file() for name in FILES)

    @cached_property
    def files(self) -> dict[str, str]:
        """Texts of the release's files, the number in compose.yml taken out again, so that two releases compare."""
        texts = {name: (self.folder / name).read_text(encoding="utf-8") for name in FILES}
        label = 'clawkeep.release: "{}"'
        texts[COMPOSE] = texts[COMPOSE].replace(label.format(self.number), label.format(NUMBER))
        return texts

    @cached_property
    def record(self) -> dict[str, Any]:
        """What is known of the release; empty when nothing readable is."""
        try:
            found = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def state(self) -> str:
        """`candidate`, `proven` or `failed`."""
        return str(self.record.get("state", ""))

    def note(self, **facts: Any) -> None:
        """Write further facts into the release's record."""
        self.record.update({"release": self.number, **facts})
        write(self.folder / RECORD, json.dumps(self.record, indent=2) + "\n", 0o600)


def kept() -> list[Release]:
    """Kept releases, oldest first."""
    folders = [path for path in RELEASES.glob("*") if path.name.isdigit() and not path.is_symlink()]
    found = [Release(path) for path in sorted(folders, key=lambda path: int(path.name))]
    return [release for release in found if release.complete]


def linked(name: str) -> Release | None:
    """The release that `current` or `previous` names."""
    link = RELEASES / name
    target = link.readlink().name if link.is_symlink() else ""
    return next((release for release in kept() if release.folder.name == target), None)


def link(name: str, release: Release) -> None:
    """Have `current` or `previous` name a release."""
    fresh = RELEASES / f".{name}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(release.folder.name)
    fresh.replace(RELEASES / name)


def keep(candidate: Release, image: str) -> Release:
    """Give the candidate a number and a folder of its own."""
    RELEASES.mkdir(mode=0o700, exist_ok=True)
    number = max((int(path.name) for path in RELEASES.glob("*") if path.name.isdigit()), default=0) + 1
    folder = RELEASES / str(number)
    folder.mkdir(mode=0o700)
    for name, text in candidate.files.items():
        write(folder / name, text.replace(NUMBER, str(number)), 0o600)
    release = Release(folder)
    release.note(image_id=image, state=WAITING, proven_at=None)
    return release


def forget(count: int) -> None:
    """Remove releases beyond `count`, failed ones first and then the oldest, never the two that are linked."""
    spared = {release.number for release in (linked("current"), linked("previous")) if release}
    others = [release for release in kept() if release.number not in spared]
    others.sort(key=lambda release: (release.state != FAILED, release.number))
    for release in others[: max(0, len(others) + len(spared) - count)]:
        shutil.rmtree(release.folder)


# --- the container ----------------------------------------------------------------------------------------------


def container() -> dict[str, Any] | None:
    """What the engine says of the agent's container; None when there is none."""
    done = run("docker", "container", "inspect", CONTAINER, timeout=60)
    if done.returncode:
        return None
    found = json.loads(done.stdout)[0]
    return found if isinstance(found, dict) else None


def shape(found: dict[str, Any]) -> dict[str, Any]:
    """What can be changed about a container behind Compose's back, in a form that compares."""
    host = {key: value for key, value in found["HostConfig"].items() if value not in (None, [], {}, "", 0, False)}
    return {
        "image": found["Image"],
        "user": found["Config"]["User"],
        "host": {
            key: sorted(value, key=json.dumps) if isinstance(value, list) else value for key, value in host.items()
        },
        "networks": sorted(found["NetworkSettings"]["Networks"]),
        "mounts": sorted(f"{row['Source']}:{row['Destination']}:{row['RW']}" for row in found["Mounts"]),
    }


def answers(found: dict[str, Any]) -> bool:
    """Whether the gateway answers wherever the container publishes it."""
    bindings = [row for rows in (found["HostConfig"].get("PortBindings") or {}).values() for row in rows or []]
    try:
        for row in bindings:
            with urllib.request.urlopen(f"http://{row['HostIp']}:{row['HostPort']}/healthz", timeout=10):
                continue
    except (OSError, ValueError):  # an answer other than 2xx is an OSError too
        return False
    return bool(bindings)


def trouble(release: Release, seconds: float) -> str | None:
    """Wait until the container is healthy; return why it is not, or None once the release is noted as proven."""
    limit = time.monotonic() + seconds
    while True:
        found = container()
        if found is None:
            return "the container is not there"
        state = found["State"]
        health = (state.get("Health") or {}).get("Status", "not checked")
        answered = bool(state["Running"]) and answers(found)
        if answered and health == "healthy":
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            release.note(state=PROVEN, proven_at=now, shape=shape(found))
            return None
        if found["RestartCount"] >= CRASHES:
            return f"the container ended {found['RestartCount']} times and was never healthy"
        if not state["Running"] and not state["Restarting"]:
            return f"the container ended with status {state['ExitCode']} after {found['RestartCount']} restarts"
        if time.monotonic() > limit:
            seen = f"health is {health}, /healthz {'answers' if answered else 'does not answer'}"
            return f"it was not healthy within {seconds:.0f} s: {seen}"
        time.sleep(POLL_SECONDS)


def deploy(release: Release, uid: int, *, recreate: bool = False) -> None:
    """Put the release's files into force and have Compose make the container so."""
    write(FORCE / COMPOSE, (release.folder / COMPOSE).read_text(encoding="utf-8"), 0o600)
    write(FORCE / CONFIG, (release.folder / CONFIG).read_text(encoding="utf-8"), 0o400, uid)
    compose("up", "--detach", "--remove-orphans", *(["--force-recreate"] if recreate else []))


def compose(*argv: str) -> None:
    """Run Compose on the project in force."""
    docker("compose", "--project-name", PROJECT, "--file", str(FORCE / COMPOSE), *argv)


def in_force(release: Release) -> bool:
    """Whether the files that Compose and the container read are the release's."""
    try:
        return all((FORCE / name).read_bytes() == (release.folder / name).read_bytes() for name in (COMPOSE, CONFIG))
    except OSError:
        return False


def settled(current: Release) -> bool:
    """Whether the current release is in force as it was proven."""
    found = container()
    return (
        current.state == PROVEN
        and found is not None
        and bool(found["State"]["Running"])
        and found["Config"]["Labels"].get("clawkeep.release") == str(current.number)
        and shape(found) == current.record.get("shape")
        and in_force(current)
    )


def under_way(release: Release) -> bool:
    """Whether the container runs an unproven release: its proof was cut short, and would begin anew in a new one."""
    found = container()
    return (
        found is not None
        and bool(found["State"]["Running"] or found["State"]["Restarting"])
        and found["Config"]["Labels"].get("clawkeep.release") == str(release.number)
        and in_force(release)
    )


def image_id(reference: str) -> str:
    """Id of an image, which is pulled first when only its digest is known."""
    if run("docker", "image", "inspect", reference).returncode:
        if "@sha256:" not in reference:
            raise Refusal(f"the image {reference} is not on this host, and it names no registry to pull it from")
        docker("pull", "--quiet", reference, timeout=1800)
    return docker("image", "inspect", "--format", "{{.Id}}", reference).strip()


def validate(release: Release, image: str, uid: int, seconds: float) -> None:
    """Have the image's own OpenClaw read the configuration, in a container that can do nothing else."""
    name = f"clawkeep-validate-{os.getpid()}"
    done = run(
        *("docker", "run", "--rm", "--name", name, "--label", "clawkeep.role=check", "--pull", "never"),
        *("--network", "none", "--read-only", "--user", f"{uid}:{uid}", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges:true", "--memory", "2g", "--memory-swap", "2g", "--pids-limit", "256"),
        *("--tmpfs", "/tmp:rw,noexec,nosuid,nodev,mode=1777"),
        *("--tmpfs", f"/home/node/.openclaw:rw,noexec,nosuid,nodev,uid={uid},gid={uid},mode=0700"),
        *("--mount", f"type=bind,source={release.folder / CONFIG},target=/etc/openclaw/openclaw.json,readonly"),
        *("--env", "OPENCLAW_CONFIG_PATH=/etc/openclaw/openclaw.json", "--env", "OPENCLAW_CONFIG_READONLY=1"),
        *("--env", "OPENCLAW_STATE_DIR=/home/node/.openclaw", "--env", "XDG_CACHE_HOME=/tmp/.cache"),
        *("--env", "OPENCLAW_NO_RESPAWN=1", "--env", f"PATH={PATH}"),
        *("--entrypoint", "openclaw", image, "config", "validate", "--json"),
        timeout=seconds,
    )
    if done.returncode == OVERDUE:
        run("docker", "rm", "--force", name)
        raise Refusal(f"OpenClaw did not finish validating its configuration within {seconds:.0f} s")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        words = last_words(done.stderr or done.stdout)
        raise Refusal(f"OpenClaw could not validate its configuration (status {done.returncode}): {words}") from None
    if done.returncode or not answer.get("valid"):
        issues = [f"{issue.get('path')}: {issue.get('message')}" for issue in answer.get("issues", [])]
        raise Refusal(f"OpenClaw refuses the configuration: {'; '.join(issues) or 'it names no reason'}")


# --- commands ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    """What the role decides."""

    uid: int
    health_seconds: float
    validate_seconds: float
    keep: int


def apply(options: Options) -> dict[str, Any]:
    """Bring the candidate into force."""
    candidate, current = Release(CANDIDATE), linked("current")
    if not candidate.complete:
        raise Refusal(f"there is no candidate in {CANDIDATE}")
    if current and current.files == candidate.files:
        if settled(current):
            return said(current, "in force and unchanged", changed=False)
        return prove(current, options, recreate=True)
    begun = next(reversed(kept()), None)
    if begun and begun.files == candidate.files and under_way(begun):
        return prove(begun, options)
    image = image_id(candidate.files[IMAGE].strip())
    known = [(release.files[CONFIG], release.record.get("image_id")) for release in kept() if release.state == PROVEN]
    if (candidate.files[CONFIG], image) not in known:
        validate(candidate, image, options.uid, options.validate_seconds)
    return prove(keep(candidate, image), options)


def rollback(options: Options) -> dict[str, Any]:
    """Go back to the previous proven release."""
    previous = linked("previous")
    if previous is None or previous.state != PROVEN:
        raise Refusal("there is no previous proven release to go back to")
    return prove(previous, options)


def prove(release: Release, options: Options, *, recreate: bool = False) -> dict[str, Any]:
    """Deploy a release and wait for its health; when it fails, bring the last proven one back and say so."""
    former = linked("current")
    began = time.monotonic()
    reason = attempt(release, options, recreate=recreate)
    took = round(time.monotonic() - began, 1)
    if reason is None:
        if former and former.number != release.number:
            link("previous", former)
        link("current", release)
        forget(options.keep)
        return said(release, f"healthy after {took:.0f} s", changed=True, seconds=took)
    if former and former.number == release.number:
        raise Refusal(f"release {release.number} worked once and does not now: {reason}", DOWN)
    release.note(state=FAILED, reason=reason)
    if former is None:
        raise Refusal(f"release {release.number} failed and there is no other to go back to: {reason}", DOWN)
    again = attempt(former, options, recreate=True)
    if again is not None:
        raise Refusal(f"release {release.number} failed ({reason}), and so did release {former.number}: {again}", DOWN)
    back = round(time.monotonic() - began)
    raise Refusal(
        f"release {release.number} failed ({reason}); release {former.number} is back and healthy after {back} s", BACK
    )


def attempt(release: Release, options: Options, *, recreate: bool) -> str | None:
    """Deploy a release and wait for its health; return what went wrong, or None."""
    try:
        deploy(release, options.uid, recreate=recreate)
    except Refusal as refusal:
        return str(refusal)
    return trouble(release, options.health_seconds)


def start(options: Options) -> dict[str, Any]:
    """Start what is in force; Compose makes the container anew when its token has been replaced meanwhile."""
    current = linked("current")
    if current is None:
        raise Refusal("there is no proven release to start")
    if in_force(current):
        compose("up", "--detach", "--remove-orphans")
    else:
        deploy(current, options.uid)
    return said(current, "started", changed=True)


def status(_: Options) -> dict[str, Any]:
    """The releases and what runs."""
    current, previous, found = linked("current"), linked("previous"), container()
    return {
        "current": current.number if current else None,
        "previous": previous.number if previous else None,
        "kept": {release.number: release.state for release in kept()},
        "running": bool(found and found["State"]["Running"]),
        "as_proven": bool(current and settled(current)),
        "killed": KILLED.exists(),
    }


def said(release: Release, message: str, *, changed: bool, seconds: float = 0) -> dict[str, Any]:
    """The answer of a command that went well."""
    return {"changed": changed, "release": release.number, "seconds": seconds, "message": message}


CHANGES = {"apply": apply, "rollback": rollback, "start": start}


@contextmanager
def alone(seconds: float) -> Iterator[None]:
    """One change at a time; the next one waits, since the first may still prove what it wants, too."""
    LOCK.parent.mkdir(mode=0o755, exist_ok=True)
    limit = time.monotonic() + seconds
    with LOCK.open("w", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > limit:
                    raise Refusal("another clawkeep-release is at work") from None
                time.sleep(1)
        yield


def change(command: str, options: Options) -> dict[str, Any]:
    """Run a command that changes what is in force, unless the agent was stopped on purpose."""
    if KILLED.exists():
        raise Refusal("the agent was stopped by clawkeep-kill; `clawkeep-kill release` lets it start again")
    with alone(options.health_seconds):
        return CHANGES[command](options)


def main() -> int:
    """Read the command line; print the answer, or one sentence and the exit status that goes with it."""
    parser = argparse.ArgumentParser(prog="clawkeep-release", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=[*CHANGES, "status"])
    parser.add_argument("--uid", type=int, default=1000, help="user and group of the agent (%(default)s)")
    parser.add_argument("--health-seconds", type=float, default=120, help="time to become healthy (%(default)s)")
    parser.add_argument("--validate-seconds", type=float, default=300, help="time to validate (%(default)s)")
    parser.add_argument("--keep", type=int, default=5, help="releases that stay on the host (%(default)s)")
    given = parser.parse_args()
    options = Options(given.uid, given.health_seconds, given.validate_seconds, given.keep)
    try:
        answer = status(options) if given.command == "status" else change(given.command, options)
    except (Refusal, OSError) as refusal:
        print(f"clawkeep-release: {refusal}", file=sys.stderr)
        return refusal.status if isinstance(refusal, Refusal) else REFUSED
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
