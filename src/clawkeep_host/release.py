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

import contextlib
import http.client
import ipaddress
import json
import os
import shutil
import socket
import threading
import time
import urllib.parse
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from clawkeep_host import engine_api, files, foreign_json, stop_flag
from clawkeep_host.command import FLOODED, OVERDUE, Done, Parser, Refusal, attempt, conclude, printable
from clawkeep_host.redaction import redact_text

PROGRAM = "clawkeep-release"
FORCE = Path("/etc/clawkeep/openclaw")
CANDIDATE = FORCE / "candidate"
RELEASES = Path("/etc/clawkeep/releases")
KILLED = stop_flag.FLAGS
LOCK = Path("/run/clawkeep/release.lock")

COMPOSE, CONFIG, IMAGE, RECORD = "compose.yml", "openclaw.json", "image", "release.json"
FILES = (COMPOSE, CONFIG, IMAGE)
NUMBER = "@release@"  # stands for the release's number in a candidate's compose.yml
PROJECT = CONTAINER = "openclaw"
PROVEN, FAILED, WAITING = "proven", "failed", "candidate"
PATH = "/app/node_modules/.bin:/usr/local/bin:/usr/bin:/bin"  # wherever the image has `openclaw`

REFUSED, BACK, DOWN = 1, 3, 4
POLL_SECONDS = 5.0
CRASHES = 3  # one start may fail on a busy host; what ended so often will not be healthy
ANSWER_SECONDS = 10.0  # for the gateway's whole answer
ANSWER_BYTES = 1 << 16
DOCKER_SECONDS, PULL_SECONDS = 600.0, 1800.0
OUTPUT_BYTES = 16 << 20  # of a command's output; the validating container decides what it writes
ISSUES, ISSUE_LENGTH = 10, 200
STOPPED = "the agent was stopped by clawkeep-kill; `clawkeep-kill release` lets it start again"


# --- docker -----------------------------------------------------------------------------------------------------


def run(*argv: str, seconds: float = DOCKER_SECONDS) -> Done:
    """Run a docker command within a time and a size; how it ended is the caller's business."""
    return attempt("docker", *argv, seconds=seconds, limit=OUTPUT_BYTES)


def docker(*argv: str, seconds: float = DOCKER_SECONDS) -> str:
    """Return the output of a docker command; raise Refusal with its last words when it fails."""
    done = run(*argv, seconds=seconds)
    if not done.ok:
        raise Refusal(f"`docker {' '.join(argv[:2])}` failed: {last_words(done)}")
    return done.stdout


def last_words(done: Done) -> str:
    """The last line of a program's complaint, which may be an image's own words."""
    if done.status == OVERDUE:
        return "it did not end in time"
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return printable(redact_text(lines[-1])) if lines else "no message"


# --- releases ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Release:
    """One kept release, or the candidate, which has no number yet (0)."""

    folder: Path

    @property
    def number(self) -> int:
        """The release's number."""
        return int(self.folder.name) if numbered(self.folder) else 0

    @property
    def complete(self) -> bool:
        """Whether every file is there."""
        return all((self.folder / name).is_file() for name in FILES)

    @cached_property
    def files(self) -> dict[str, str]:
        """Texts of the release's files, the number in compose.yml taken out again, so that two releases compare."""
        try:
            texts = {name: (self.folder / name).read_text(encoding="utf-8") for name in FILES}
        except UnicodeDecodeError:
            raise Refusal(f"a file in {self.folder} is no text; run the role openclaw against this host") from None
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
        files.write(self.folder / RECORD, json.dumps(self.record, indent=2) + "\n", 0o600)


def numbered(path: Path) -> bool:
    """Whether a folder is named as a release is."""
    return path.name.isascii() and path.name.isdigit()


def kept() -> list[Release]:
    """Kept releases, oldest first."""
    folders = [path for path in RELEASES.glob("*") if numbered(path) and not path.is_symlink()]
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
    number = max((int(path.name) for path in RELEASES.glob("*") if numbered(path)), default=0) + 1
    folder = RELEASES / str(number)
    folder.mkdir(mode=0o700)
    release = Release(folder)
    try:
        for name, text in candidate.files.items():
            files.write(folder / name, text.replace(NUMBER, str(number)), 0o600)
        release.note(image_id=image, state=WAITING, proven_at=None)
    except BaseException:
        shutil.rmtree(folder)  # an incomplete one is no release, and nothing would ever forget it
        raise
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
    """What the engine says of the agent's container; None when there is none. Raises EngineError when it is silent."""
    try:
        found = engine_api.get(f"/containers/{CONTAINER}/json")
    except engine_api.Missing:
        return None
    if not isinstance(found, dict):
        raise engine_api.EngineError(f"Docker tells nothing of the container {CONTAINER}")
    return found


def label(found: dict[str, Any]) -> str:
    """The number of the release that the container was made for."""
    return str((found["Config"].get("Labels") or {}).get("clawkeep.release", ""))


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
    return bool(bindings) and all(healthy(row) for row in bindings)


def healthy(binding: dict[str, Any]) -> bool:
    """Whether /healthz at a published address answers with 200, itself and in time.

    The gateway is not trusted: no redirect is followed, no name is resolved, no proxy of the environment is asked, and
    the time limit holds for the whole answer, so that one which comes byte by byte ends as well.
    """
    try:
        address = ipaddress.ip_address(binding.get("HostIp") or "0.0.0.0")  # noqa: S104 - asked, not listened on
        port = int(binding.get("HostPort") or 0)
    except ValueError:
        return False
    if address.is_unspecified:  # published on every address: loopback is one of them
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    limit = time.monotonic() + ANSWER_SECONDS
    connection = http.client.HTTPConnection(str(address), port, timeout=ANSWER_SECONDS)
    try:
        connection.connect()
        end = threading.Timer(max(0.0, limit - time.monotonic()), hang_up, [connection.sock])
        end.daemon = True
        end.start()
        try:
            connection.request("GET", "/healthz", headers={"Connection": "close"})
            answer = connection.getresponse()
            answer.read(ANSWER_BYTES)
        finally:
            end.cancel()
    except (OSError, OverflowError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return answer.status == http.client.OK and time.monotonic() < limit


def hang_up(line: socket.socket) -> None:
    """End a connection on which somebody waits."""
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def trouble(release: Release, seconds: float) -> str | None:
    """Wait until the container is healthy; return why it is not, or None once the release is noted as proven.

    An engine that is silent for a while, since it restarts, is asked again.
    """
    limit = time.monotonic() + seconds
    while not killed():
        try:
            found = container()
        except engine_api.EngineError as silence:
            seen = str(silence)
        else:
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
            seen = f"health is {health}, /healthz {'answers' if answered else 'does not answer'}"
        if time.monotonic() > limit:
            return f"it was not healthy within {seconds:.0f} s: {seen}"
        time.sleep(POLL_SECONDS)
    return STOPPED


def deploy(release: Release, uid: int, *, recreate: bool = False) -> None:
    """Put the release's files into force and have Compose make the container so."""
    refuse_if_killed()
    files.write(FORCE / COMPOSE, (release.folder / COMPOSE).read_bytes(), 0o600)
    files.write(FORCE / CONFIG, (release.folder / CONFIG).read_bytes(), 0o400, uid)
    up(*(["--force-recreate"] if recreate else []))


def up(*options: str) -> None:
    """Have Compose make and start the container, unless clawkeep-kill stops the agent meanwhile."""
    refuse_if_killed()
    compose("up", "--detach", "--remove-orphans", *options)
    if killed():  # it may have looked before there was a container to stop
        compose("stop", "--timeout", "0")
        refuse_if_killed()


def killed() -> bool:
    """Whether clawkeep-kill has stopped the agent."""
    return stop_flag.is_set(KILLED)


def refuse_if_killed() -> None:
    """Leave an agent down that was stopped on purpose."""
    if killed():
        raise Refusal(STOPPED)


def compose(*argv: str) -> None:
    """Run Compose on the project in force."""
    docker("compose", "--project-name", PROJECT, "--file", str(FORCE / COMPOSE), *argv)


def in_force(release: Release) -> bool:
    """Whether the files that Compose and the container read are the release's."""
    try:
        return all(holds(FORCE / name, (release.folder / name).read_bytes()) for name in (COMPOSE, CONFIG))
    except OSError:
        return False


def holds(path: Path, content: bytes) -> bool:
    """Whether a file has this content; one that has more is not read to its end, since the agent may own it."""
    with path.open("rb") as file:
        return file.read(len(content) + 1) == content


def settled(current: Release, found: dict[str, Any] | None) -> bool:
    """Whether the current release is in force as it was proven."""
    return (
        current.state == PROVEN
        and found is not None
        and bool(found["State"]["Running"])
        and label(found) == str(current.number)
        and shape(found) == current.record.get("shape")
        and in_force(current)
    )


def under_way(release: Release) -> bool:
    """Whether the container runs an unproven release: its proof was cut short, and would begin anew in a new one."""
    found = container()
    return (
        found is not None
        and bool(found["State"]["Running"] or found["State"]["Restarting"])
        and label(found) == str(release.number)
        and in_force(release)
    )


def image_id(reference: str) -> str:
    """Id of an image, which is pulled first when only its digest is known."""
    path = f"/images/{urllib.parse.quote(reference, safe='/:@')}/json"
    try:
        found = engine_api.get(path)
    except engine_api.Missing:
        if "@sha256:" not in reference:
            raise Refusal(
                f"the image {reference} is not on this host, and it names no registry to pull it from"
            ) from None
        docker("pull", "--quiet", reference, seconds=PULL_SECONDS)
        found = engine_api.get(path)
    return str(found["Id"])


def validate(release: Release, image: str, uid: int, seconds: float) -> None:
    """Have the image's own OpenClaw read the configuration, in a container that can do nothing else.

    What it says is an image's word: it has a size, is taken for nothing but what it must be, and is shown in print.
    """
    name = f"clawkeep-validate-{os.getpid()}"
    done = run(
        *("run", "--rm", "--name", name, "--label", "clawkeep.role=check", "--pull", "never"),
        *("--network", "none", "--read-only", "--user", f"{uid}:{uid}", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges:true", "--memory", "2g", "--memory-swap", "2g", "--pids-limit", "256"),
        *("--log-driver", "none"),  # we read along, and what it writes without end would fill the disk
        *("--tmpfs", "/tmp:rw,noexec,nosuid,nodev,mode=1777"),  # noqa: S108 - the container's own
        *("--tmpfs", f"/home/node/.openclaw:rw,noexec,nosuid,nodev,uid={uid},gid={uid},mode=0700"),
        *("--mount", f"type=bind,source={release.folder / CONFIG},target=/etc/openclaw/openclaw.json,readonly"),
        *("--env", "OPENCLAW_CONFIG_PATH=/etc/openclaw/openclaw.json", "--env", "OPENCLAW_CONFIG_READONLY=1"),
        *("--env", "OPENCLAW_STATE_DIR=/home/node/.openclaw", "--env", "XDG_CACHE_HOME=/tmp/.cache"),
        *("--env", "OPENCLAW_NO_RESPAWN=1", "--env", f"PATH={PATH}"),
        *("--entrypoint", "openclaw", image, "config", "validate", "--json"),
        seconds=seconds,
    )
    if done.status in (OVERDUE, FLOODED):
        run("rm", "--force", name)
    if done.status == OVERDUE:
        raise Refusal(f"OpenClaw did not finish validating its configuration within {seconds:.0f} s")
    answer = decoded(done.stdout)
    if answer is None:
        raise Refusal(f"OpenClaw could not validate its configuration (status {done.status}): {last_words(done)}")
    if not done.ok or answer.get("valid") is not True:
        raise Refusal(f"OpenClaw refuses the configuration: {'; '.join(issues(answer)) or 'it names no reason'}")


def decoded(text: str) -> dict[str, Any] | None:
    """A JSON object that somebody else wrote; None when it is nothing of the kind."""
    try:
        found = foreign_json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def issues(answer: dict[str, Any]) -> list[str]:
    """The first reasons that OpenClaw gives against a configuration."""
    listed = answer.get("issues")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    sentences = [redact_text(f"{row.get('path')}: {row.get('message')}") for row in rows[:ISSUES]]
    return [printable(sentence, ISSUE_LENGTH) for sentence in sentences]


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
        if settled(current, container()):
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
    reason = obstacle(release, options, recreate=recreate)
    took = round(time.monotonic() - began, 1)
    if reason is None:
        if former and former.number != release.number:
            link("previous", former)
        link("current", release)
        forget(options.keep)
        return said(release, f"healthy after {took:.0f} s", changed=True, seconds=took)
    if killed():  # which says nothing about the release, and wants none back
        raise Refusal(STOPPED, DOWN)
    if former and former.number == release.number:
        raise Refusal(f"release {release.number} worked once and does not now: {reason}", DOWN)
    with contextlib.suppress(OSError):  # a full disk keeps no host from its former release
        release.note(state=FAILED, reason=reason)
    if former is None:
        raise Refusal(f"release {release.number} failed and there is no other to go back to: {reason}", DOWN)
    again = obstacle(former, options, recreate=True)
    if again is not None:
        raise Refusal(f"release {release.number} failed ({reason}), and so did release {former.number}: {again}", DOWN)
    back = round(time.monotonic() - began)
    raise Refusal(
        f"release {release.number} failed ({reason}); release {former.number} is back and healthy after {back} s", BACK
    )


def obstacle(release: Release, options: Options, *, recreate: bool) -> str | None:
    """Deploy a release and wait for its health; return what went wrong, or None."""
    try:
        deploy(release, options.uid, recreate=recreate)
        return trouble(release, options.health_seconds)
    except (Refusal, OSError) as problem:
        return str(problem)


def start(options: Options) -> dict[str, Any]:
    """Start what is in force; Compose makes the container anew when its token has been replaced meanwhile."""
    current = linked("current")
    if current is None:
        raise Refusal("there is no proven release to start")
    if in_force(current):
        up()
    else:
        deploy(current, options.uid)
    return said(current, "started", changed=True)


def status(_: Options) -> dict[str, Any]:
    """The releases and what runs; nothing, as far as this goes, while the engine is silent."""
    current, previous = linked("current"), linked("previous")
    try:
        found = container()
    except engine_api.EngineError:
        found = None
    return {
        "current": current.number if current else None,
        "previous": previous.number if previous else None,
        "kept": {release.number: release.state for release in kept()},
        "running": bool(found and found["State"]["Running"]),
        "as_proven": bool(current and settled(current, found)),
        "killed": killed(),
    }


def said(release: Release, message: str, *, changed: bool, seconds: float = 0) -> dict[str, Any]:
    """The answer of a command that went well."""
    return {"changed": changed, "release": release.number, "seconds": seconds, "message": message}


CHANGES = {"apply": apply, "rollback": rollback, "start": start}


def change(command: str, options: Options) -> dict[str, Any]:
    """Run a command that changes what is in force, unless the agent was stopped on purpose.

    One at a time; the next one waits, since the first may still prove what it wants, too.
    """
    refuse_if_killed()
    LOCK.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with files.lock(LOCK, PROGRAM, options.health_seconds):
        refuse_if_killed()
        return CHANGES[command](options)


def main() -> NoReturn:
    """Read the command line; print the answer, or one sentence and the exit status that goes with it."""
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument("command", choices=[*CHANGES, "status"])
    parser.add_argument("--uid", type=int, default=1000, help="user and group of the agent (%(default)s)")
    parser.add_argument("--health-seconds", type=float, default=120, help="time to become healthy (%(default)s)")
    parser.add_argument("--validate-seconds", type=float, default=300, help="time to validate (%(default)s)")
    parser.add_argument("--keep", type=int, default=5, help="releases that stay on the host (%(default)s)")
    given = parser.parse_args()
    options = Options(given.uid, given.health_seconds, given.validate_seconds, given.keep)

    def act() -> None:
        print(json.dumps(status(options) if given.command == "status" else change(given.command, options)))

    conclude(PROGRAM, act)
